"""S(k) and gradient energies known in closed form: no energy, weak interactions, a box's own H."""

import numpy as np
import pytest
from boxes import Q, expansion_from, ideal_gas

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule
from sampling.estimate import hessian, jackknife_stderr
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell
from sampling.structure_factor import (
    gradient_energy,
    joule_per_metre,
    structure_factor,
    wave_vectors,
)

LATTICE = illustrative_expansion().primitive_cell
A = 2 * LATTICE.max()
"""Edge of the cubic cell (Å)."""
KT = 1000 * BOLTZMANN_EV


def sampled(expansion, umbrella, *, cells, snapshots, longest, start=None, kelvin=1000.0, stride=2):
    return structure_factor(
        ClusterHamiltonian.on(expansion, Supercell(FCC_L12, cells)), umbrella,
        primitive_cell=LATTICE, longest=longest, temperature=kelvin, seed=1, start=start,
        schedule=Schedule(walkers=64, sweeps=2 * stride * snapshots, burn_in=60, stride=stride),
    )  # fmt: skip


def within(estimate, expected, tolerance=0.0):
    return (np.abs(estimate.value - expected) < 4 * estimate.stderr + tolerance).all()


def test_an_ideal_gas_has_the_same_structure_factor_at_every_wave_vector_and_no_gradient_energy():
    """S = 4 Q diag{x(1−x)} Qᵀ exactly, x the fractions that the fields on sublattices set."""
    x = np.array([0.1, 0.2, 0.3, 0.75])
    field = KT / 4 * np.log(x / (1 - x)) @ np.linalg.inv(Q)
    found = sampled(
        ideal_gas(), Umbrella.semi_grand(FCC_L12, field[None]), cells=6, snapshots=80, longest=0.88
    )
    exact = 4 * Q @ np.diag(x * (1 - x)) @ Q.T
    mean, sigma = found.by_walker.mean(0), found.by_walker.std(0, ddof=1) / 8
    assert len(found.wave_vectors) > 40
    assert (np.abs(mean - exact) < 4.5 * sigma).all()  # 16 numbers at each of them.
    result = gradient_energy(found)
    assert within(result.tensor, 0.0)
    assert within(result.hessian, KT * np.linalg.inv(exact))
    assert 0.8 < result.misfit < 1.2


def axis_of(i):
    """Cubic axis of the X vector whose exp(−iX·r) = ±1 on the sublattices makes ηᵢ."""
    position = Supercell(FCC_L12, 1).representatives @ LATTICE
    waves = np.cos(2 * np.pi / A * position)
    return next(a for a in range(3) if np.allclose(waves[:, a], 4 * Q[i]))


def test_weak_interactions_give_the_curvature_of_their_fourier_transform():
    """Random-phase approximation at x = ½: k_BT S⁻¹ = 4k_BT(1 + λ) + 4V(k).

    V is that of Krivoglaz (1969), Clapp & Moss (1966, doi:10.1103/PhysRev.142.418), λ makes the
    mean of S over the zone x(1−x) (Brout). With J₁ and J₂ between first and second neighbours the
    curvature is −4a²(J₁ + J₂) at Γ, 4a²(J₁ − J₂) along and −4a²J₂ across an X vector.
    """
    first, second = 0.004, 0.001
    shells = [illustrative_expansion().orbits[i].clusters[..., :3] for i in (1, 2)]
    found = sampled(
        expansion_from(shells, [0.0, first, second]),
        Umbrella.semi_grand(FCC_L12, np.zeros((1, 4))), cells=8, snapshots=150, longest=0.75,
        stride=10,  # Nearly every attempt is accepted, so that sweeps do little but reverse spins.
    )  # fmt: skip
    result = gradient_energy(found)
    scale = 4 * A**2
    by_axis = np.array([np.roll(np.arange(3), -axis_of(i)) for i in (1, 2, 3)])
    diagonal = np.einsum("riiaa->ria", result.replicates)
    ordering = np.take_along_axis(diagonal[:, 1:], by_axis[None], 2).mean(1)
    groups = np.stack([diagonal[:, 0].mean(1), ordering[:, 0], ordering[:, 1:].mean(1)], 1)
    expected = scale * np.array([-(first + second), first - second, -second])
    sigma = jackknife_stderr(groups[None, 1:])[0]
    # Terms of second order in J/k_BT = 0.05, and k⁶.
    assert (np.abs(groups[0] - expected) < 4 * sigma + 0.03 * np.abs(expected).max()).all()
    assert (sigma < [0.06, 0.03, 0.02]).all()
    off = result.tensor.value - np.einsum("ij,ab,ijab->ijab", *[np.eye(n) for n in (4, 3)],
                                          result.tensor.value)  # fmt: skip
    assert (np.abs(off) < 4.5 * result.tensor.stderr).all()  # 132 of them.
    brout = 1 + (12 * first**2 + 6 * second**2) / KT**2
    gamma, x = (4 * KT * brout + 4 * v for v in (12 * first + 6 * second, -4 * first + 6 * second))
    assert within(result.hessian, np.diag([gamma, x, x, x]), tolerance=0.01 * gamma)


