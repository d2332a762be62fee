"""Residuals: zero on the network's own data, and derivatives that automatic differentiation has."""

from dataclasses import replace

import pytest
import torch
from learning import parameters_of
from references import sobol_states

from idnn.data import Derivatives, Energies, Hessians, Values
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import BCC_D03, FCC_L12
from idnn.polytope import Polytope
from idnn.residuals import blocks, by_autodiff
from idnn.thermal import ThermalNetwork

T = 1000.0
KELVIN = (700.0, 1500.0)
SHAPE = NetworkSettings(widths=(6, 5))
KINDS = ["derivatives", "along directions", "hessians", "values", "energies"]


def network(system=FCC_L12, *, thermal=False, members=2):
    if thermal:
        made = ThermalNetwork(system, KELVIN, SHAPE, seeds=range(members))
    else:
        made = IntegrableNetwork(system, T, SHAPE, seeds=range(members))
    return made.requires_grad_(False)


def draw(*shape, seed=1):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def temperatures(count):
    return 700 + 800 * draw(count, seed=8)


def own(model, kind, count=12, member=0):
    """What a member says of itself, with errors between 1 and 2 meV; its own data."""
    eta = sobol_states(count, seed=3, margin=0.0)
    if isinstance(model, ThermalNetwork):
        each = [_single(model.at(float(t)), kind, e[None], member) for t, e in _pairs(count, eta)]
        if kind == "energies":
            each = [model.energies(e[None], float(t))[member] for t, e in _pairs(count, eta)]
        kelvin, value = temperatures(count), torch.cat(each)
    else:
        kelvin, value = None, _single(model, kind, eta, member)
    sigma = 1e-3 * (1 + draw(*value.shape, seed=4))
    if kind == "derivatives":
        return Derivatives(eta, value, sigma, None, kelvin)
    if kind == "along directions":
        directions = draw(4, 4, seed=5) - 0.5
        return Derivatives(eta, value, sigma, directions / directions.norm(dim=0), kelvin)
    if kind == "hessians":
        return Hessians(eta, value, (sigma + sigma.mT) / 2, kelvin)
    return (Values if kind == "values" else Energies)(eta, value, sigma, kelvin)


def _pairs(count, eta):
    return zip(temperatures(count), eta, strict=True)


def _single(f, kind, eta, member):
    if kind in ("derivatives", "along directions"):
        return f.gradients(eta)[member]
    if kind == "hessians":
        h = f.hessians(eta)[member]
        return (h + h.mT) / 2
    return f.values(eta)[member]


def cases():
    return [(k, t) for k in KINDS for t in (False, True) if t or k != "energies"]


@pytest.mark.parametrize(("kind", "thermal"), cases())
def test_a_networks_own_data_leave_no_residual(kind, thermal):
    model = network(thermal=thermal)
    (block,) = blocks(model, own(model, kind, member=1))
    mine, theirs = block.residual(parameters_of(model), block.rows)[[1, 0]]
    # σ is 1 meV of Hessians of up to kT/floor = 86 eV: rounding of 1e-14 eV is 1e-11 σ.
    assert mine.abs().max() < 1e-9
    assert theirs.abs().median() > 1


@pytest.mark.parametrize(("kind", "thermal"), cases())
def test_derivatives_by_the_parameters_are_those_of_automatic_differentiation(kind, thermal):
    model = network(thermal=thermal)
    (block,) = blocks(model, own(model, kind))
    parameters = parameters_of(model)

    def alone(member, row):
        one_row = {name: tensor[None] for name, tensor in row.items()}
        one_member = {name: p[None] for name, p in member.items()}
        return block.residual(one_member, one_row)[0, 0]

    value, jacobian = block.linearised(parameters, block.rows)
    same = by_autodiff(alone, block.rows, block.components)
    torch.testing.assert_close(value, block.residual(parameters, block.rows))
    torch.testing.assert_close(value, same.residual(parameters, block.rows), rtol=1e-11, atol=1e-9)
    expected = same.linearised(parameters, block.rows)[1]
    assert jacobian.shape == (2, len(block), block.components, expected.shape[-1])
    # Entries up to kT/σ = 1e2 times products of weights.
    torch.testing.assert_close(jacobian, expected, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize(("kind", "thermal"), cases())
def test_a_residual_changes_along_a_step_as_its_derivative_says(kind, thermal):
    model = network(thermal=thermal)
    (block,) = blocks(model, own(model, kind))
    here = parameters_of(model)
    step = {name: draw(*p.shape, seed=i) - 0.5 for i, (name, p) in enumerate(here.items())}
    ends = [
        block.residual({n: p + h * step[n] for n, p in here.items()}, block.rows)
        for h in (1e-5, -1e-5)
    ]
    along = torch.cat([s.flatten(1) for s in step.values()], 1)
    expected = torch.einsum("mrcp,mp->mrc", block.linearised(here, block.rows)[1], along)
    # Central differences: h² times third derivatives, 1e-10 of entries up to 1e3 and more.
    scale = float(expected.abs().max())
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-5, expected, rtol=1e-6, atol=1e-7 * scale)


