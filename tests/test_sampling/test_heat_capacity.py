"""Heat capacity: the slope of the exactly enumerated ⟨E⟩, with and without a bias."""

import numpy as np
import pytest
from boxes import LAYERS, all_states, ideal_gas, short_ranged
from scipy.optimize import fsolve

from idnn.units import BOLTZMANN_EV
from sampling.ensemble import Schedule, sample
from sampling.estimate import heat_capacity
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell

BOX = Supercell(LAYERS, 2)
HAMILTONIAN = ClusterHamiltonian.on(short_ranged(), BOX)
STATES = all_states(16)
ETA = BOX.filled(STATES) / 8 @ LAYERS.q.numpy().T
ENERGY = HAMILTONIAN.energy(STATES) / 16


def mean(quantity, temperature, centre, stiffness):
    """⟨quantity⟩ under the umbrella, summed over every state."""
    bias = (stiffness * (ETA - centre) ** 2).sum(-1)
    exponent = -16 * (ENERGY + bias) / (BOLTZMANN_EV * temperature)
    weight = np.exp(exponent - exponent.max())
    return weight @ quantity / weight.sum()


def slope_of_energy(temperature, centre, stiffness):
    """d⟨E⟩/dT, φ in proportion to T and κ of the held order parameters keeping their ⟨η⟩."""
    held = stiffness > 0
    target = mean(ETA, temperature, centre, stiffness)

    def energy(kelvin):
        phi = stiffness * kelvin / temperature

        def miss(moved):
            kappa = centre.copy()
            kappa[held] = moved
            return (mean(ETA, kelvin, kappa, phi) - target)[held]

        kappa = centre.copy()
        kappa[held] = fsolve(miss, centre[held], xtol=1e-10) if held.any() else centre[held]
        return mean(ENERGY, kelvin, kappa, phi)

    return (energy(temperature + 1) - energy(temperature - 1)) / 2


@pytest.mark.parametrize(
    ("temperature", "centre", "stiffness"),
    [
        (2000.0, (0.5, 0.0), (0.0, 0.0)),
        (1000.0, (0.3, 0.1), (1.0, 1.0)),
        (1000.0, (0.9, -0.3), (0.5, 2.0)),
        (1500.0, (0.4, 0.3), (0.0, 1.0)),
    ],
)
def test_heat_capacity_is_the_slope_of_the_enumerated_energy(temperature, centre, stiffness):
    umbrella = Umbrella(LAYERS, np.array([centre]), np.array([stiffness]))
    samples = sample(
        HAMILTONIAN, umbrella, temperature=temperature, seed=5,
        schedule=Schedule(walkers=256, sweeps=2000, burn_in=200, stride=2),
    )  # fmt: skip
    found = heat_capacity(samples)
    expected = slope_of_energy(temperature, np.array(centre), np.array(stiffness))
    assert abs(found.value[0] - expected) < 4 * found.stderr[0]
    assert found.stderr[0] < 0.01 * expected


def test_without_a_bias_it_is_the_variance_of_the_energy_and_error_bars_cover_the_truth():
    points, none = 100, np.zeros((100, 2))
    samples = sample(
        HAMILTONIAN, Umbrella(LAYERS, none, none), temperature=1500.0, seed=6,
        schedule=Schedule(walkers=16, sweeps=200, burn_in=50, stride=2),
    )  # fmt: skip
    found = heat_capacity(samples)
    zero = np.zeros(2)
    variance = mean(ENERGY**2, 1500.0, zero, zero) - mean(ENERGY, 1500.0, zero, zero) ** 2
    z = (found.value - 16 * variance / (BOLTZMANN_EV * 1500.0**2)) / found.stderr
    assert found.value == pytest.approx(
        16 * samples.energy.var((1, 2)) / (BOLTZMANN_EV * 1500.0**2), rel=0.02
    )
    assert abs(z.mean()) < 4 / np.sqrt(points)
    assert abs((np.abs(z) < 1).mean() - 0.68) < 4 * np.sqrt(0.68 * 0.32 / points)


def test_an_ideal_gas_has_none():
    hamiltonian = ClusterHamiltonian.on(ideal_gas(), BOX)
    umbrella = Umbrella(LAYERS, np.array([[0.4, 0.1]]), np.ones((1, 2)))
    samples = sample(
        hamiltonian, umbrella, temperature=900.0, seed=1, schedule=Schedule(walkers=8, sweeps=100)
    )
    assert heat_capacity(samples).value == 0
