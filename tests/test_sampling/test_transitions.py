"""Phase transitions of the nearest-neighbour Ising model on fcc, E = J Σ s s, at known places.

Critical point of the ferromagnet: k_BT_c = 9.795 |J| (K_c ≈ 0.1021, from series and Monte Carlo).
L1₀ order of the antiferromagnet without a field: k_BT_N = 1.72 J, first order; Monte Carlo of Beath
& Ryan (2006), doi:10.1103/PhysRevB.73.174416. Both values are recalled from the literature.
"""

from dataclasses import replace

import numpy as np
import pytest
from boxes import Q, expansion_from
from scipy.optimize import brentq

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import Estimate, jackknife_stderr
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.integration import (
    INFINITE_TEMPERATURE,
    coin_tosses,
    crossing,
    integrate,
    low_temperature,
)
from sampling.lattice import Supercell

COUPLING = 0.01
"""|J| in eV."""
NEAREST = [illustrative_expansion().orbits[1].clusters[..., :3]]
FERROMAGNET = expansion_from(NEAREST, [0.0, -COUPLING])
ANTIFERROMAGNET = expansion_from(NEAREST, [0.0, COUPLING])
KELVIN = COUPLING / BOLTZMANN_EV
"""Temperature at which k_BT = J."""


def field(value, points=1):
    """Fields H on the spins in units of J: h η₀ = −2Hη₀ + constant."""
    return Umbrella.semi_grand(
        FCC_L12, np.tile([-2 * COUPLING * value, 0.0, 0.0, 0.0], (points, 1))
    )


def binder_crossing(small, large, sweeps):
    """k_BT/J where ⟨m⁴⟩/⟨m²⟩² of two boxes agree, histograms reweighted, and its σ."""
    near = 9.8
    moments = []
    for cells in (small, large):
        box = ClusterHamiltonian.on(FERROMAGNET, Supercell(FCC_L12, cells))
        samples = sample(
            box, field(0.0), temperature=near * KELVIN, seed=1,
            schedule=Schedule(walkers=64, sweeps=sweeps, burn_in=400, stride=4),
        )  # fmt: skip
        m2 = (1 - 2 * samples.eta[0, ..., 0]) ** 2
        energy = samples.sites * (samples.energy[0] - samples.energy.mean()) / COUPLING
        moments.append((m2, energy))

    def ratio(t, without):
        values = []
        for m2, energy in moments:
            kept = np.delete(np.arange(64), without)
            weight = np.exp((1 / near - 1 / t) * energy[:, kept])
            second, fourth = ((weight * m2[:, kept] ** k).sum() for k in (1, 2))
            values.append(fourth * weight.sum() / second**2)
        return values[1] - values[0]

    roots = [brentq(ratio, 9.5, 10.1, args=(w,)) for w in [[], *np.arange(64)[:, None]]]
    return roots[0], jackknife_stderr(np.array(roots[1:])[None])[0]


def test_the_ferromagnet_has_its_known_critical_temperature():
    found, sigma = binder_crossing(3, 6, 3000)
    assert sigma < 0.005 * 9.795
    assert abs(found - 9.795) < 0.01 * 9.795 + 4 * sigma  # One per cent for boxes so small.


@pytest.mark.slow
def test_the_critical_temperature_of_large_boxes_is_the_known_one_to_half_a_per_cent():
    found, sigma = binder_crossing(5, 10, 12000)
    assert 4 * sigma < 0.005 * 9.795
    assert abs(found - 9.795) < 0.005 * 9.795


L10, L12 = (1, 1, 0, 0), (1, 0, 0, 0)


def crystal(cells, filled):
    return np.repeat(np.array(filled, np.uint8), cells**3)


def tail(path, integral, points=8):
    """The end of a path, nearest to the transition."""
    last = slice(-points, None)
    reduced = Estimate(integral.reduced.value[last], integral.reduced.stderr[last])
    kept = replace(integral, reduced=reduced)
    return path[last], kept


