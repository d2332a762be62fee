"""Canonical swaps: exact sums at fixed composition, detailed balance, conservation."""

import numpy as np
import pytest
from boxes import LAYERS, all_states, bias, boltzmann, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.chains import fresh_chains, scattered
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.draws import xoshiro128pp
from sampling.kernels.swaps import Swaps
from sampling.lattice import Supercell

SMALL = ClusterHamiltonian.on(short_ranged(), Supercell(LAYERS, 2))
FREE = Umbrella.semi_grand(LAYERS, np.zeros((1, 2)))
HELD = Umbrella(LAYERS, np.array([[0.5, 0.2]]), np.array([[0.0, 0.3]]), np.array([[0.0, 0.1]]))


def kept(within_sublattices, filled):
    """The states that swaps can reach."""
    counts = SMALL.supercell.filled(all_states(16))
    if within_sublattices:
        return all_states(16)[(counts == filled).all(1)]
    return all_states(16)[counts.sum(1) == sum(filled)]


def run(kernel, umbrella, filled, temperature, **schedule):
    start = scattered(SMALL.supercell, np.array([filled]), walkers=schedule["walkers"], seed=4)
    return sample(
        SMALL, umbrella, temperature=temperature, seed=6, start=start, kernel=kernel,
        schedule=Schedule(**schedule),
    )  # fmt: skip


@pytest.mark.parametrize("within_sublattices", [False, True])
@pytest.mark.parametrize("umbrella", [FREE, HELD], ids=["free", "held"])
@pytest.mark.parametrize(("filled", "temperature"), [([5, 2], 800.0), ([4, 4], 2000.0)])
def test_averages_equal_exact_sums_over_the_states_of_the_composition(
    within_sublattices, umbrella, filled, temperature
):
    samples = run(
        Swaps(within_sublattices=within_sublattices), umbrella, filled, temperature,
        walkers=64, sweeps=2000, burn_in=100, stride=2,
    )  # fmt: skip
    states = kept(within_sublattices, filled)
    weight, energy, eta = boltzmann(SMALL, umbrella[:1], temperature, states)

    found = ergodic_mean(samples.energy[..., None])
    assert found.ergodic.all()
    assert abs(16 * found.mean.value[0, 0] - weight @ energy) < 4 * 16 * found.mean.stderr[0, 0]
    heat = ((16 * samples.energy[0] - weight @ energy) ** 2).mean(0)  # k_BT² C_V of each walker
    exact_heat = weight @ (energy - weight @ energy) ** 2
    assert abs(heat.mean() - exact_heat) < 4 * heat.std() / np.sqrt(63)
    square = ((samples.eta[0, ..., 1]) ** 2).mean(0)
    exact_square = weight @ eta[:, 1] ** 2
    assert abs(square.mean() - exact_square) <= 4 * square.std() / np.sqrt(63) + 1e-15
    assert np.ptp(samples.eta[0, ..., 0]) == 0
    assert (np.ptp(samples.eta[0, ..., 1]) == 0) == within_sublattices


def test_every_flow_between_energy_levels_equals_its_reverse():
    """A sweep of random swaps is reversible, so that flows balance pair by pair."""
    samples = run(Swaps(), HELD, [5, 2], 1500.0, walkers=64, sweeps=3000, burn_in=50, stride=1)
    counts = np.rint(8 * samples.eta[0] @ np.linalg.inv(LAYERS.q.numpy()).T).astype(int)
    state = np.unique(
        np.stack([samples.energy[0].round(9), counts[..., 0]], -1).reshape(-1, 2),
        axis=0, return_inverse=True,
    )[1].reshape(samples.energy[0].shape)  # fmt: skip
    size = state.max() + 1
    flow = np.bincount((state[:-1] * size + state[1:]).ravel(), minlength=size**2)
    flow = flow.reshape(size, size)
    there, back = flow[np.triu_indices(size, 1)], flow.T[np.triu_indices(size, 1)]
    often = there + back > 50
    chi2 = ((there - back)[often] ** 2 / (there + back)[often]).sum()
    assert often.sum() > 20
    assert abs(chi2 - often.sum()) < 4 * np.sqrt(2 * often.sum())


def plain_swaps(hamiltonian, umbrella, temperature, occupation, state, group, attempts):
    """Double precision, energies of whole boxes, the kernel's random numbers."""
    box, beta = hamiltonian.supercell, 1 / (BOLTZMANN_EV * temperature)
    occupied = np.flatnonzero(occupation).tolist()
    empty = [np.flatnonzero(part == 0).tolist() for part in occupation.reshape(-1, group)]
    out = np.empty((3, 16), np.uint32)

    def energy(occupation):
        one = occupation[None]
        return (hamiltonian.energy(one) + bias(box, umbrella, one))[0]

    accepted = 0
    for attempt in range(attempts):
        if attempt % 16 == 0:
            for row in out:
                xoshiro128pp(state, row)
        first, second, third = (int(value) for value in out[:, attempt % 16])
        taken = (first * len(occupied)) >> 32
        full = occupied[taken]
        choices = empty[full // group]
        given = (second * len(choices)) >> 32
        bare = full // group * group + choices[given]
        trial = occupation.copy()
        trial[[full, bare]] = 0, 1
        if (third + 0.5) * 2.0**-32 < np.exp(-beta * (energy(trial) - energy(occupation))):
            occupation, accepted = trial, accepted + 1
            occupied[taken], choices[given] = bare, full % group
    return occupation, accepted


@pytest.mark.parametrize("within_sublattices", [False, True])
def test_kernel_follows_a_plain_metropolis_swap_by_swap(within_sublattices):
    box = Supercell(FCC_L12, 2)
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), box)
    umbrella = Umbrella(
        FCC_L12, np.array([[0.3, 0.2, 0.1, 0.0]]), np.array([[5.0, 0.3, 0.2, 0.1]]),
        np.array([[0.1, -0.2, 0.1, 0.2]]),
    )  # fmt: skip
    kernel = Swaps(within_sublattices=within_sublattices)
    chains = fresh_chains(
        kernel, box, walkers=1, seed=5, point_seeds=(0,),
        occupation=scattered(box, np.array([[6, 3, 1, 0]]), walkers=1, seed=1),
    )  # fmt: skip
    samples = sample(
        hamiltonian, umbrella, temperature=2500.0, seed=5, start=chains, kernel=kernel,
        schedule=Schedule(walkers=1, burn_in=0, sweeps=40, stride=20),
    )  # fmt: skip
    state, occupation, accepted = chains.state[0, 0].copy(), chains.occupation[0, 0], 0
    for _ in range(2):
        occupation, count = plain_swaps(
            hamiltonian, umbrella, 2500.0, occupation, state,
            8 if within_sublattices else 32, 20 * 32,
        )  # fmt: skip
        accepted += count
    assert (samples.chains.occupation[0, 0] == occupation).all()
    assert samples.acceptance[0] * 40 * 32 == pytest.approx(accepted)
    assert accepted > 100


@pytest.mark.parametrize("filled", [0, 27])
def test_a_box_of_one_species_stays_as_it_is(filled):
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 3))
    start = scattered(hamiltonian.supercell, np.full((1, 4), filled), walkers=2, seed=0)
    samples = sample(
        hamiltonian, Umbrella.semi_grand(FCC_L12, np.zeros((1, 4))), temperature=1000.0, seed=1,
        start=start, kernel=Swaps(), schedule=Schedule(walkers=2, burn_in=0, sweeps=4, stride=2),
    )  # fmt: skip
    assert samples.acceptance == 0
    assert (samples.chains.occupation == start).all()
