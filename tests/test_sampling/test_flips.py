"""The kernel for single walkers against a plain Metropolis."""

import numpy as np
import pytest
from boxes import bias, ideal_gas

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.chains import fresh_chains
from sampling.clusters import illustrative_expansion
from sampling.ensemble import LANES, Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.kernels.draws import xoshiro128pp
from sampling.kernels.flips import Flips
from sampling.lattice import Supercell


def plain_metropolis(hamiltonian, umbrella, temperature, occupation, state, sweeps):
    """Sites in their order, double precision, full flip costs, the kernel's random numbers."""
    box, beta = hamiltonian.supercell, 1 / (BOLTZMANN_EV * temperature)
    out, size = np.empty(16, np.uint32), box.sites_per_sublattice
    accepted = 0
    for _ in range(sweeps):
        for first in range(0, len(box.sites), size):
            random = []
            while len(random) < size:
                xoshiro128pp(state, out)
                random += out.tolist()
            for site in range(first, first + size):
                trial = occupation.copy()
                trial[:, site] ^= 1
                cost = hamiltonian.flip_cost(occupation, site)
                cost = cost + bias(box, umbrella, trial) - bias(box, umbrella, occupation)
                if (random[site - first] + 0.5) * 2.0**-32 < np.exp(-beta * cost[0]):
                    occupation, accepted = trial, accepted + 1
    return occupation, accepted


@pytest.mark.parametrize(("cells", "temperature"), [(2, 900.0), (3, 1500.0), (3, 6000.0)])
def test_kernel_follows_a_plain_metropolis_flip_by_flip(cells, temperature):
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, cells))
    umbrella = Umbrella(
        FCC_L12,
        np.array([[0.3, 0.2, 0.1, 0.0]]),
        np.array([[5.0, 3.0, 2.0, 1.0]]),
        np.array([[0.3, -0.2, 0.1, 0.2]]),
    )
    kernel = Flips()
    chains = fresh_chains(kernel, hamiltonian.supercell, walkers=1, seed=5, point_seeds=(0,))
    samples = sample(
        hamiltonian, umbrella, temperature=temperature, seed=5, start=chains, kernel=kernel,
        schedule=Schedule(walkers=1, burn_in=3, sweeps=9, stride=3),
    )  # fmt: skip
    expected, accepted = plain_metropolis(
        hamiltonian, umbrella, temperature, chains.occupation[0], chains.state[0, 0].copy(), 12
    )
    assert (samples.chains.occupation[0] == expected).all()
    assert samples.acceptance[0] * 12 * len(hamiltonian.supercell.sites) == pytest.approx(accepted)
    assert accepted > 50


def test_both_flip_kernels_find_the_same_averages_in_a_larger_box():
    hamiltonian = ClusterHamiltonian.on(illustrative_expansion(), Supercell(FCC_L12, 4))
    umbrella = Umbrella(FCC_L12, np.array([[0.4, 0.2, 0.1, 0.0]]), np.array([[3.0, 2.0, 2.0, 2.0]]))
    lanes, flips = (
        sample(
            hamiltonian, umbrella, temperature=1500.0, seed=seed, kernel=kernel,
            schedule=Schedule(walkers=16, burn_in=200, sweeps=1000, stride=1),
        )
        for seed, kernel in ((1, LANES), (2, Flips()))
    )  # fmt: skip
    for quantity in (lambda s: s.eta, lambda s: s.energy[..., None]):
        one, two = ergodic_mean(quantity(lanes)).mean, ergodic_mean(quantity(flips)).mean
        assert (np.abs(one.value - two.value) < 4 * np.hypot(one.stderr, two.stderr)).all()


def test_an_ideal_gas_in_a_field_has_its_closed_form():
    """x_s = 1/(1 + exp(−d (Qᵀh)_s / k_BT)) on each sublattice."""
    hamiltonian = ClusterHamiltonian.on(ideal_gas(), Supercell(FCC_L12, 5))
    umbrella = Umbrella.semi_grand(FCC_L12, np.array([[0.2, 0.1, -0.05, 0.02]]))
    samples = sample(
        hamiltonian, umbrella, temperature=1000.0, seed=2, kernel=Flips(),
        schedule=Schedule(walkers=8, burn_in=50, sweeps=2000, stride=2),
    )  # fmt: skip
    x = 1 / (1 + np.exp(-4 * umbrella.sublattice_field[0] / (BOLTZMANN_EV * 1000.0)))
    eta = ergodic_mean(samples.eta).mean
    assert (np.abs(eta.value[0] - FCC_L12.q.numpy() @ x) < 4 * eta.stderr[0]).all()
