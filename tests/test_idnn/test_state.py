"""Nested state on disk: what comes back, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import save_file

from idnn.state import BadCheckpoint, read_state, write_state


def same(a, b):
    """Equal in kind and in bits, all the way down."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


STATE = {
    "weights": {"a": torch.randn(3, 2).double(), "b": torch.zeros(0, 4), "c": torch.tensor(2.5)},
    "generator": torch.Generator().get_state(),
    "counts": torch.tensor([[1, -(2**62)]]),
    "strided": torch.arange(12.0).reshape(3, 4).T,
    0: [1, 2.5, "text", None, True, (), [], {}],
    "lists": [(1, (2.0, [torch.ones(2)])), {"deep": {"deeper": (torch.ones(1), "x")}}],
    "numbers": [float("inf"), 1e-300, 0.1, -0.0],
    "tensor": {3: {"tensor": "0"}, "list": ["dict", ["tensor", "1"]]},
    "shared": [weight := torch.ones(2), weight],
}


def test_a_nested_state_comes_back_bit_for_bit(tmp_path):
    write_state(tmp_path / "state", STATE)
    assert same(read_state(tmp_path / "state"), STATE)


def test_an_optimisers_state_comes_back(tmp_path):
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.Adam([weight], lr=0.1, betas=(0.8, 0.9))
    weight.square().sum().backward()
    optimiser.step()
    write_state(tmp_path / "state", optimiser.state_dict())
    assert same(read_state(tmp_path / "state"), optimiser.state_dict())


def test_nan_survives(tmp_path):
    write_state(tmp_path / "state", {"loss": float("nan"), "at": torch.tensor(float("nan"))})
    found = read_state(tmp_path / "state")
    assert found["loss"] != found["loss"]
    assert found["at"].isnan()


@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_state_is_refused(tmp_path, tenths):
    write_state(tmp_path / "state", STATE)
    content = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(content[: len(content) * tenths // 10])
    with pytest.raises(BadCheckpoint, match="truncated or not a checkpoint of a training"):
        read_state(tmp_path / "state")


@pytest.mark.parametrize(
    "header",
    [None, "[]", "null", "{}", '{"format": "other", "tree": ["plain", 1]}', "not json", "3"],
)
def test_a_foreign_file_is_refused(tmp_path, header):
    metadata = None if header is None else {"scalebridge": header}
    save_file({"0": torch.ones(2)}, tmp_path / "state", metadata=metadata)
    with pytest.raises(BadCheckpoint, match="not a checkpoint of a training"):
        read_state(tmp_path / "state")


@pytest.mark.parametrize(
    "tree", [["tensor", "7"], ["dict", 3], ["list", [1]], "x", ["plain"], ["dict", [["plain"]]]]
)
def test_a_tree_that_is_none_is_refused(tmp_path, tree):
    header = json.dumps({"format": "scalebridge-training-1", "tree": tree})
    save_file({"0": torch.ones(2)}, tmp_path / "state", metadata={"scalebridge": header})
    with pytest.raises(BadCheckpoint, match="not a checkpoint of a training"):
        read_state(tmp_path / "state")
