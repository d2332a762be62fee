"""Models on disk: what is read is what was written, and anything else is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hosts import learned_densities, small_crystals
from safetensors import safe_open
from safetensors.torch import save_file

from idnn.adsorption.features import FieldSettings
from idnn.adsorption.files import load_model, save_model
from idnn.checkpoint import BadModelFile


@pytest.fixture
def saved(tmp_path):
    save_model(learned_densities(), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def changed(path, *, header=None, tensors=None):
    """The file rewritten with some entries of another value."""
    with safe_open(path, framework="pt") as stream:
        entries = json.loads(stream.metadata()["scalebridge"])
        held = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    entries |= header or {}
    held |= tensors or {}
    kept = {name: value for name, value in held.items() if value is not None}
    save_file(kept, path, metadata={"scalebridge": json.dumps(entries)})


def test_a_model_comes_back_to_the_bit(saved):
    model, found = learned_densities(), load_model(saved)
    one, two = model.predict(small_crystals()), found.predict(small_crystals())
    np.testing.assert_array_equal(one.values, two.values)
    np.testing.assert_array_equal(one.stderr, two.stderr)
    for name in ("targets", "settings", "field", "elements"):
        assert getattr(found, name) == getattr(model, name)
    assert found.card == json.loads(json.dumps(model.card))
    for a, b in zip(model.members, found.members, strict=True):
        for name, value in a.state_dict().items():
            assert torch.equal(value, b.state_dict()[name]), name


def test_a_field_is_kept(saved):
    field = FieldSettings(guest="Kr", temperature=273.0, spacing=0.7)
    save_model(replace(learned_densities(), field=field), saved)
    assert load_model(saved).field == field


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none"):
        load_model(tmp_path / "none")


@pytest.mark.parametrize("length", [0, 7, 100, 3000])
def test_a_truncated_file_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(BadModelFile, match=r"m\.safetensors is truncated or not a model"):
        load_model(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": {"format": "other"}}, "format is 'other'"),
        ({"header": {"members": 3}}, "not a model"),
        ({"header": {"targets": ["a", "b"]}}, "there are 2 targets and spreads of"),
        ({"header": {"settings": {"width": 8}}}, "windows"),
        ({"tensors": {"spread": torch.tensor([float("nan")])}}, "spread"),
        ({"tensors": {"members.0.begin.weight": torch.full((8, 2), float("inf"))}}, "begin"),
        ({"tensors": {"members.1.begin.weight": torch.zeros(8, 3)}}, "begin"),
        ({"tensors": {"members.1.begin.bias": None}}, "begin.bias"),
        ({"tensors": {"wanted.mean": None}}, "wanted.mean"),
        ({"tensors": {"knowns.deviation": torch.ones(3)}}, "deviation"),
    ],
)
def test_a_file_of_something_else_is_refused(saved, change, message):
    changed(saved, **change)
    with pytest.raises(BadModelFile, match=message):
        load_model(saved)


def test_another_safetensors_file_is_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(BadModelFile, match="truncated or not a model of adsorption"):
        load_model(tmp_path / "x.safetensors")
