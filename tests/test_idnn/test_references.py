"""The exactly known Ni-Al free energy is that of the database, as pycalphad evaluates it."""

import warnings
from importlib.resources import files

import pytest
import torch
from references import DupinNickelAluminium

from idnn.equilibrium import tie_lines
from idnn.order_parameters import FCC_L12

PYCALPHAD_GAS_CONSTANT = 8.3145


@pytest.fixture(scope="module")
def calphad():
    """The module pycalphad, its model of ordered fcc, and its database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pycalphad

        path = files("pycalphad").joinpath("tests/databases/alni_dupin_2001.tdb")
        database = pycalphad.Database(str(path))
        return pycalphad, pycalphad.Model(database, ["AL", "NI", "VA"], "FCC_L12"), database


def pycalphad_energy(calphad, temperature, a, b):
    """G of y = (a, a, a, b) less that of the pure, not magnetic, fcc elements; J/mol."""
    pycalphad, model, database = calphad
    v = pycalphad.variables
    x = (3 * a + b) / 4
    state = {v.T: temperature, v.P: 101325.0, v.N: 1.0}
    for sublattice, y in enumerate((a, b)):
        state[v.SiteFraction("FCC_L12", sublattice, "AL")] = y
        state[v.SiteFraction("FCC_L12", sublattice, "NI")] = 1 - y
    state[v.SiteFraction("FCC_L12", 2, "VA")] = 1.0
    with_elements = float(model.GM.subs(state).n())
    symbols = database.symbols
    elements = x * symbols["GHSERAL"] + (1 - x) * symbols["GHSERNI"]
    return with_elements - float(elements.subs({v.T: temperature}).n()), with_elements


@pytest.mark.parametrize(
    ("a", "b", "published"),
    [
        (0.05, 0.9, -81699.57525162752),
        (0.2, 0.2, -73400.91099970143),
        (0.1, 0.6, -76401.58191847015),
        (0.3, 0.75, -87212.8551156201),
    ],
)
def test_the_energy_at_1000_k_has_the_known_values(calphad, a, b, published):
    y = torch.tensor([a, a, a, b], dtype=torch.float64)
    ours = float(DupinNickelAluminium(1000.0, PYCALPHAD_GAS_CONSTANT).joule_per_mole(y))
    theirs, with_elements = pycalphad_energy(calphad, 1000.0, a, b)
    assert with_elements == pytest.approx(published, abs=1e-9)
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("temperature", [300.0, 600.0, 1273.0])
@pytest.mark.parametrize(("a", "b"), [(0.01, 0.02), (0.002, 0.99), (0.5, 0.6)])
def test_the_energy_is_pycalphads_at_other_temperatures_with_its_magnetism(
    calphad, temperature, a, b
):
    y = torch.tensor([a, a, a, b], dtype=torch.float64)
    ours = float(DupinNickelAluminium(temperature, PYCALPHAD_GAS_CONSTANT).joule_per_mole(y))
    theirs, _ = pycalphad_energy(calphad, temperature, a, b)
    # pycalphad rounds the magnetic scale A to nine digits: 3e-12 of up to 740 J/mol.
    assert ours == pytest.approx(theirs, abs=1e-8)


def test_the_tie_line_at_600_k_is_pycalphads(calphad):
    temperature = 600.0
    pycalphad, _, database = calphad
    v = pycalphad.variables
    conditions = {v.X("AL"): 0.19, v.T: temperature, v.P: 101325, v.N: 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = pycalphad.equilibrium(database, ["AL", "NI", "VA"], ["FCC_L12"], conditions)
    theirs = sorted(result.X.sel(component="AL").values.ravel()[:2])
    f = DupinNickelAluminium(temperature, PYCALPHAD_GAS_CONSTANT)
    (line,) = tie_lines(f, FCC_L12, composition=(0.0, 0.3))
    # pycalphad's own convergence: its compositions move by 1e-6 with the starting point.
    assert [float(line.left.eta[0]), float(line.right.eta[0])] == pytest.approx(theirs, abs=3e-6)
