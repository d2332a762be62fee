"""The direct interface energy of the square Ising model: by sampling, exactly, and Onsager's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from boxes import expansion_from

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule
from sampling.hamiltonian import ClusterHamiltonian
from sampling.interface import interface_energy, slabs, two_phase_path
from sampling.lattice import Supercell

SQUARE = replace(
    FCC_L12, name="square", q=torch.ones(1, 1, dtype=torch.float64), group=torch.tensor([[0]]),
    supplied=None,
    ordered_cell=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
)  # fmt: skip
COUPLING = 0.05
"""J of E = −J Σ s s (eV)."""
KT = 1.6 * COUPLING
STIFFNESS = 3 * COUPLING
ISING = expansion_from(
    [[[[0, 0, 0], [1, 0, 0]], [[0, 0, 0], [0, 1, 0]]]], [0.0, -COUPLING]
)  # fmt: skip
MAGNETISATION = (1 - np.sinh(2 * COUPLING / KT) ** -4) ** 0.125
"""Yang (1952), doi:10.1103/PhysRev.85.808."""
ENDS = np.array([[(1 - MAGNETISATION) / 2], [(1 + MAGNETISATION) / 2]])


def weights(width, length):
    """Boltzmann weight of each number of reversed spins on a torus, by the transfer matrix.

    With exp(iαn) in the trace every n up to N is one term of a discrete Fourier series in α.
    """
    spin = 1 - 2 * ((np.arange(2**width)[:, None] >> np.arange(width)) & 1)
    reversed_spins = (spin < 0).sum(1)
    within = (spin * np.roll(spin, 1, 1)).sum(1)
    bonds = (within[:, None] + within) / 2 + spin @ spin.T - 2 * width
    sites = width * length
    series = []
    for angle in 2 * np.pi * np.arange(sites + 1) / (sites + 1):
        turn = np.exp(0.5j * angle * reversed_spins)
        matrix = turn[:, None] * np.exp(COUPLING / KT * bonds) * turn
        series.append((np.linalg.eigvals(matrix) ** length).sum())
    return np.fft.fft(series).real / (sites + 1)


def exact_excess(width, length, share):
    """Excess of the biased free energy over the line between its ends (eV), of the whole box."""
    weight, sites = weights(width, length), width * length
    eta = np.arange(sites + 1) / sites

    def free_energy(w):
        centre = ENDS[0] + w * (ENDS[1] - ENDS[0])
        return -KT * np.log((weight * np.exp(-sites * STIFFNESS * (eta - centre) ** 2 / KT)).sum())

    return np.array([free_energy(w) - free_energy(0.0) for w in share])


def sampled(edges, share, sweeps):
    path = two_phase_path(
        ClusterHamiltonian.on(ISING, Supercell(SQUARE, edges)), ENDS[0], ENDS[1], mu=0.0,
        stiffness=np.array([STIFFNESS]), share=share, temperature=KT / BOLTZMANN_EV,
        schedule=Schedule(walkers=64, sweeps=sweeps, burn_in=200, stride=2), seed=3,
    )  # fmt: skip
    return interface_energy(path, area=float(min(edges[:2])))


def test_the_excess_along_the_path_is_that_of_the_transfer_matrix():
    share = np.linspace(0, 1, 21)
    found = sampled((5, 12, 1), share, 2000)
    exact = exact_excess(5, 12, share) / (2 * 5)
    error = 4 * found.excess.stderr + found.rule_error
    assert (np.abs(found.excess.value - exact)[1:-1] < error[1:-1]).all()
    assert found.sigma.stderr < 0.01 * found.sigma.value


def test_the_excess_of_wide_boxes_becomes_onsagers_interface_energy():
    """F(L) = a + 2Lσ + (3/2)k_BT ln L + b/L of exact boxes; σ = 2J − k_BT ln coth(J/k_BT).

    Each interface of L columns wanders, ½ ln L; the spring on the share allows the two a distance
    that varies as L^−½, another ½ ln L (Onsager 1944, doi:10.1103/PhysRev.65.117, for σ).
    """
    width = np.array([4, 5, 6])
    total = [exact_excess(n, 16, [0.5])[0] for n in width]
    terms = np.stack([np.ones(3), 2 * width, 1 / width], 1)
    sigma = np.linalg.solve(terms, total - 1.5 * KT * np.log(width))[1]
    onsager = 2 * COUPLING + KT * np.log(np.tanh(COUPLING / KT))
    assert sigma == pytest.approx(onsager, rel=0.01)


def test_slabs_lie_across_the_longest_edge_with_the_fractions_of_their_phases():
    box = Supercell(FCC_L12, (4, 12, 3))
    q = FCC_L12.q.numpy()
    x = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.5, 0.0]])
    made = slabs(box, *(x @ q.T), share=np.array([0.0, 0.25, 1.0]), walkers=40, seed=1)
    by_layer = made.reshape(3, 40, 4, 4, 12, 3).mean((1, 3, 5))
    assert (made[0] == 0).all()
    assert (by_layer[1, 0] == [1.0] * 3 + [0.0] * 9).all()
    assert (by_layer[2, 0] == 1).all()
    assert (np.abs(by_layer[1, 2, :3] - 0.5) < 4 * 0.5 / np.sqrt(40 * 12)).all()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="share"):
        sampled((4, 8, 1), np.array([0.0, 1.0]), 10)
    with pytest.raises(ValueError, match="share"):
        sampled((4, 8, 1), np.array([0.0, np.nan, 1.0]), 10)
    path = two_phase_path(
        ClusterHamiltonian.on(ISING, Supercell(SQUARE, (4, 8, 1))), ENDS[0], ENDS[1], mu=0.0,
        stiffness=np.array([STIFFNESS]), share=np.linspace(0, 1, 3), temperature=900.0,
        schedule=Schedule(walkers=2, sweeps=4), seed=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match="area"):
        interface_energy(path, area=float("nan"))
