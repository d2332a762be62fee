"""The mean-field free energy of an expansion: exact for ordered and for uncorrelated states."""

import numpy as np
import pytest
import torch
from boxes import LAYERS, all_states, short_ranged

from idnn.free_energy import FreeEnergy
from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.hamiltonian import ClusterHamiltonian
from sampling.lattice import Supercell
from sampling.mean_field import MeanField
from sampling.prototypes import PROTOTYPES, build

EXPANSION = illustrative_expansion()
BUILT = {p.name: p for p in PROTOTYPES}


def energy(f, eta):
    return f(eta) - f.ideal(eta)


@pytest.mark.parametrize(
    ("name", "invert"), [("L1_2", False), ("L1_2", True), ("L1_0", False), ("L1_0", True)]
)
def test_an_ordered_state_has_the_energy_of_its_ordering(name, invert):
    ordering = build(BUILT[name], invert)
    fraction = ordering.occupation.mean()
    x = torch.zeros(4, dtype=torch.float64)
    x[: round(4 * fraction)] = 1
    f = MeanField(EXPANSION, FCC_L12, 1000.0)
    (expected,) = EXPANSION.predict([ordering])
    assert energy(f, FCC_L12.order_parameters(x)).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_a_pure_crystal_has_its_energy_and_no_entropy(fraction):
    ordering = build(BUILT["L1_2"], False)
    pure = type(ordering)(
        ordering.supercell, ordering.sites, np.full(len(ordering.sites), int(fraction))
    )
    f = MeanField(EXPANSION, FCC_L12, 1000.0)
    eta = FCC_L12.order_parameters(torch.full((4,), fraction, dtype=torch.float64))
    assert energy(f, eta).item() == pytest.approx(EXPANSION.predict([pure])[0], abs=1e-12)
    assert f.ideal(eta).item() == pytest.approx(0, abs=1e-5)


def test_the_energy_is_the_mean_over_independent_sites():
    """⟨E⟩ over all 2¹⁶ states of a box, each with the probability of its independent sites."""
    expansion = short_ranged()
    box = Supercell(LAYERS, 2)
    states = all_states(16)
    energies = ClusterHamiltonian.on(expansion, box).energy(states) / 16
    f = MeanField(expansion, LAYERS, 800.0)
    for x in ([0.1, 0.1], [0.3, 0.8], [0.95, 0.05]):
        occupied = np.array(x)[box.sublattice]
        probability = np.where(states == 1, occupied, 1 - occupied).prod(-1)
        eta = LAYERS.order_parameters(torch.tensor(x, dtype=torch.float64))
        # Tables round interactions to ~1e-9 of the largest.
        assert energy(f, eta).item() == pytest.approx(probability @ energies, abs=1e-7)


def test_equivalent_states_have_equal_free_energies():
    f = MeanField(EXPANSION, FCC_L12, 1000.0)
    x = torch.rand(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    images = f(FCC_L12.images(FCC_L12.order_parameters(x)))
    torch.testing.assert_close(images, images[:1].expand_as(images), rtol=0, atol=1e-12)
    assert isinstance(f, FreeEnergy)