def ordering_temperature(filled, strength, cells, sweeps, ordered_to, disordered_to):
    """k_BT/J at which the ordered and the disordered phase have equal free energies, and its σ.

    The first is heated from its low-temperature limit, the second cooled from coin tosses.
    """
    box = ClusterHamiltonian.on(ANTIFERROMAGNET, Supercell(FCC_L12, cells))
    schedule = Schedule(walkers=16, sweeps=sweeps, burn_in=sweeps // 4, stride=2)

    def branch(beta, occupation):
        return sample(
            box, field(strength, len(beta)), temperature=KELVIN / beta, schedule=schedule, seed=3,
            start=np.tile(occupation, (len(beta), 16, 1)),
        )  # fmt: skip

    dense = 1 - np.linspace(1, 0, 24) ** 2  # Towards the transition, where heat capacities rise.
    down = 1 / disordered_to * dense[1:]
    mixed = np.random.default_rng(5).integers(0, 2, 4 * cells**3).astype(np.uint8)
    hot = coin_tosses(box, field(strength), schedule=schedule, seed=2)
    disordered = integrate([hot, branch(down, mixed)], reference=INFINITE_TEMPERATURE)
    up = 1.4 + (1 / ordered_to - 1.4) * dense
    limit = low_temperature(
        ClusterHamiltonian.on(ANTIFERROMAGNET, Supercell(FCC_L12, 3)), field(strength),
        temperature=KELVIN / up[0], occupation=crystal(3, filled),
    )  # fmt: skip
    ordered = integrate([branch(up, crystal(cells, filled))], reference=float(limit[0]))
    beta = crossing(tail(np.array([0.0, *down]), disordered), tail(up, ordered))
    return 1 / float(beta.value), float(beta.stderr / beta.value**2)


def from_half_ordered(filled, strength, cells, t, sweeps):
    """Order left after a run at k_BT/J = t from a box half ordered, half random: 1 or 0."""
    box = Supercell(FCC_L12, cells)
    random = np.random.default_rng(7).integers(0, 2, len(box.sites)).astype(np.uint8)
    half = np.tile(np.arange(cells**3) // cells**2 < cells / 2, 4)
    samples = sample(
        ClusterHamiltonian.on(ANTIFERROMAGNET, box), field(strength), temperature=t * KELVIN,
        seed=4, schedule=Schedule(walkers=8, sweeps=sweeps, burn_in=sweeps, stride=2),
        start=np.tile(np.where(half, crystal(cells, filled), random), (1, 8, 1)),
    )  # fmt: skip
    perfect = Q @ np.array(filled)
    return np.linalg.norm(samples.eta[0, ..., 1:].mean(0), axis=-1) / np.linalg.norm(perfect[1:])


L12_ORDERING = 1.82
"""k_BT/J at H = 8 J: between 1.8156(25), by this module from 4,000 sites, and 1.83, where half
ordered boxes of 4,000 sites order or not. We know of no published value to compare with."""


def test_free_energies_and_coexistence_put_the_l12_ordering_at_the_same_temperature():
    found, sigma = ordering_temperature(L12, 8.0, 6, 600, 1.78, 1.93)
    assert sigma < 0.01
    assert abs(found - L12_ORDERING) < 0.015 * L12_ORDERING + 4 * sigma
    assert np.median(from_half_ordered(L12, 8.0, 6, 0.95 * found, 300)) > 0.6
    assert np.median(from_half_ordered(L12, 8.0, 6, 1.07 * found, 300)) < 0.3


@pytest.mark.slow
def test_the_antiferromagnet_orders_as_l10_where_published():
    # Ours is 1.7336(4) in this box; 1 % covers what boxes, quadrature and literature differ by.
    found, sigma = ordering_temperature(L10, 0.0, 10, 600, 1.69, 1.75)
    assert 4 * sigma < 0.005 * found
    assert abs(found - 1.7217) < 0.01 * 1.7217
