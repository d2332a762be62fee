"""Flip balance against exact enumeration, the ideal gas, and states that are not in balance."""

from dataclasses import replace

import numpy as np
import pytest
from boxes import LAYERS, Q, all_states, ideal_gas, short_ranged

from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV
from sampling.flip_balance import flip_balance
from sampling.hamiltonian import ClusterHamiltonian, Umbrella
from sampling.lattice import Supercell

BOX = Supercell(LAYERS, 2)
HAMILTONIAN = ClusterHamiltonian.on(short_ranged(), BOX)
STATES = all_states(16)
ETA = BOX.filled(STATES) / 8 @ LAYERS.q.numpy().T
ENERGY = HAMILTONIAN.energy(STATES)


def drawn(umbrella, temperature, shape):
    """Independent states of the enumerated ensemble, and its exact ⟨η⟩ and 2Φ + H."""
    thermal = BOLTZMANN_EV * temperature
    exponent = -(ENERGY + 16 * umbrella.energy(ETA)) / thermal
    weight = np.exp(exponent - exponent.max())
    weight /= weight.sum()
    mean = weight @ ETA
    covariance = (ETA - mean).T @ (weight[:, None] * (ETA - mean))
    chosen = np.random.default_rng(8).choice(len(STATES), shape, p=weight)
    return STATES[chosen], mean, thermal / 16 * np.linalg.inv(covariance)


def repeated(umbrella, times):
    return Umbrella(
        LAYERS,
        *(np.tile(values, (times, 1)) for values in (umbrella.centre, umbrella.stiffness)),
    )


@pytest.mark.parametrize(
    ("temperature", "centre", "stiffness"),
    [
        (1000.0, (0.30, 0.10), (1.0, 1.0)),
        (1500.0, (0.60, -0.20), (3.0, 3.0)),
        (2000.0, (0.50, 0.00), (0.0, 0.0)),
        (900.0, (0.40, 0.10), (2.0, 0.5)),
    ],
)
def test_flips_agree_with_the_umbrella_in_enumerated_ensembles(temperature, centre, stiffness):
    """Weak, stiff and none; 60 repeats of 64 walkers with 16 states each."""
    umbrella = Umbrella(LAYERS, np.array(centre), np.array(stiffness))
    states, mean, stiffening = drawn(umbrella, temperature, (60, 16, 64))
    kelvin = np.full(60, temperature)
    found = flip_balance(HAMILTONIAN, states, repeated(umbrella, 60), temperature=kelvin)
    z = found.disagreement.value / found.disagreement.stderr
    assert (np.abs(z.mean(0)) < 4 / np.sqrt(60)).all()
    assert (np.abs((np.abs(z) < 1).mean(0) - 0.68) < 0.24).all()

    eta = BOX.filled(states).mean((1, 2)) / 8 @ LAYERS.q.numpy().T
    hessian = stiffening - 2 * np.diag(stiffness)
    curve = umbrella.chemical_potential(mean) + (eta - mean) @ hessian
    z = (found.mu.value - curve) / found.mu.stderr
    assert (np.abs(z.mean(0)) < 4 / np.sqrt(60)).all()
    assert (np.abs((np.abs(z) < 1).mean(0) - 0.68) < 0.24).all()


def test_flips_of_an_ideal_gas_give_its_chemical_potential_without_noise():
    hamiltonian = ClusterHamiltonian.on(ideal_gas(), Supercell(FCC_L12, 3))
    x = np.array([0.1, 0.4, 0.5, 0.8])[hamiltonian.supercell.sublattice]
    states = (np.random.default_rng(1).random((1, 5, 16, 108)) < x).astype(np.uint8)
    free = Umbrella(FCC_L12, np.zeros((1, 4)), np.zeros((1, 4)))
    found = flip_balance(hamiltonian, states, free, temperature=np.array([900.0]))
    mean = hamiltonian.supercell.filled(states).mean((1, 2)) / 27
    expected = BOLTZMANN_EV * 900 / 4 * np.log(mean / (1 - mean)) @ np.linalg.inv(Q)
    assert found.mu.value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("change", ["temperature", "energies", "bias"])
def test_states_of_another_ensemble_are_found_out(change):
    umbrella = Umbrella(LAYERS, np.array([0.4, 0.1]), np.array([1.0, 1.0]))
    states, *_ = drawn(umbrella, 1000.0, (1, 40, 64))
    hamiltonian, kelvin, bias = HAMILTONIAN, np.array([1000.0]), repeated(umbrella, 1)

    def z(hamiltonian, bias, kelvin):
        found = flip_balance(hamiltonian, states, bias, temperature=kelvin).disagreement
        return np.abs(found.value / found.stderr).max()

    assert z(hamiltonian, bias, kelvin) < 4
    if change == "temperature":
        kelvin = 1.2 * kelvin
    elif change == "energies":
        expansion = short_ranged()
        expansion = replace(expansion, eci=1.1 * expansion.eci)
        hamiltonian = ClusterHamiltonian.on(expansion, BOX)
    else:
        bias = replace(bias, centre=bias.centre + 0.01)
    assert z(hamiltonian, bias, kelvin) > 4


def test_a_sublattice_that_cannot_flip_has_no_balance():
    """So stiff a bias, so far out, that no site is ever filled."""
    states = np.zeros((1, 4, 16, 16), np.uint8)
    far = Umbrella(LAYERS, np.array([[-1.0, 0.0]]), np.array([[6.0, 6.0]]))
    found = flip_balance(HAMILTONIAN, states, far, temperature=np.array([1000.0]))
    for estimate in (found.mu, found.disagreement):
        assert np.isnan(estimate.value).all()
        assert np.isnan(estimate.stderr).all()
