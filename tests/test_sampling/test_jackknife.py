"""The jackknife frees estimates of what few records bias them by."""

from dataclasses import replace

import numpy as np
from boxes import LAYERS, ideal_gas

from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule, sample
from sampling.estimate import hessian
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell


def test_few_records_leave_no_bias_in_the_hessian():
    """Inverse covariances of 32 normal records are 32/28 of the truth on average (Wishart)."""
    points, records = 800, 32
    samples = sample(
        ClusterHamiltonian.on(ideal_gas(), Supercell(LAYERS, 1)),
        Umbrella.semi_grand(LAYERS, np.zeros((points, 2))), temperature=1000.0, seed=0,
        schedule=Schedule(walkers=8, sweeps=4, burn_in=0, stride=1),
    )  # fmt: skip
    eta = np.random.default_rng(1).standard_normal(samples.eta.shape)
    found = hessian(replace(samples, eta=eta)).value * samples.sites / (BOLTZMANN_EV * 1000)
    mean, error = found.mean(0), found.std(0) / np.sqrt(points)
    # Of the bias of order 1/n that was 1/8, the jackknife leaves the order 1/n².
    left = 8 / records**2 * np.eye(2)
    assert (4 * error + left < 1 / 8).all()
    assert (np.abs(mean - np.eye(2)) < 4 * error + left).all()
