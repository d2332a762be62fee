"""Model files: the same bits back, and one clear error for every file that is not one."""

import json
import os
from dataclasses import replace

import pytest
import torch
from references import sobol_states
from safetensors import safe_open
from safetensors.torch import save_file

from idnn.checkpoint import FORMAT, BadModelFile, load, load_network, read_header, save_network
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_D03, FCC_L12
from idnn.thermal import ThermalNetwork

SHAPE = NetworkSettings(widths=(5, 3), activation="softplus", floor=2e-3)


@pytest.fixture
def network():
    return IntegrableNetwork(FCC_L12, 973.0, SHAPE, seeds=(1, 2, 3))


@pytest.fixture
def path(network, tmp_path):
    file = tmp_path / "model.safetensors"
    save_network(network, file, data_hash="abc", notes={"campaign": "test"})
    return file


def rewritten(path, network, change=None, **header):
    """The same file with other weights and other entries of its header; None drops one."""
    entries = {k: v for k, v in (read_header(path) | header).items() if v is not None}
    tensors = {name: p.detach().clone() for name, p in network.named_parameters()}
    if change is not None:
        change(tensors)
    save_file(tensors, path, metadata={"scalebridge": json.dumps(entries)})
    return path


def test_a_model_comes_back_bit_for_bit(network, path):
    again = load(path)
    eta = sobol_states(50, seed=1)
    with torch.no_grad():
        assert torch.equal(again.values(eta), network.values(eta))
        assert torch.equal(again.gradients(eta), network.gradients(eta))
    assert again.settings == SHAPE
    assert again.temperature == 973.0
    assert again.system == FCC_L12
    assert not any(p.requires_grad for p in again.parameters())


def test_the_header_says_what_the_model_is(path):
    header = read_header(path)
    assert header["format"] == FORMAT
    assert (header["system"], header["units"]) == (FCC_L12.entries(), "eV/site")
    assert (header["data_hash"], header["notes"]) == ("abc", {"campaign": "test"})
    assert set(header["versions"]) == {"scalebridge", "torch"}


def test_equal_models_are_equal_files(network, path, tmp_path):
    other = tmp_path / "other.safetensors"
    save_network(network, other, data_hash="abc", notes={"campaign": "test"})
    assert other.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, other.name]


@pytest.mark.parametrize("tenths", range(10))
def test_a_truncated_file_is_refused(path, tenths):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenths // 10])
    with pytest.raises(BadModelFile, match=r"`model`: .* is truncated or not a scalebridge model"):
        load(path)


def test_one_missing_byte_is_noticed(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadModelFile, match="truncated"):
        load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`model`: there is no file .*nowhere"):
        load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip", b"\x80\x04K\x01.", bytes(range(256)) * 16]
)
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadModelFile, match="not a scalebridge model"):
        load(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(3)}, path)
    with pytest.raises(BadModelFile, match="not a scalebridge model"):
        load(path)


@pytest.mark.parametrize("header", ["[]", "null", '{"format": "scalebridge-free-energy-9"}'])
def test_another_format_is_refused(tmp_path, header):
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.ones(3)}, path, metadata={"scalebridge": header})
    with pytest.raises(BadModelFile, match=f"this version reads '{FORMAT}'"):
        load(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(network, path, value):
    rewritten(path, network, lambda tensors: tensors["weights.1"][0, 1].fill_(value))
    with pytest.raises(BadModelFile, match=r"not finite: \['weights.1'\]"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fcc-L12", "must have the entries"),
        (dict(q=[[0.25] * 4] * 4), "`q` must have independent rows"),
        (dict(group=[[0, 0, 1, 2]]), "permutations"),
        (dict(group="import os"), "of the wrong kind"),
        (dict(invariants=dict(exponents=[[1, 0, 0, 0]], coefficients=[[1.0]])), "4 independent"),
        (dict(invariants=BCC_D03.entries()["invariants"]), r"numbers \[1, 2, 4\] \(from 0\) do"),
    ],
)
def test_a_system_that_is_none_is_refused(network, path, change, message):
    system = change if isinstance(change, str) else FCC_L12.entries() | change
    with pytest.raises(BadModelFile, match=message):
        load(rewritten(path, network, system=system))


