"""Exported networks are the network, in a process that has never heard of it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from references import sobol_states

from idnn.activations import ACTIVATIONS
from idnn.export import grid_states, prototype_states, to_numpy, to_table, to_torch_program
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_B2, BCC_D03, FCC_L12

T = 1073.0

ALONE = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in sys.stdlib_module_names | {"numpy", "model"}:
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import numpy, model
eta = numpy.load(sys.argv[1] + "/eta.npy")
results = dict(f=model.f(eta), mu=model.mu(eta), hessian=model.hessian(eta))
numpy.savez(sys.argv[1] + "/results.npz", **results)
assert not {"torch", "idnn", "scipy"} & sys.modules.keys()
"""
"""Where of all packages NumPy alone can be imported."""

WITHOUT_US = """
import sys
sys.modules["idnn"] = None
import numpy, torch
folder, results = sys.argv[1], {}
extra = {"provenance.json": ""}
for dtype in ("float64", "float32"):
    program = torch.export.load(f"{folder}/{dtype}.pt2", extra_files=extra).module()
    eta = torch.from_numpy(numpy.load(folder + "/eta.npy")).to(getattr(torch, dtype))
    f, mu = program(eta)
    results |= {f"f_{dtype}": f, f"mu_{dtype}": mu, f"one_{dtype}": program(eta[:1])[0]}
numpy.savez(folder + "/results.npz", **results)
print(extra["provenance.json"])
"""


def network(system=FCC_L12, activation="gelu", floor=1e-3, members=2):
    settings = NetworkSettings(widths=(7, 5), activation=activation, floor=floor)
    return IntegrableNetwork(system, T, settings, seeds=range(members)).requires_grad_(False)


def states(system=FCC_L12, *, margin=-0.02, count=300):
    """Site fractions of Sobol points over [margin, 1 − margin]; the ends 0 and 1 among them."""
    sites = system.q.shape[1]
    draw = torch.quasirandom.SobolEngine(sites, scramble=True, seed=1).draw(count).double()
    corner = torch.eye(sites, dtype=torch.float64)
    return system.order_parameters(torch.cat([margin + (1 - 2 * margin) * draw, corner]))


