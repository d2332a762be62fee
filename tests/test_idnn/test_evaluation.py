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
def test_an_activation_in_buffers_is_its_closed_form(activation):
    z = torch.linspace(-45, 45, 1001, dtype=torch.float64)
    w = activation.inside * z
    exact = activation(z)[:2]
    for first in (w, torch.empty_like(w)):
        value, slope, _ = activation.first(w, (first, torch.empty_like(w), torch.empty_like(w)))
        scaled = activation.outside * value, activation.outside * activation.inside * slope
        torch.testing.assert_close(scaled, exact, rtol=ROUNDING, atol=ROUNDING)
        w = activation.inside * z


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_that_an_evaluation_makes_is_where_the_states_are(dtype):
    """On the device without memory, anything made elsewhere is an error."""
    settings = NetworkSettings(widths=(6, 5, 4))
    f = IntegrableNetwork(FCC_L12, 1000.0, settings, seeds=range(3)).to("meta", dtype)
    f.requires_grad_(False)
    eta = torch.empty(5, 7, 4, dtype=dtype, device="meta")
    for each in (f(eta), f.gradient(eta), f.hessian(eta), *f.evaluate(eta)):
        assert each.device.type == "meta"
        assert each.dtype == dtype
    assert f.evaluate(eta)[1].shape == eta.shape
