"""The compiled kernel against published numbers, a plain Metropolis and exact sums."""

import numpy as np
import pytest
from boxes import LAYERS, all_states, bias, eta_of, expansion_from, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.chains import fresh_chains
from sampling.clusters import illustrative_expansion
from sampling.ensemble import LANES, Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels import cpu
from sampling.kernels.draws import xoshiro128pp
from sampling.kernels.flips import Flips
from sampling.lattice import Supercell


def plain_metropolis(hamiltonian, umbrella, temperature, occupation, state, order_state, sweeps):
    """One flip after the other, in double precision, with the kernel's random numbers."""
    box, beta = hamiltonian.supercell, 1 / (BOLTZMANN_EV * temperature)
    sites = len(box.sites)
    order, single = np.arange(sites), np.empty(1, np.uint32)
    uniform = np.empty(len(occupation), np.uint32)

    for _ in range(sweeps):
        for i in range(sites - 1, 0, -1):
            xoshiro128pp(order_state, single)
            j = (int(single[0]) * (i + 1)) >> 32
            order[i], order[j] = order[j], order[i]
        for site in order.tolist():
            xoshiro128pp(state, uniform)
            trial = occupation.copy()
            trial[:, site] ^= 1
            cost = hamiltonian.flip_cost(occupation, site)
            cost += bias(box, umbrella, trial) - bias(box, umbrella, occupation)
            accept = (uniform + 0.5) * 2.0**-32 < np.exp(-beta * cost)
            occupation = np.where(accept[:, None], trial, occupation)
    return occupation


def test_kernel_follows_a_plain_metropolis_flip_by_flip():
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    umbrella = Umbrella(
        FCC_L12,
        np.array([[0.3, 0.2, 0.1, 0.0]]),
        np.array([[5.0, 3.0, 2.0, 1.0]]),
        np.array([[0.3, -0.2, 0.1, 0.2]]),
    )
    chains = fresh_chains(LANES, hamiltonian.supercell, walkers=64, seed=5, point_seeds=(0,))
    expected = plain_metropolis(
        hamiltonian,
        umbrella,
        900.0,
        chains.occupation[0],
        chains.state[0].T.ravel(),
        chains.order_state.copy(),
        12,
    )
    samples = sample(
        hamiltonian, umbrella, temperature=900.0, seed=5, start=chains,
        schedule=Schedule(walkers=64, burn_in=3, sweeps=9, stride=3),
    )  # fmt: skip
    final = samples.chains.occupation[0]
    assert (final == expected).all()
    assert (final != chains.occupation[0]).any(1).all()
    assert samples.eta[0, -1] == pytest.approx(eta_of(hamiltonian.supercell, final), abs=1e-15)
    assert 32 * samples.energy[0, -1] == pytest.approx(hamiltonian.energy(final), abs=1e-12)


@pytest.mark.parametrize("stiffness", [0.0, 0.1])
def test_walkers_visit_states_with_their_boltzmann_weights(stiffness):
    """χ² over all sublattice counts, and ⟨E⟩, of 4096 independent walkers on 2¹⁶ states."""
    temperature, box = 1500.0, Supercell(LAYERS, 2)
    hamiltonian = ClusterHamiltonian.on(short_ranged(), box)
    umbrella = Umbrella(LAYERS, np.array([[0.6, 0.2]]), np.full((1, 2), stiffness))
    walkers = 4096
    samples = sample(
        hamiltonian, umbrella, temperature=temperature, seed=3,
        schedule=Schedule(walkers=walkers, burn_in=60, sweeps=2, stride=1),
    )  # fmt: skip

    states = all_states(16)
    counts = box.filled(states)
    energy = hamiltonian.energy(states)
    eta = counts / 8 @ LAYERS.q.numpy().T
    weight = np.exp(
        -(energy - energy.min() + 16 * umbrella.energy(eta)) / (BOLTZMANN_EV * temperature)
    )
    weight /= weight.sum()

    expected = walkers * np.bincount(counts @ [9, 1], weight, 81)
    fractions = samples.eta[0, -1] @ np.linalg.inv(LAYERS.q.numpy()).T
    seen = np.bincount(np.rint(8 * fractions).astype(int) @ [9, 1], minlength=81)
    often = expected > 5
    chi2 = ((seen - expected)[often] ** 2 / expected[often]).sum()
    assert often.sum() >= 20
    assert abs(chi2 - often.sum()) < 4 * np.sqrt(2 * often.sum())

    mean, spread = weight @ energy, np.sqrt(weight @ (energy - weight @ energy) ** 2)
    z = (16 * samples.energy[0, -1].mean() - mean) / (spread / np.sqrt(walkers))
    assert abs(z) < 4


@pytest.mark.parametrize("kernel", [LANES, Flips()])
def test_every_order_and_any_number_of_clusters_is_counted_exactly(kernel):
    """`sample` compares the running energy with a full evaluation, and they must be equal."""
    rng = np.random.default_rng(2)
    near = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, -1, 0), (1, 0, -1)]
    clusters = [np.array([[(0, 0, 0), *near[:k]]]) for k in range(6)]
    grid = np.argwhere(np.ones((7, 7, 7))) - 3
    many = [[(0, 0, 0), tuple(v)] for v in grid if tuple(v) > (0, 0, 0)]  # 342 around each site
    hamiltonian = ClusterHamiltonian.on(
        expansion_from([*clusters, many], [0.0, *rng.normal(0, 0.05, 6), 1e-3]),
        Supercell(FCC_L12, 5),
    )
    assert cpu.tables(hamiltonian).tally.dtype == np.uint16
    assert [orbit.order for orbit in hamiltonian.orbits] == [1, 2, 3, 4, 5, 6, 2]
    samples = sample(
        hamiltonian, Umbrella(FCC_L12, np.full((1, 4), 0.1), np.ones((1, 4))),
        temperature=3000.0, schedule=Schedule(walkers=8, burn_in=0, sweeps=4), seed=1,
        kernel=kernel,
    )  # fmt: skip
    assert samples.acceptance > 0.1
