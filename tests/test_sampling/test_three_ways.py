"""One chemical potential three ways: from the bias, semi-grand, and from free energies."""

import numpy as np
import pytest
from boxes import Q

from idnn.order_parameters import FCC_L12
from sampling.clusters import illustrative_expansion
from sampling.ensemble import Schedule, sample
from sampling.estimate import ergodic_mean
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.integration import integrate, low_temperature
from sampling.label import LabelTask, label
from sampling.lattice import Supercell

EXPANSION = illustrative_expansion()
KELVIN = 1000.0
PHI = 3.0
STEP = 0.02
"""Of the field (eV). Its fifth derivative makes the five-point rule err by 1e-5 of ⟨η₀⟩ at most."""
STENCIL = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1.0, -8.0, 8.0, -1.0]) / 12

WELLS = {"γ": ((0.056,) * 4, -0.9), "γ′": ((0.997, 0.021, 0.021, 0.021), -0.4)}
"""⟨x⟩ of the sublattices and μ₀ (eV); all other μ are zero."""


def hamiltonian(cells):
    return ClusterHamiltonian.on(EXPANSION, Supercell(FCC_L12, cells))


def along(mu0, points=1):
    return Umbrella.semi_grand(FCC_L12, np.tile([mu0, 0.0, 0.0, 0.0], (points, 1)))


def biased(cells, x, mu0, sweeps):
    """The label of an umbrella on all four η, centred so that ⟨x⟩ is near x."""
    centre = Q @ np.array(x) + np.array([mu0 / (2 * PHI), 0.0, 0.0, 0.0])
    (point,) = label(
        LabelTask(
            expansion=EXPANSION, system="fcc-L12", cells=(cells,), temperature=KELVIN,
            centre=centre[None], stiffness=np.full((1, 4), PHI), point_seeds=(0,), seed=1,
            schedule=Schedule(walkers=64, sweeps=sweeps, burn_in=200, stride=2),
        )
    )  # fmt: skip
    return point


def semi_grand(cells, mu, filled, sweeps):
    """⟨η⟩ at fields μ."""
    crystal = np.repeat(np.array(filled, np.uint8), cells**3)
    samples = sample(
        hamiltonian(cells), Umbrella.semi_grand(FCC_L12, mu[None]), temperature=KELVIN, seed=2,
        schedule=Schedule(walkers=64, sweeps=sweeps, burn_in=200, stride=2),
        start=np.tile(crystal, (1, 64, 1)),
    )  # fmt: skip
    mean = ergodic_mean(samples.eta)
    assert mean.ergodic.all()
    return mean.mean


def potential(cells, mu0, filled, sweeps, seed):
    """ω = k_BT G (eV) of a crystal heated at one field, from its low-temperature limit."""
    beta = np.linspace(2.6, 1.0, 24)
    small, large = (np.repeat(np.array(filled, np.uint8), n**3) for n in (3, cells))
    limit = low_temperature(
        hamiltonian(3), along(mu0), temperature=KELVIN / beta[0], occupation=small
    )
    samples = sample(
        hamiltonian(cells), along(mu0, len(beta)), temperature=KELVIN / beta, seed=seed,
        schedule=Schedule(walkers=16, sweeps=sweeps, burn_in=50, stride=2),
        start=np.tile(large, (len(beta), 16, 1)),
    )  # fmt: skip
    integral = integrate([samples], reference=float(limit[0]))
    assert integral.sound.all()
    assert integral.rule_error[-1] < integral.reduced.stderr[-1]
    return integral.potential.value[-1], integral.potential.stderr[-1]


def slope_of_potential(cells, mu0, filled, sweeps):
    """⟨η₀⟩ = −∂ω/∂h₀ by five points, and its σ."""
    found = [
        potential(cells, mu0 + k * STEP, filled, sweeps, seed) for seed, k in enumerate(STENCIL[0])
    ]
    omega, sigma = np.array(found).T / STEP
    return -STENCIL[1] @ omega, np.linalg.norm(STENCIL[1] * sigma)


@pytest.mark.parametrize("well", WELLS)
@pytest.mark.parametrize(
    ("cells", "sweeps", "precise"),
    [(6, 100, 3e-3), pytest.param(10, 400, 5e-4, marks=pytest.mark.slow)],
)
def test_bias_semi_grand_run_and_free_energies_give_one_mu(well, cells, sweeps, precise):
    x, mu0 = WELLS[well]
    filled = np.round(x)
    point = biased(cells, x, mu0, 4 * sweeps)

    back = semi_grand(cells, point.mu.value, filled, 4 * sweeps)
    missed = point.hessian.value @ (back.value[0] - point.eta.value)
    sigma = np.hypot(point.mu.stderr, np.abs(point.hessian.value) @ back.stderr[0])
    assert (np.abs(missed) < 4 * sigma).all()
    assert sigma.max() < 2 * precise

    slope, slope_sigma = slope_of_potential(cells, mu0, filled, sweeps)
    response = np.linalg.inv(point.hessian.value)[0]
    at_field = point.eta.value[0] + response @ ([mu0, 0.0, 0.0, 0.0] - point.mu.value)
    sigma = np.hypot(slope_sigma, np.linalg.norm(response * point.mu.stderr)) / response[0]
    assert abs(slope - at_field) / response[0] < 4 * sigma
    assert sigma < precise
