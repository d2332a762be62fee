"""Quoted errors of μ and H hold the enumerated truth as often as they should, over 300 runs."""

import numpy as np
import pytest
from boxes import LAYERS, all_states, short_ranged

from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule, sample
from sampling.estimate import chemical_potential, hessian
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell

RUNS = 300


@pytest.mark.parametrize(
    ("temperature", "centre", "stiffness", "walkers", "sweeps"),
    [
        (1000.0, (0.30, 0.10), (1.0, 1.0), 32, 200),
        (1000.0, (0.30, 0.10), (1.0, 1.0), 64, 100),
        (800.0, (0.45, -0.15), (0.5, 2.0), 32, 300),
    ],
)
def test_one_sigma_holds_the_truth_in_63_to_73_percent(
    temperature, centre, stiffness, walkers, sweeps
):
    box = Supercell(LAYERS, 2)
    hamiltonian = ClusterHamiltonian.on(short_ranged(), box)
    umbrella = Umbrella(
        LAYERS, np.tile(np.array(centre), (RUNS, 1)), np.tile(np.array(stiffness), (RUNS, 1))
    )
    states = all_states(16)
    eta = box.filled(states) / 8 @ LAYERS.q.numpy().T
    bias = (np.array(stiffness) * (eta - np.array(centre)) ** 2).sum(-1)
    thermal = BOLTZMANN_EV * temperature
    exponent = -(hamiltonian.energy(states) + 16 * bias) / thermal
    weight = np.exp(exponent - exponent.max())
    weight /= weight.sum()
    mean = weight @ eta
    covariance = (eta - mean).T @ (weight[:, None] * (eta - mean))
    exact = thermal / 16 * np.linalg.inv(covariance) - 2 * np.diag(stiffness)

    samples = sample(
        hamiltonian, umbrella, temperature=temperature, seed=12,
        schedule=Schedule(walkers=walkers, sweeps=sweeps, burn_in=40, stride=2),
    )  # fmt: skip
    mu, found = chemical_potential(samples), hessian(samples)
    off_mean = samples.eta.mean((1, 2)) - mean
    curve = umbrella.chemical_potential(np.tile(mean, (RUNS, 1))) + off_mean @ exact
    upper = np.triu_indices(2)
    z_mu = (mu.value - curve) / mu.stderr
    z_hessian = ((found.value - exact) / found.stderr)[:, *upper]
    for z in (z_mu, z_hessian):
        assert 0.63 < (np.abs(z) < 1).mean() < 0.73
        # 2 or 3 components of one run are taken as one.
        assert (np.abs(z.mean(0)) < 4 / np.sqrt(RUNS)).all()
