"""Time of f and ∂f/∂η per point: the closed form, autograd of the same network, a polynomial.

    python examples/benchmarks/evaluation.py

The last line printed is one JSON object: ns per point on one thread of the CPU and, where torch
sees one, on the GPU; medians of some repetitions, the least and the greatest, all ways in turn.
"""

import json
import time
from collections.abc import Callable
from itertools import product
from statistics import median
from typing import Any

import torch
from jaxtyping import Float
from states import sobol_states
from torch import Tensor, nn

from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.polynomials import Polynomials, derivative, monomials
from idnn.units import BOLTZMANN_EV

KELVIN, WIDTHS, POINTS, REPEATS, DEGREE = 1273.0, (32, 32), 1_000_000, 3, 6
GPU_POINTS, GPU_REPEATS, GPU_AT_ONCE = (1_000_000, 10_000_000), 7, 1 << 20

Evaluate = Callable[[Float[Tensor, "sample d"]], tuple[Tensor, Tensor]]
"""η → f, ∂f/∂η."""

CHUNK = 4096
"""Points whose hidden layers stay in the cache, of autograd and of the polynomial."""


class Squareplus(nn.Module):
    """As anyone would write it."""

    def forward(self, z: Tensor) -> Tensor:
        return (z + torch.sqrt(z**2 + 4)) / 2


MODULES: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "squareplus": Squareplus}


def by_autograd(network: IntegrableNetwork) -> Evaluate:
    """The same function as a user would write it: torch's own layers, and autograd for ∂f/∂η."""
    (first, second, last), biases = network.weights, network.biases
    layers: list[nn.Module] = []
    for weight, bias in zip((first, second), biases, strict=True):
        linear = nn.Linear(*weight.shape[1:]).to(weight)
        linear.load_state_dict({"weight": weight[0].mT, "bias": bias[0]})
        layers += [linear, MODULES[network.settings.activation]()]
    out = nn.Linear(last.shape[1], 1, bias=False).to(last)
    out.load_state_dict({"weight": last[0].mT})
    potential = nn.Sequential(*layers, out).requires_grad_(False)
    kt = BOLTZMANN_EV * network.temperature

    def evaluate(eta: Tensor) -> tuple[Tensor, Tensor]:
        x = eta.detach().requires_grad_()
        h = FCC_L12.invariants(torch.cat([x, x.new_zeros(1, x.shape[1])]))
        pure = network.reference(torch.zeros_like(eta[:1]))
        g = potential(h)[:, 0]
        f = network.reference(x) + kt * (g[:-1] - g[-1]) - pure
        (slope,) = torch.autograd.grad(f.sum(), x)
        return f.detach(), slope

    return evaluate


def by_polynomial(network: IntegrableNetwork) -> Evaluate:
    """Every term of the invariants up to total degree 6, powers shared, instead of the network."""
    generator = torch.Generator().manual_seed(0)
    count = FCC_L12.invariants.count
    terms = [e for degree in range(DEGREE + 1) for e in monomials(count, degree)]
    numbers = torch.randn(len(terms), generator=generator).tolist()
    polynomial = dict(zip(terms, numbers, strict=True))
    # One plan for the value and the slopes, so that all share their powers.
    every = Polynomials.of([polynomial, *(derivative(polynomial, k) for k in range(count))])
    kt = BOLTZMANN_EV * network.temperature

    def evaluate(eta: Tensor) -> tuple[Tensor, Tensor]:
        found = every(FCC_L12.invariants(eta))
        slope = torch.einsum("nk,nkd->nd", found[:, 1:], FCC_L12.invariants.jacobian(eta))
        reference = network.reference
        return (
            reference(eta) + kt * (found[:, 0] - numbers[0]),
            reference.gradient(eta) + kt * slope,
        )

    return evaluate


def in_chunks(evaluate: Evaluate, size: int = CHUNK) -> Evaluate:
    """The same in chunks."""

    def chunked(eta: Tensor) -> tuple[Tensor, Tensor]:
        parts = [evaluate(part) for part in eta.split(size)]
        f, mu = zip(*parts, strict=True)
        return torch.cat(f), torch.cat(mu)

    return chunked