def test_a_residual_is_what_is_missed_in_units_of_sigma():
    model = network()
    eta = sobol_states(9, seed=1)
    off, sigma = draw(9, 4, seed=2), 1e-3 * (1 + draw(9, 4, seed=3))
    data = Derivatives(eta, model.gradients(eta)[0] + off, sigma)
    (block,) = blocks(model, data)
    found = block.residual(parameters_of(model), block.rows)[0]
    torch.testing.assert_close(found, -off / sigma, rtol=1e-9, atol=1e-9)


def test_a_symmetric_matrix_counts_every_component_once():
    """Σr² of a Hessian is the sum over i ≤ j of the squared deviations."""
    model = network()
    data = own(model, "hessians")
    off = draw(12, 4, 4, seed=2)
    off = off + off.mT
    (block,) = blocks(model, Hessians(data.eta, data.hessian + off, data.sigma))
    r = block.residual(parameters_of(model), block.rows)[0]
    upper = torch.triu(torch.ones(4, 4, dtype=torch.float64))
    expected = (upper * (off / data.sigma).square()).sum()
    assert float(r.square().sum()) == pytest.approx(float(expected), rel=1e-9)


def test_other_crystals_have_residuals_too():
    model = network(BCC_D03)
    eta = BCC_D03.order_parameters(0.1 + 0.8 * draw(8, 4))
    data = Derivatives(eta, model.gradients(eta)[0], torch.full_like(eta, 1e-3))
    (block,) = blocks(model, data)
    assert block.residual(parameters_of(model), block.rows)[0].abs().max() < 1e-9


def test_a_domain_of_the_users_own_is_the_one_that_counts():
    """Of one that ends at a composition of 0.4."""
    half = Polytope(torch.tensor([[1.0, 0, 0, 0]]).double(), torch.tensor([0.4]).double())
    model = network(replace(FCC_L12, domain=half, supplied=FCC_L12.invariants))
    eta = torch.tensor([[0.39, 0.5, 0, 0], [0.4 + 1e-9, 0, 0, 0]], dtype=torch.float64)
    assert len(blocks(model, Derivatives(eta, eta, torch.ones_like(eta)))) == 1
    outside = Derivatives(eta + torch.tensor([0.005, 0, 0, 0]), eta, torch.ones_like(eta))
    with pytest.raises(ValueError, match=r"`A eta - b of the domain` must lie in .*: 1 of 2"):
        blocks(model, outside)


def test_several_kinds_make_several_blocks_and_empty_ones_none():
    model = network(thermal=True)
    data = [own(model, kind) for kind in KINDS]
    data.insert(2, own(model, "values").__class__(*[x[:0] for x in _columns(data[3])]))
    assert [b.components for b in blocks(model, data)] == [4, 4, 16, 1, 1]
    assert [len(b) for b in blocks(model, data)] == [12] * 5


def _columns(values):
    return values.eta, values.value, values.sigma, values.temperature


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(ValueError, match="`data` must hold at least one point"):
        blocks(network(), [])


def test_energies_need_a_range_of_temperatures():
    eta = sobol_states(3, seed=1)
    data = Energies(eta, eta[:, 0], eta[:, 0].abs() + 1, torch.full((3,), T).double())
    with pytest.raises(ValueError, match="energies only for a network of a range of temperatures"):
        blocks(network(), data)


def test_a_temperature_must_be_given_and_be_the_networks():
    eta = sobol_states(3, seed=1)
    one = torch.ones_like(eta)
    with pytest.raises(ValueError, match="`temperature` must be given with every point"):
        blocks(network(thermal=True), Derivatives(eta, one, one))
    elsewhere = Derivatives(eta, one, one, None, torch.full((3,), 900.0).double())
    with pytest.raises(ValueError, match=r"`temperature` must be the network's, 1000 K; it is \[9"):
        blocks(network(), elsewhere)
    outside = Derivatives(eta, one, one, None, torch.full((3,), 100.0).double())
    with pytest.raises(ValueError, match=r"`temperature` must lie in \[700, 1500\]"):
        blocks(network(thermal=True), outside)
