"""The fast ways to a value and its slope give what the slow ones give."""

import pytest
import torch
from references import sobol_states

from idnn.activations import ACTIVATIONS
from idnn.free_energy import IdealMixing
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12

ROUNDING = 1e-13
"""Of sums of some hundred terms of order one."""


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_an_activations_value_and_pull_are_those_of_its_closed_form(activation):
    z = torch.linspace(-45, 45, 1001, dtype=torch.float64)
    g = torch.linspace(-1, 2, 1001, dtype=torch.float64)
    value, slope, _ = activation(z)
    torch.testing.assert_close(activation.value(z), value, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(activation.pull(g, z), g * slope, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_committee_evaluated_at_once_has_its_value_and_gradient(activation):
    settings = NetworkSettings(widths=(6, 5), activation=activation)
    f = IntegrableNetwork(FCC_L12, 1000.0, settings, seeds=range(3)).requires_grad_(False)
    eta = sobol_states(50, seed=1, margin=-0.01)
    value, slope = f.evaluate(eta)
    torch.testing.assert_close(value, f(eta), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(slope, f.gradient(eta), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.1])
def test_ideal_mixing_evaluated_at_once_has_its_value_and_gradient(floor):
    f = IdealMixing(FCC_L12.q, 1000.0, floor)
    eta = sobol_states(50, seed=2, margin=1e-4)
    value, slope = f.evaluate(eta)
    torch.testing.assert_close(value, f(eta), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(slope, f.gradient(eta), rtol=0, atol=ROUNDING)