def evaluation() -> dict[str, Any]:
    """2 × 32 units, one member: on one thread of the CPU and on the GPU that there is."""
    report: dict[str, Any] = {}
    eta = sobol_states(POINTS, seed=5)
    for activation, dtype in product(MODULES, (torch.float64, torch.float32)):
        network = of(activation, dtype)
        autograd, polynomial = by_autograd(network), by_polynomial(network)
        ways: dict[str, Evaluate] = {
            "closed form": network.evaluate,
            "autograd": autograd,
            "autograd, chunked": in_chunks(autograd),
            "polynomial, chunked": in_chunks(polynomial),
        }
        points = eta.to(dtype)
        difference = network.evaluate(points[:4096])[1] - autograd(points[:4096])[1]
        name = f"{activation} {str(dtype).removeprefix('torch.')}"
        report[name] = timed(ways, points) | {"largest_difference": float(difference.abs().max())}
        print(f"{name}: {report[name]}", flush=True)
    if torch.cuda.is_available():
        report[f"gpu {torch.cuda.get_device_name()}"] = on_gpu()
    return report


def on_gpu() -> dict[str, Any]:
    """Wall time until the GPU is done."""
    report: dict[str, Any] = {"torch": torch.__version__}
    eta = sobol_states(max(GPU_POINTS), seed=5).to("cuda")
    for activation, dtype, count in product(MODULES, (torch.float64, torch.float32), GPU_POINTS):
        network = of(activation, dtype).to("cuda")
        autograd, polynomial = by_autograd(network), by_polynomial(network)
        ways: dict[str, Evaluate] = {
            "closed form": network.evaluate,
            "autograd": autograd,
            "autograd, chunked": in_chunks(autograd, GPU_AT_ONCE),
            "polynomial, chunked": in_chunks(polynomial, GPU_AT_ONCE),
        }
        points = eta[:count].to(dtype)
        difference = network.evaluate(points[:4096])[1] - autograd(points[:4096])[1]
        name = f"{activation} {str(dtype).removeprefix('torch.')} {count}"
        report[name] = timed(ways, points, gpu_seconds, GPU_REPEATS) | {
            "largest_difference": float(difference.abs().max()),
            "gb_beside_results": round(held(network.evaluate, points) / 1e9, 3),
        }
        print(f"gpu, {name}: {report[name]}", flush=True)
    return report


def of(activation: str, dtype: torch.dtype) -> IntegrableNetwork:
    """The network."""
    settings = NetworkSettings(widths=WIDTHS, activation=activation)
    return IntegrableNetwork(FCC_L12, KELVIN, settings).requires_grad_(False).to(dtype)


def gpu_seconds() -> float:
    """When all that was asked of the GPU is done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def held(evaluate: Evaluate, points: Tensor) -> int:
    """The most bytes of the GPU that were in use besides the points and the results."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results = evaluate(points)
    return torch.cuda.max_memory_allocated() - before - sum(each.nbytes for each in results)


def timed(
    ways: dict[str, Evaluate],
    points: Tensor,
    clock: Callable[[], float] = time.process_time,
    repeats: int = REPEATS,
) -> dict[str, Any]:
    """ns per point, and how much longer each takes than the first: medians, least and greatest."""
    for evaluate in ways.values():
        evaluate(points if points.is_cuda else points[:50_000])
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, evaluate in ways.items():
            begin = clock()
            evaluate(points)
            spent[name].append((clock() - begin) / len(points) * 1e9)
    first = next(iter(spent.values()))
    ratios = {
        name: [a / b for a, b in zip(each, first, strict=True)] for name, each in spent.items()
    }
    return {
        quantity: {
            name: [float(f"{x:.4g}") for x in (median(v), min(v), max(v))]
            for name, v in numbers.items()
        }
        for quantity, numbers in (("ns_per_point", spent), ("times_closed_form", ratios))
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(evaluation()))
