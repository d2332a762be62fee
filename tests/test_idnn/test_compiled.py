"""Compiled passes: elementary functions to rounding, networks equal to torch's, cell by cell."""

import math

import numba
import numpy as np
import pytest
import scipy.special
import torch

from idnn import network, vectors
from idnn.activations import ACTIVATIONS
from idnn.compiled import compiled_network
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_B2, BCC_D03, FCC_L12
from idnn.vectors import BLOCK

ROUNDING = 2e-14
"""Of the activations; a network's sums are as good."""


def by_element(function, outputs):
    """The function of every entry of an array, in a loop that LLVM makes wide."""

    @numba.njit
    def one(x):
        found = np.empty((1, len(x)))
        for i in range(len(x)):
            found[0, i] = function(x[i])
        return found

    @numba.njit
    def two(x):
        found = np.empty((2, len(x)))
        for i in range(len(x)):
            found[0, i], found[1, i] = function(x[i])
        return found

    return one if outputs == 1 else two


def network_of(system, *, seeds=2, floor=1e-3, widths=(6, 5), activation="gelu"):
    settings = NetworkSettings(widths=widths, activation=activation, floor=floor)
    return IntegrableNetwork(system, 900.0, settings, seeds=range(seeds)).requires_grad_(False)


def states(system, count, seed=0):
    """η of sublattice fractions of which some lie below the floor and outside [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    sites = system.q.shape[1]
    x = 1.02 * torch.rand(count, sites, generator=generator, dtype=torch.float64) - 0.01
    return x @ system.q.double().T


def test_decay_and_log_are_those_of_numpy():
    x = np.linspace(-708, 708, 20_001)
    (found,) = by_element(vectors.decay, 1)(x)
    np.testing.assert_allclose(found, np.exp(-x), rtol=1e-13)
    x = np.concatenate([np.geomspace(2.3e-308, 1.7e308, 20_001), np.linspace(0.5, 2, 1001)])
    (found,) = by_element(vectors.log, 1)(x)
    np.testing.assert_allclose(found, np.log(x), rtol=4e-16, atol=1e-16)


def test_the_interpolant_of_erfc_is_good_to_its_end():
    x = np.linspace(-9, 9, 40_001)
    value, slope = by_element(vectors.gelu, 2)(x)
    rise = scipy.special.erfc(-x)
    np.testing.assert_allclose(value, x * rise, rtol=0, atol=ROUNDING)
    exact = rise + 2 / math.sqrt(math.pi) * x * np.exp(-(x**2))
    np.testing.assert_allclose(slope, exact, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_those_of_torch(name):
    w = torch.cat([torch.linspace(-40, 40, 10_001), torch.tensor([-2e3, 2e3])]).double()
    value, slope, _ = ACTIVATIONS[name].first(w, (None, None, None))
    found = by_element(getattr(vectors, name), 2)(w.numpy())
    scale = 1 + w.abs()
    assert float(((torch.from_numpy(found[0]) - value).abs() / scale).max()) < ROUNDING
    assert float((torch.from_numpy(found[1]) - slope).abs().max()) < ROUNDING


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_is_not_a_number_stays_so(name):
    x = np.array([math.nan, 0.3])
    found = by_element(getattr(vectors, name), 2)(x)
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


@pytest.mark.parametrize("n_in", [1, 4, 7])
@pytest.mark.parametrize("n_out", [4, 12])
def test_dense_is_a_matrix_product(n_in, n_out):
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=n_out * n_in), rng.normal(size=n_out)
    inputs, outputs = rng.normal(size=(n_in, BLOCK)), np.empty((n_out, BLOCK))

    @numba.njit
    def call(weight, bias, inputs, outputs):
        vectors.dense(weight, bias, inputs, outputs, inputs.shape[0], outputs.shape[0])

    call(weight, bias, inputs, outputs)
    expected = weight.reshape(n_out, n_in) @ inputs + bias[:, None]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("system", [FCC_L12, BCC_B2, BCC_D03], ids=lambda s: s.name)
@pytest.mark.parametrize(
    ("widths", "seeds"), [((7,), 3), ((6, 5), 3), ((4, 9, 3), 3), ((5,), 1)]
)  # the last one has fewer units than there are invariants
def test_a_pass_gives_value_and_gradient_of_the_committee(system, widths, seeds):
    f = network_of(system, seeds=seeds, widths=widths)
    eta = states(system, 3 * BLOCK + 5)
    value, slope = compiled_network(f).evaluate(eta.T.contiguous().numpy())
    torch.testing.assert_close(torch.from_numpy(value), f(eta), rtol=0, atol=ROUNDING)
    with torch.enable_grad():
        point = eta.clone().requires_grad_()
        expected = torch.autograd.grad(f(point).sum(), point)[0]
    torch.testing.assert_close(torch.from_numpy(slope).T, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_pass_knows_every_activation(name):
    f = network_of(FCC_L12, activation=name)
    eta = states(FCC_L12, 70)
    value, slope = compiled_network(f).evaluate(eta.T.contiguous().numpy())
    torch.testing.assert_close(torch.from_numpy(value), f(eta), rtol=0, atol=ROUNDING)
    with torch.enable_grad():
        expected = f.gradient(eta)
    torch.testing.assert_close(torch.from_numpy(slope).T, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sweep_changes_its_cells_alone_and_sums_them(dtype):
    f = network_of(FCC_L12)
    u = states(FCC_L12, 300).T.contiguous().numpy().astype(dtype)
    s, start, stop = np.array([0.3, 1.0, 1.0, 1.0]), 17, 17 + 2 * BLOCK + 9
    before = u.copy()
    value, slope = compiled_network(f).evaluate(before.astype(np.float64))
    total, size = compiled_network(f).sweep(u, s, start, stop)
    inside = slice(start, stop)
    assert total == pytest.approx(value[inside].sum(), rel=1e-12)
    assert size == pytest.approx(abs(value[inside]).sum(), rel=1e-12)
    expected = slope - s[:, None] * before
    tolerance = 1e-13 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(u[:, inside], expected[:, inside], rtol=0, atol=tolerance)
    assert np.array_equal(np.delete(u, np.r_[inside], 1), np.delete(before, np.r_[inside], 1))


def test_a_cell_that_is_not_a_number_spoils_no_other():
    f = network_of(FCC_L12)
    eta = states(FCC_L12, BLOCK).T.contiguous().numpy()
    good = compiled_network(f).evaluate(eta)[1]
    eta[:, 5] = math.nan
    found = compiled_network(f).evaluate(eta)[1]
    assert np.isnan(found[:, 5]).all()
    assert np.array_equal(np.delete(found, 5, 1), np.delete(good, 5, 1))


def test_many_rows_are_evaluated_alike_by_any_number_of_threads_and_without_numba(monkeypatch):
    f = network_of(FCC_L12)
    eta = states(FCC_L12, network.ROWS_TO_COMPILE + 3).reshape(-1, 1, 4)
    found = f.evaluate(eta)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for one, other in zip(found, f.evaluate(eta), strict=True):
        assert torch.equal(one, other)
    monkeypatch.setattr(network, "_can_compile", lambda: False)
    assert f.kernel is None
    for one, other in zip(found, f.evaluate(eta), strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_without_a_floor_there_is_no_compiled_pass():
    f = network_of(FCC_L12, floor=0.0)
    assert f.kernel is None
    with pytest.raises(ValueError, match=r"`floor` must be positive .* it is 0\."):
        compiled_network(f)
