"""Ground states of known models, the hull of the embedded-atom expansion, figures."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from sampling.clusters import illustrative_expansion
from sampling.energies import read_energies
from sampling.figures_energy import eci_figure, hull_figure, parity_figure
from sampling.fit import FitSettings, fit_expansion
from sampling.groundstates import enumerate_orderings, find_ground_states
from sampling.ordering import fcc

LATTICE = fcc(("Ni", "Al"), 3.57)


@pytest.fixture(scope="module")
def eam():
    examples = Path(__file__).parents[2] / "examples/ni_al"
    return read_energies(examples / "eam/energies.jsonl", LATTICE)


@pytest.fixture(scope="module")
def fit(eam):
    settings = FitSettings(cutoffs=((6.3, 3.62, 2.6),), ridges=(0.1, 1.0), order_decays=(1.0,))
    return fit_expansion(eam, settings)


@pytest.fixture(scope="module")
def states(fit):
    return find_ground_states(fit.expansion)


def test_the_number_of_distinct_orderings_is_the_known_one():
    # Hart & Forcade (2008), doi:10.1103/PhysRevB.77.224115, Table: 2, 2, 6, 19, 28 by cell size.
    sizes = [len(ordering.occupation) for ordering in enumerate_orderings(LATTICE, 5)]
    assert [sizes.count(n) for n in range(1, 6)] == [2, 2, 6, 19, 28]


def test_the_illustrative_model_orders_as_l12_and_l10():
    states = find_ground_states(illustrative_expansion(), largest=4)
    assert states.is_on_hull("L1_2 Ni3Al")
    assert states.is_on_hull("L1_0 NiAl")
    # D0_22 is L1₂ with an antiphase boundary in every cube: dearer by second-neighbour pairs.
    assert states.distance("D0_22 Ni3Al") > 0.01


def test_l12_is_a_ground_state_of_the_embedded_atom_expansion(states):
    assert len(states.names) == 631
    assert states.is_on_hull("L1_2 Ni3Al")
    assert states.is_on_hull("L1_0 NiAl")
    assert states.above_hull.min() == pytest.approx(0, abs=1e-12)


def test_the_energy_of_d022_above_l12_is_that_of_the_potential(eam, states):
    computed = dict(zip(eam.ids, eam.formation_energies, strict=True))
    energies = dict(zip(states.names, states.energies, strict=True))
    predicted = energies["D0_22 Ni3Al"] - energies["L1_2 Ni3Al"]
    assert predicted == pytest.approx(computed["4_022"] - computed["4_027"], abs=0.003)


def test_ground_states_are_asked_for_by_known_names(states):
    with pytest.raises(ValueError, match=r"`name` must be one of .*L1_2 Ni3Al.*it is 'L1_2'"):
        states.is_on_hull("L1_2")


@pytest.mark.parametrize("largest", [0, 13])
def test_enumeration_of_absurd_sizes_is_refused(largest):
    with pytest.raises(ValueError, match="`largest` must lie in"):
        enumerate_orderings(LATTICE, largest)


def test_figures_show_every_structure_with_units(eam, fit, states, tmp_path):
    figures = {
        "hull": hull_figure(eam, fit, states),
        "parity": parity_figure(eam, fit),
        "eci": eci_figure(fit.expansion),
    }
    for name, figure in figures.items():
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{name}.png", dpi=50)
        assert all("(" in axes.get_ylabel() for axes in figure.axes)
    shown = [len(line.get_xdata()) for line in figures["hull"].axes[0].lines]
    assert shown[:2] == [631, 631]
    points = [len(line.get_xdata()) for line in figures["parity"].axes[0].lines]
    assert sum(points[:2]) == 631
    errors = figures["eci"].axes[0].containers
    assert sum(len(np.atleast_1d(c.lines[0].get_xdata())) for c in errors) == (
        len(fit.expansion.orbits) - 1
    )
