"""Fused passes: equal to plain torch, whatever the type, the parts and the threads."""

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from phasefield import fused
from phasefield.expression import Expression

KINDS = [torch.complex128, torch.complex64, torch.float64, torch.float32]


def random(count, dtype, seed):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("count", [1, 2 * fused.PART + 17])
def test_a_combination_is_the_sum_of_its_terms(dtype, count):
    real = torch.empty(0, dtype=dtype).real.dtype
    terms = [(random(count, real, i), (-1.7) ** i, random(count, dtype, 9 + i)) for i in range(4)]
    expected = sum(c * s * x for c, s, x in terms)
    found = fused.combine(terms)
    assert found.dtype == dtype
    tolerance = 1e-13 if real == torch.float64 else 1e-4
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    with ThreadPoolExecutor(3) as workers:
        assert torch.equal(fused.combine(terms, workers), found)


@pytest.mark.parametrize("dtype", KINDS)
def test_a_product_summed_over_modes_is_weighted_and_the_same_with_threads(dtype):
    count = 2 * fused.PART + 5
    x, weight = random(count, dtype, 1), random(count, torch.float64, 2)
    y = random(count, dtype, 3)
    expected = float((weight * (x.conj() * y).real.double()).sum())
    found = fused.dot(weight, x, y)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    with ThreadPoolExecutor(3) as workers:
        assert torch.equal(fused.dot(weight, x, y, workers), found)


def test_the_largest_entry_is_found_and_nan_is_not_lost():
    x = random(fused.PART + 9, torch.float64, 4)
    x[-1] = -9.0
    assert float(fused.largest(x)) == 9.0
    x[3] = math.nan
    assert math.isnan(float(fused.largest(x)))
    x[3] = math.inf
    assert math.isnan(float(fused.largest(x)))


def test_without_numba_torch_gives_the_same_numbers(monkeypatch):
    x, y = (random(70_000, torch.complex128, i) for i in (1, 2))
    c = random(70_000, torch.float64, 3)
    terms = [(c, 2.0, x), (c, -0.5, y)]
    compiled = fused.combine(terms), fused.dot(c, x, y), fused.largest(c)
    monkeypatch.setattr(fused, "kernels", None)
    plain = fused.combine(terms), fused.dot(c, x, y), fused.largest(c)
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("others", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_matrices_are_mixed_in_every_cell(others, dtype, monkeypatch):
    count = fused.PART + 7
    matrices = [random((6, 6), torch.float64, i) for i in range(1 + others)]
    weights = [random(count, dtype, 5 + i) for i in range(others)]
    x = random((6, count), dtype, 8)
    whole = matrices[0][..., None].expand(6, 6, count)
    for weight, matrix in zip(weights, matrices[1:], strict=True):
        whole = whole + weight * matrix[..., None]
    expected = torch.einsum("ijc,jc->ic", whole.to(dtype), x)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-4
    found = fused.mixed(matrices, weights, x)
    with ThreadPoolExecutor(3) as workers:
        assert torch.equal(fused.mixed(matrices, weights, x, workers), found)
    monkeypatch.setattr(fused, "kernels", None)
    for each in (found, fused.mixed(matrices, weights, x)):
        torch.testing.assert_close(each, expected, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("shape", [(64, 32), (7, 9)])
def test_a_sweep_scales_fields_and_gives_forces_and_sums(shape):
    f = Expression("3*a + a**2*b + log(2 + b)", ("a", "b"))
    u, s = (
        random(2 * math.prod(shape), torch.float64, 5).tanh().view(2, *shape),
        torch.tensor([0.5, 2.0], dtype=torch.float64),
    )
    before = u.clone()
    force, total, size = fused.sweep(f.point, u, s, 0.25)
    value, slope = f.evaluate(0.25 * u.movedim(0, -1))
    expected = slope.movedim(-1, 0) - s[:, None, None] * 0.25 * u
    torch.testing.assert_close(force, expected, rtol=0, atol=1e-14)
    assert float(total) == pytest.approx(float(value.sum()), abs=1e-11)
    assert float(size) == pytest.approx(float(value.abs().sum()), abs=1e-11)
    assert torch.equal(u, before)