@pytest.mark.parametrize(
    ("kelvin", "field", "ordered"),
    [pytest.param(2500.0, -1.3, False, marks=pytest.mark.slow), (1000.0, -0.53, True)],
)
def test_the_limit_of_long_waves_is_the_hessian_of_the_whole_box(kelvin, field, ordered):
    expansion, cells = illustrative_expansion(), 8
    start = np.zeros(4 * cells**3, np.uint8)
    start[: cells**3] = ordered
    found = sampled(
        expansion, Umbrella.semi_grand(FCC_L12, np.array([[field, 0, 0, 0]])), cells=cells,
        snapshots=100, longest=0.6, start=start, kelvin=kelvin,
    )  # fmt: skip
    waves, box = gradient_energy(found).hessian, hessian(found.samples)
    sigma = np.hypot(waves.stderr, box.stderr[0])
    assert (np.abs(waves.value - box.value[0]) < 4 * sigma).all()
    assert (np.diag(sigma) < 0.2 * np.diag(box.value[0])).all()
    soft = np.full((1, 4), 0.5)
    one = gradient_energy(found, soft).hessian
    whole = BOLTZMANN_EV * kelvin / found.samples.sites / (found.samples.eta @ soft[0]).var()
    assert abs(one.value[0, 0] - whole) < 4 * one.stderr[0, 0] + 0.05 * whole


def test_wave_vectors_are_periods_of_the_box_one_of_each_pair():
    box = Supercell(FCC_L12, 6)
    k = wave_vectors(box, LATTICE, 0.7)
    edges = 6 * box.ordered_cell @ LATTICE
    turns = k @ edges.T / (2 * np.pi)
    assert np.allclose(turns, turns.round())
    whole = {tuple(t) for t in np.concatenate([turns, -turns]).round().astype(int)}
    assert len(whole) == 2 * len(k)
    n = np.array(np.meshgrid(*[np.arange(-5, 6)] * 3)).reshape(3, -1).T
    length = 2 * np.pi / (6 * A) * np.linalg.norm(n, axis=1)
    assert len(whole) == ((length > 0) & (length <= 0.7)).sum()


def test_gradient_energy_in_si_units():
    """1 eV Å² per site of 10 Å³ is 0.1 eV/Å."""
    assert joule_per_metre(1.0, site_volume=10.0) == pytest.approx(1.602176634e-10)


def test_bad_input_is_named():
    umbrella = Umbrella.semi_grand(FCC_L12, np.zeros((1, 4)))
    with pytest.raises(ValueError, match="longest"):
        sampled(ideal_gas(), umbrella, cells=3, snapshots=2, longest=0.1)
    with pytest.raises(ValueError, match="zone"):
        sampled(ideal_gas(), umbrella, cells=4, snapshots=2, longest=1.5)
    with pytest.raises(ValueError, match="22 wave vectors"):
        gradient_energy(sampled(ideal_gas(), umbrella, cells=6, snapshots=2, longest=0.5))
    with pytest.raises(ValueError, match="one point"):
        sampled(ideal_gas(), umbrella[:0], cells=4, snapshots=2, longest=0.6)