def isolated(code, folder):
    command = [sys.executable, "-I", "-c", code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.load(folder / "results.npz"), done.stdout


def evaluated(f, eta, folder):
    """f, μ and the Hessian from the exported file, in a process with NumPy alone."""
    to_numpy(f, folder / "model.py")
    np.save(folder / "eta.npy", eta.numpy())
    return isolated(ALONE, folder)[0]


def require_equal(results, f, eta):
    # Rounding: both sum some hundred terms, of up to 1 eV and, at the floor, 60 eV of curvature.
    np.testing.assert_allclose(results["f"], f(eta).numpy(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(results["mu"], f.gradient(eta).numpy(), rtol=0, atol=1e-13)
    np.testing.assert_allclose(results["hessian"], f.hessian(eta).numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_numpy_module_is_the_network_beyond_the_floor_too(activation, tmp_path):
    f, eta = network(activation=activation), states()
    x = FCC_L12.site_fractions(eta)
    assert (x < 0).any()
    assert (x > 1).any()
    require_equal(evaluated(f, eta, tmp_path), f, eta)


@pytest.mark.parametrize("system", [BCC_B2, BCC_D03])
def test_the_numpy_module_takes_any_crystal(system, tmp_path):
    f, eta = network(system), states(system)
    require_equal(evaluated(f, eta, tmp_path), f, eta)


def test_the_numpy_module_takes_any_batch(tmp_path):
    f, eta = network(), states(count=19)[:12]
    results = evaluated(f, eta.reshape(3, 4, 4), tmp_path)
    assert results["f"].shape == (3, 4)
    assert results["hessian"].shape == (3, 4, 4, 4)
    require_equal({k: v.reshape(12, *v.shape[2:]) for k, v in results.items()}, f, eta)


def test_without_a_floor_the_numpy_module_knows_the_inside_alone(tmp_path):
    f, eta = network(floor=0.0), states(margin=0.01)
    inside = (FCC_L12.site_fractions(eta) > 0).all(-1)
    results = evaluated(f, eta, tmp_path)
    np.testing.assert_allclose(results["f"], f(eta).numpy(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        results["mu"][inside], f.gradient(eta[inside]).numpy(), rtol=0, atol=1e-13
    )


def test_the_numpy_module_says_what_it_is_and_refuses_other_shapes(tmp_path):
    to_numpy(network(), tmp_path / "model.py")
    text = (tmp_path / "model.py").read_text()
    assert text.startswith('"""Free energy f(eta) of fcc-L12 at 1073.0 K, eV/site.')
    code = ALONE.replace("eta.npy", "wrong.npy")
    np.save(tmp_path / "wrong.npy", np.zeros((2, 3)))
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert "`eta` must have 4 order parameters last; its shape is (2, 3)" in done.stderr


def test_a_numpy_module_needs_a_name_that_can_be_imported(tmp_path):
    for name in ("gamma-prime.py", "model.txt"):
        with pytest.raises(ValueError, match="must be a module's name"):
            to_numpy(network(), tmp_path / name)


def test_the_torch_program_is_the_network_where_the_package_is_not(tmp_path):
    f, eta = network(), states()
    np.save(tmp_path / "eta.npy", eta.numpy())
    for dtype in ("float64", "float32"):
        to_torch_program(f, tmp_path / f"{dtype}.pt2", dtype=getattr(torch, dtype))
    results, printed = isolated(WITHOUT_US, tmp_path)
    for dtype, rounding in (("float64", 1e-14), ("float32", 1e-6)):
        energy, mu, one = (results[f"{name}_{dtype}"] for name in ("f", "mu", "one"))
        assert energy.dtype == dtype
        np.testing.assert_allclose(energy, f(eta).numpy(), rtol=0, atol=rounding)
        # The slope at the floor, 60 eV, times the rounding of a site fraction.
        np.testing.assert_allclose(mu, f.gradient(eta).numpy(), rtol=0, atol=30 * rounding)
        np.testing.assert_allclose(one, f(eta[:1]).numpy(), rtol=0, atol=rounding)
    assert json.loads(printed)["temperature_K"] == T
    assert {p.suffix for p in tmp_path.iterdir()} == {".npy", ".npz", ".pt2"}
    assert next(f.parameters()).dtype == torch.float64


def test_a_torch_program_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end in .pt2"):
        to_torch_program(network(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"`dtype` must be torch\.float64"):
        to_torch_program(network(), tmp_path / "model.pt2", dtype=torch.float16)


def test_the_table_holds_the_network_to_the_last_bit(tmp_path):
    f, eta = network(), sobol_states(50, seed=2)
    to_table(f, eta, tmp_path / "table.csv")
    text = (tmp_path / "table.csv").read_text()
    assert text.startswith("# Free energy f(eta) of fcc-L12 at 1073.0 K, eV/site.\n")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    names = lines[0].split(",")
    table = dict(zip(names, np.loadtxt(lines[1:], delimiter=",").T, strict=True))
    values, gradients = f.values(eta), f.gradients(eta)
    for i in range(4):
        assert np.array_equal(table[f"eta_{i}"], eta[:, i])
        assert np.array_equal(table[f"x_{i + 1}"], FCC_L12.site_fractions(eta)[:, i])
        assert np.array_equal(table[f"mu_{i}_eV_per_site"], gradients.mean(0)[:, i])
        assert np.array_equal(table[f"mu_{i}_sigma_eV_per_site"], gradients.std(0)[:, i])
    assert np.array_equal(table["f_eV_per_site"], values.mean(0))
    assert np.array_equal(table["f_sigma_eV_per_site"], values.std(0))


def test_a_single_network_has_no_spread_in_its_table(tmp_path):
    to_table(network(members=1), sobol_states(3, seed=2), tmp_path / "table.csv")
    assert "sigma" not in (tmp_path / "table.csv").read_text()


def test_the_states_of_the_prototypes_are_their_lines():
    x = FCC_L12.site_fractions(prototype_states(FCC_L12, compositions=5, shares=2))
    assert len(x) == 5 + 3 * 2 * 5
    quarter = torch.tensor([0.25, 0.25, 0.25, 0.25], dtype=torch.float64)
    ideal = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    for wanted in (quarter, ideal, (quarter + ideal) / 2):
        assert (x - wanted).abs().amax(-1).min() < 1e-12
    assert ((x > -1e-12) & (x < 1 + 1e-12)).all()


def test_the_states_of_a_grid_are_all_its_corners():
    x = FCC_L12.site_fractions(grid_states(FCC_L12, levels=3))
    assert len(x) == 3**4
    assert len((2 * x).round().unique(dim=0)) == 3**4
    torch.testing.assert_close((2 * x).round() / 2, x, rtol=0, atol=1e-15)


def test_grids_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"at most 2,000,000 states; 40 on 4 sublattices"):
        grid_states(FCC_L12, levels=40)
    with pytest.raises(ValueError, match="`levels` must be at least 2; it is 1"):
        grid_states(FCC_L12, levels=1)
    with pytest.raises(ValueError, match="`shares` must be at least 1; it is 0"):
        prototype_states(FCC_L12, shares=0)
