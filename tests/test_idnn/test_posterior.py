"""What data leave open: against sampled posteriors, finite differences and closed forms."""

import pytest
import torch
from learning import learn, parameters_of
from references import DupinNickelAluminium, measured, sobol_states

from idnn import posterior
from idnn.barriers import barrier, committee_barrier
from idnn.equilibrium import committee_tie_line, tie_lines
from idnn.free_energy import hessian
from idnn.levenberg import LevenbergMarquardt
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12

T = 1273.0
STEP = 1e-5


@pytest.fixture(scope="module")
def learned():
    """One network that holds the assessed tie-line, its tie-line and that line's barrier."""
    network = IntegrableNetwork(FCC_L12, T, NetworkSettings(widths=(6, 6)), seeds=(1,))
    data = measured(DupinNickelAluminium(T), 300, seed=1, sigma=5e-3, noise=5e-3)
    learn(network, data, LevenbergMarquardt(iterations=60))
    line = next(
        t
        for t in tie_lines(network, FCC_L12, composition=(0.0, 0.35))
        if t.phases == ("A1", "L1_2")
    )
    return network, data, line, barrier(network, FCC_L12, line.left, line.right)


def nudged(network, direction, step):
    """Two members whose parameters differ from the network's by ± a step."""
    both = IntegrableNetwork.gather([network], [0, 0])
    first = 0
    for p in both.parameters():
        part = direction[first : first + p[0].numel()].reshape(p.shape[1:])
        p.data = p.data + step * torch.stack([part, -part])
        first += part.numel()
    return both.requires_grad_(False)


def directions(network, count):
    size = sum(p.numel() for p in network.parameters())
    generator = torch.Generator().manual_seed(4)
    return torch.randn(count, size, generator=generator, dtype=torch.float64)


def test_sensitivities_are_the_derivatives_by_the_parameters(learned):
    network = learned[0]
    eta = sobol_states(7, seed=5)
    value = posterior.value_sensitivity(network, eta)
    slope = posterior.gradient_sensitivity(network, eta, FCC_L12.directions)
    for v in directions(network, 3):
        both = nudged(network, v, STEP)
        f, mu = both.values(eta), both.gradients(eta) @ FCC_L12.directions
        torch.testing.assert_close(value @ v, (f[0] - f[1]) / (2 * STEP), rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(slope @ v, (mu[0] - mu[1]) / (2 * STEP), rtol=1e-6, atol=1e-7)


def test_a_tie_line_and_its_barrier_move_as_their_sensitivities_say(learned):
    network, _, line, over = learned
    curvature = hessian(network, torch.stack([line.left.eta, line.right.eta])).detach()
    ends = posterior.tie_line_sensitivity(network, line, curvature)
    height = posterior.barrier_sensitivity(network, line, over)
    for v in directions(network, 4):
        v = v / float((ends @ v).abs().max()) * 0.02  # so that ends move by 2e-2 × step
        both = nudged(network, v, 1e-3)
        moved = committee_tie_line(both, line).numbers()
        torch.testing.assert_close((moved[0] - moved[1]) / 2e-3, ends @ v, rtol=2e-3, atol=1e-5)
        heights = committee_barrier(both, line, over).numbers()[:, 0]
        found = float((heights[0] - heights[1]) / 2e-3)
        assert found == pytest.approx(float(height @ v), rel=2e-3, abs=1e-6)


def test_the_covariance_is_that_of_a_linear_model(learned):
    """Of a model that is linear in its parameters: (JᵀJ + α)⁻¹ by its definition."""
    network, data, *_ = learned
    precision = torch.linspace(0.5, 2.0, len(directions(network, 1)[0])).double()
    jacobian = posterior.gradient_sensitivity(network, data.eta) / data.sigma[..., None]
    expected = torch.diag(precision) + torch.einsum("ndp,ndq->pq", jacobian, jacobian)
    found = posterior.covariance(network, data, precision)
    torch.testing.assert_close(
        found @ expected, torch.eye(len(precision)).double(), rtol=0, atol=1e-6
    )
    # Data in two parts tell the same.
    parts = posterior.covariance(network, [data[:100], data[100:]], precision)
    torch.testing.assert_close(parts, found)


def test_the_prior_of_a_group_is_told_by_its_members_as_samples():
    network = IntegrableNetwork(FCC_L12, T, NetworkSettings(widths=(5, 4)), seeds=range(3))
    parameters = parameters_of(network)
    found = posterior.precision_of(network)
    first = parameters["weights.0"].square().mean((0, 2))  # an input has a group of its own
    rest = torch.cat(
        [
            p.square().mean().expand(p[0].numel())
            for name, p in parameters.items()
            if name != "weights.0"
        ]
    )
    expected = 1 / torch.cat([first.repeat_interleave(5), rest])
    torch.testing.assert_close(found, expected)
