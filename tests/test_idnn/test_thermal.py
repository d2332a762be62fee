"""One free energy over a range of temperatures: what holds at each, and its β-derivative."""

import math

import pytest
import torch
from references import sobol_states

from idnn.free_energy import IdealMixing
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.thermal import ThermalNetwork
from idnn.units import BOLTZMANN_EV

RANGE = (700.0, 1500.0)
SHAPE = NetworkSettings(widths=(7, 6))


@pytest.fixture
def network():
    return ThermalNetwork(FCC_L12, RANGE, SHAPE, seeds=(1, 2, 3)).requires_grad_(False)


def test_the_scaled_inverse_temperature_spans_minus_one_to_one(network):
    kelvin = torch.tensor([700.0, 1500.0, 2 / (1 / 700 + 1 / 1500)], dtype=torch.float64)
    expected = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(network.tau(kelvin), expected, rtol=0, atol=1e-14)
    beta = 1 / (BOLTZMANN_EV * kelvin)
    slope = (network.tau(kelvin)[0] - network.tau(kelvin)[1]) / (beta[0] - beta[1])
    assert network.tau_slope == pytest.approx(float(slope), rel=1e-13)


@pytest.mark.parametrize("kelvin", [700.0, 1000.0, 1500.0])
def test_at_a_temperature_it_is_a_network_of_that_temperature(network, kelvin):
    f, eta = network.at(kelvin), sobol_states(40, seed=1)
    assert isinstance(f, IntegrableNetwork)
    assert (f.temperature, f.members, f.settings) == (kelvin, 3, SHAPE)
    kt = BOLTZMANN_EV * kelvin
    both = torch.cat([eta, torch.zeros(1, 4, dtype=torch.float64)])
    g = network.layers.potential(network.inputs(both, torch.full((41,), kelvin).double()))
    ideal = IdealMixing(FCC_L12.q, kelvin, SHAPE.floor)
    learned = kt * (g[:, :-1] - g[:, -1:])
    expected = ideal(eta) - ideal(both[-1]) + learned
    torch.testing.assert_close(f.values(eta), expected, rtol=1e-12, atol=1e-14)


def test_the_energy_is_the_derivative_of_beta_f_to_second_order(network):
    eta, beta = sobol_states(30, seed=2), 1 / (BOLTZMANN_EV * 1000.0)

    def beta_f(b):
        return b * network.at(1 / (BOLTZMANN_EV * b)).values(eta)

    exact = network.energies(eta, 1000.0)
    error = []
    for h in (0.4, 0.2):
        central = (beta_f(beta + h) - beta_f(beta - h)) / (2 * h)
        error.append(float((central - exact).abs().max()))
    # f''' of the activation along τ is not small at h = 0.4 of a range of 8.8/eV.
    assert math.log2(error[0] / error[1]) == pytest.approx(2, abs=0.05)
    assert error[1] < 1e-3 * float(exact.abs().max())
    torch.testing.assert_close(network.energy(eta, 1000.0), exact.mean(0))


def test_value_and_energy_vanish_at_zero(network):
    zero = torch.zeros(4, dtype=torch.float64)
    for kelvin in (700.0, 1234.0):
        assert network.at(kelvin).values(zero).abs().max() < 1e-15
        assert network.energies(zero, kelvin).abs().max() < 1e-15


def test_any_batch_shape_gives_the_same_energies(network):
    eta = sobol_states(24, seed=6)
    flat = network.energies(eta, 900.0)
    torch.testing.assert_close(
        network.energies(eta.reshape(2, 3, 4, 4), 900.0), flat.reshape(3, 2, 3, 4)
    )
    torch.testing.assert_close(network.energies(eta[5], 900.0), flat[:, 5])


def test_the_energy_has_the_crystals_symmetry(network):
    images = FCC_L12.images(sobol_states(10, seed=4))
    energies = network.energy(images, 800.0)
    torch.testing.assert_close(energies, energies[:1].expand_as(energies), rtol=1e-11, atol=1e-12)


def test_a_temperature_outside_the_range_is_refused(network):
    for kelvin in (699.0, 1501.0, math.nan):
        with pytest.raises(ValueError, match=r"`temperature` must lie in \[700, 1500\]"):
            network.at(kelvin)
        with pytest.raises(ValueError, match=r"`temperature` must lie in \[700, 1500\]"):
            network.energies(torch.zeros(4, dtype=torch.float64), kelvin)


@pytest.mark.parametrize("bad", [(1000.0, 1000.0), (1000.0, 900.0)])
def test_temperatures_that_do_not_rise_are_refused(bad):
    with pytest.raises(ValueError, match="`temperatures` must rise"):
        ThermalNetwork(FCC_L12, bad, SHAPE)


@pytest.mark.parametrize("bad", [(0.0, 900.0), (500.0, math.nan), (500.0, math.inf)])
def test_temperatures_that_are_not_positive_are_refused(bad):
    with pytest.raises(ValueError, match="`temperatures` must be finite and positive"):
        ThermalNetwork(FCC_L12, bad, SHAPE)


def test_in_single_precision_it_follows_double_precision(network):
    eta = sobol_states(20, seed=7, margin=0.02)
    exact = [network.energy(eta, 900.0), network.at(900.0).gradient(eta)]
    network = network.to(torch.float32)
    single = [network.energy(eta.float(), 900.0), network.at(900.0).gradient(eta.float())]
    for found, expected in zip(single, exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5)
