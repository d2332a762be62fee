"""Networks on a GPU: evaluated as on the CPU, in bounded memory, and trained there."""

import pytest
import torch

import idnn.layers
import idnn.network
from idnn.data import Derivatives, Hessians, Values
from idnn.levenberg import LevenbergMarquardt, least_squares, posterior_samples
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.residuals import blocks

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own
]


def states(count, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 4, generator=generator, dtype=torch.float64)
    return FCC_L12.order_parameters(-0.01 + 1.02 * x)


def network(members=1, widths=(32, 32), activation="gelu"):
    settings = NetworkSettings(widths=widths, activation=activation)
    f = IntegrableNetwork(FCC_L12, 1273.0, settings, seeds=range(members))
    return f.requires_grad_(False)


@pytest.fixture(autouse=True)
def _exact_products():
    """Products of float32 in float32, not in its 10-bit relative."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = allowed


@pytest.mark.parametrize("activation", idnn.network.ACTIVATIONS)
@pytest.mark.parametrize("members", [1, 3])
def test_a_gpu_gives_the_values_and_gradients_of_the_cpu(activation, members):
    f, eta = network(members, activation=activation), states(3000)
    exact = f.evaluate(eta)
    f, there = f.to("cuda"), eta.to("cuda")
    for found, expected in zip(f.evaluate(there), exact, strict=True):
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-13)
    torch.testing.assert_close(f(there).cpu(), exact[0], rtol=0, atol=1e-13)
    f, there = f.float(), there.float()
    # η rounds at 6e-8, and ∂f/∂η has slopes of kT/x, 100 eV at the floor of 0.001.
    for found, expected in zip(f.evaluate(there), exact, strict=True):
        error = (found.cpu().double() - expected).abs().max() / expected.abs().max()
        assert error < 1e-5


def test_parts_do_not_change_what_a_gpu_finds(monkeypatch):
    f, eta = network(2).to("cuda"), states(1000).to("cuda")
    whole = f.evaluate(eta)
    monkeypatch.setattr(idnn.network, "ROWS_AT_ONCE_ELSEWHERE", 300)
    monkeypatch.setattr(idnn.layers, "NUMBERS_AT_ONCE_ELSEWHERE", 64 * 70)
    for found, expected in zip(f.evaluate(eta), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ten_million_states_need_hardly_more_memory_than_five(dtype):
    """Results aside, which grow."""
    f, peaks = network().to("cuda", dtype), []
    for count in (5_000_000, 10_000_000):
        eta = torch.full((count, 4), 0.1, dtype=dtype, device="cuda")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        results = f.evaluate(eta)
        kept = sum(each.nbytes for each in results)
        peaks.append(torch.cuda.max_memory_allocated() - before - kept)
        del eta, results
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 4e9


def test_copies_of_a_network_stay_on_the_gpu():
    f, eta = network(3).to("cuda"), states(5).to("cuda")
    for copy in (f.member(1), f.with_floor(0.01)):
        assert all(p.is_cuda for p in copy.parameters())
        assert copy.evaluate(eta)[0].is_cuda


def test_a_gpu_trains_to_what_the_cpu_trains_to():
    settings = LevenbergMarquardt(iterations=12)
    teacher = network(widths=(5,))
    eta = states(80).clamp(-0.2, 0.8)
    eta = FCC_L12.order_parameters(FCC_L12.site_fractions(eta).clamp(0.01, 0.99))
    mu, f = teacher.gradient(eta), teacher(eta)
    bent = teacher.hessian(eta[:10])
    found = []
    for device in ("cpu", "cuda"):
        x = eta.to(device)
        data = [
            Derivatives(x, mu.to(x), torch.full_like(x, 1e-3)),
            Values(x, f.to(x), torch.full_like(x[:, 0], 1e-3)),
            Hessians(x[:10], bent.to(x), torch.full_like(bent.to(x), 0.1)),
        ]
        pupil = network(2, widths=(4,)).to(device)
        start = {name: p.detach() for name, p in pupil.named_parameters()}
        targets = blocks(pupil, data)
        fit = least_squares(start, targets, settings, linear="weights.1")
        noise = [
            torch.zeros(2, len(b), b.components, dtype=x.dtype, device=device) for b in targets
        ]
        again = posterior_samples(
            fit, targets, settings, data_noise=noise, prior_noise=torch.zeros_like(fit.precision)
        )
        assert all(p.device.type == device for p in again.parameters.values())
        found.append(fit.objective.cpu())
    # Rounding grows along the way, where steps are barely taken or not.
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-6)