def test_a_format_of_old_is_refused_with_what_to_do(network, path):
    with pytest.raises(BadModelFile, match=r"has format 'scalebridge-free-energy-1'; .* Run the"):
        load(rewritten(path, network, format="scalebridge-free-energy-1", system="fcc-L12"))


def test_a_system_of_the_users_own_comes_with_its_model(tmp_path):
    """Also one whose name is that of another."""
    own = replace(BCC_D03, name="fcc-L12", supplied=None)
    network = IntegrableNetwork(own, 500.0, SHAPE)
    save_network(network, tmp_path / "own", data_hash="abc")
    again = load(tmp_path / "own")
    assert again.system == own != FCC_L12
    eta = own.order_parameters(
        torch.rand(9, 4, generator=torch.Generator().manual_seed(1)).double()
    )
    with torch.no_grad():
        assert torch.equal(again.gradients(eta), network.gradients(eta))


def test_a_header_without_an_entry_is_refused(network, path):
    with pytest.raises(BadModelFile, match=r"lacks \['data_hash', 'temperature_K'\]"):
        load(rewritten(path, network, data_hash=None, temperature_K=None))


BASE = {"widths": [5, 3], "activation": "softplus", "floor": 2e-3}


@pytest.mark.parametrize(
    "header",
    [
        dict(members=2),
        dict(members="3"),
        dict(members=10**12),
        dict(temperature_K=-1.0),
        dict(temperature_K=float("nan")),
        dict(settings=BASE | {"widths": [5, 4]}),
        dict(settings=BASE | {"widths": [10**9, 10**9]}),
        dict(settings=BASE | {"widths": [5]}),
        dict(settings=BASE | {"activation": "os.system"}),
        dict(settings=BASE | {"floor": 2.0}),
        dict(settings=BASE | {"unknown": 1}),
        dict(settings={}),
        dict(settings=[]),
    ],
)
def test_a_header_that_does_not_fit_the_weights_is_refused(network, path, header):
    with pytest.raises(BadModelFile, match="does not match its own header"):
        load(rewritten(path, network, **header))


def test_a_missing_bias_is_noticed(network, path):
    with pytest.raises(BadModelFile, match="does not match its own header"):
        load(rewritten(path, network, lambda tensors: tensors.pop("biases.0")))


def test_saving_over_a_model_is_all_or_nothing(network, path, monkeypatch):
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(RuntimeError, match="No space left"):
        save_network(network.member(0), path, data_hash="other")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_plain_safetensors(path):
    with safe_open(path, framework="numpy") as stream:
        hidden = {f"{name}.{i}" for name in ("weights", "biases") for i in range(2)}
        assert set(stream.keys()) == hidden | {"weights.2"}


@pytest.fixture
def thermal():
    return ThermalNetwork(FCC_L12, (900.0, 1300.0), SHAPE, seeds=(1, 2))


def test_a_model_of_all_temperatures_comes_back_bit_for_bit(thermal, tmp_path):
    path = tmp_path / "thermal.safetensors"
    save_network(thermal, path, data_hash="abc")
    assert read_header(path)["temperature_K"] == [900.0, 1300.0]
    again = load_network(path)
    assert isinstance(again, ThermalNetwork)
    assert again.temperatures == (900.0, 1300.0)
    eta = sobol_states(50, seed=1)
    with torch.no_grad():
        assert torch.equal(again.energies(eta, 1000.0), thermal.energies(eta, 1000.0))
        assert torch.equal(again.at(1000.0).values(eta), thermal.at(1000.0).values(eta))
    assert not any(p.requires_grad for p in again.parameters())


def test_a_model_of_all_temperatures_is_refused_where_one_is_wanted(thermal, tmp_path):
    save_network(thermal, tmp_path / "thermal", data_hash="abc")
    with pytest.raises(BadModelFile, match=r"900 to 1300 K; .*load_network\(path\).at"):
        load(tmp_path / "thermal")


@pytest.mark.parametrize(
    "kelvin", [[900.0], [900.0, 1000.0, 1300.0], [1300.0, 900.0], [900.0, float("nan")], 1000.0, []]
)
def test_temperatures_that_do_not_fit_the_weights_are_refused(thermal, tmp_path, kelvin):
    path = tmp_path / "thermal"
    save_network(thermal, path, data_hash="abc")
    with pytest.raises(BadModelFile, match="does not match its own header"):
        load_network(rewritten(path, thermal, temperature_K=kelvin))
