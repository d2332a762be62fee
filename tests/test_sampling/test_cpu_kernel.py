"""The compiled kernel against published numbers, a plain Metropolis and exact sums."""

import numpy as np
import pytest
from boxes import LAYERS, all_states, expansion_from, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels import cpu
from sampling.lattice import Supercell


def test_generator_gives_the_published_first_numbers():
    # First outputs from the state (1, 2, 3, 4): test of the rand_xoshiro crate 0.6, made there
    # with the authors' C code, prng.di.unimi.it/xoshiro128plusplus.c.
    expected = [641, 1573767, 3222811527, 3517856514, 836907274, 4247214768, 3867114732]
    state = np.repeat(np.array([1, 2, 3, 4], np.uint32), 3)
    out = np.empty(3, np.uint32)
    for value in expected:
        cpu.xoshiro128pp(state, out)
        assert (out == value).all()


def test_exponential_is_good_to_two_units_in_the_last_place():
    x = np.linspace(-87, 87, 40_001, dtype=np.float32)
    y = np.array([cpu.exponential(value) for value in x], np.float64)
    assert np.abs(y / np.exp(x.astype(np.float64)) - 1).max() < 2 * np.finfo(np.float32).eps
    assert cpu.exponential(np.float32(0)) == 1
    assert cpu.exponential(np.float32(-1e9)) == cpu.exponential(np.float32(-87)) > 0


def plain_metropolis(hamiltonian, umbrella, temperature, occupation, state, order_state, sweeps):
    """One flip after the other, in double precision, with the kernel's random numbers."""
    box, beta = hamiltonian.supercell, 1 / (BOLTZMANN_EV * temperature)
    sites = len(box.sites)
    order, single = np.arange(sites), np.empty(1, np.uint32)
    uniform = np.empty(len(occupation), np.uint32)

    def bias(occupation):
        fractions = box.filled(occupation) / box.sites_per_sublattice
        return sites * umbrella.energy(fractions @ box.system.q.numpy().T)

    for _ in range(sweeps):
        for i in range(sites - 1, 0, -1):
            cpu.xoshiro128pp(order_state, single)
            j = (int(single[0]) * (i + 1)) >> 32
            order[i], order[j] = order[j], order[i]
        for site in order.tolist():
            cpu.xoshiro128pp(state, uniform)
            trial = occupation.copy()
            trial[:, site] ^= 1
            cost = hamiltonian.flip_cost(occupation, site) + bias(trial) - bias(occupation)
            accept = (uniform + 0.5) * 2.0**-32 < np.exp(-beta * cost)
            occupation = np.where(accept[:, None], trial, occupation)
    return occupation


def test_kernel_follows_a_plain_metropolis_flip_by_flip():
    from sampling.ensemble import _walkers

    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 2))
    umbrella = Umbrella(FCC_L12, np.array([[0.3, 0.2, 0.1, 0.0]]), np.array([[5.0, 3.0, 2.0, 1.0]]))
    walkers = _walkers(hamiltonian, umbrella, 900.0, 64, 5, (0,))
    start = walkers.occupation[0, :-1].T.copy()
    order_state = np.array([1, 2, 3, 4], np.uint32)
    expected = plain_metropolis(
        hamiltonian, umbrella, 900.0, start, walkers.state[0].ravel().copy(), order_state.copy(), 12
    )
    filled, energy = np.zeros((1, 3, 4, 64), np.int32), np.zeros((1, 3, 64), np.int64)
    cpu.run(cpu.tables(hamiltonian), walkers, order_state, 3, 3, filled, energy)
    final = walkers.occupation[0, :-1].T
    assert (final == expected).all()
    assert (final != start).any(1).all()
    assert (hamiltonian.supercell.filled(final) == filled[0, -1].T).all()
    assert (energy[0, -1] == hamiltonian.energy_quanta(final)).all()


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


def test_every_order_and_any_number_of_clusters_is_counted_exactly():
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
    )  # fmt: skip
    assert samples.acceptance > 0.1
