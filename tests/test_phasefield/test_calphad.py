"""The free energy read from a CALPHAD database is pycalphad's, on four sublattices."""

import warnings
from itertools import product

import numpy as np
import pycalphad
import pytest
import torch
from numpy.polynomial import Polynomial
from pycalphad import variables as v
from references import MOLAR_GAS_CONSTANT, DupinNickelAluminium, sobol_states

from idnn.equilibrium import tie_lines
from idnn.free_energy import FreeEnergy, IdealMixing, WithGradient, chemical_potential
from idnn.order_parameters import FCC_L12
from idnn.units import BOLTZMANN_EV, EV_PER_SITE_IN_J_PER_MOL
from phasefield.calphad import OrderedFcc, default_database
from phasefield.database import Parameters

TEMPERATURES = (300.0, 600.0, 640.0, 800.0, 973.0, 1000.0, 1273.0, 1473.0)
"""Magnetic up to 633 K and beyond it."""

ENDS = {
    600.0: (0.083480, 0.249091),
    973.0: (0.121808, 0.238330),
    1000.0: (0.124644, 0.237162),
    1073.0: (0.132495, 0.234148),
    1173.0: (0.143820, 0.230822),
    1273.0: (0.156015, 0.228909),
    1373.0: (0.169302, 0.228759),
    1473.0: (0.183921, 0.230730),
}
"""x_Al of γ and γ′ from `pycalphad.equilibrium` 0.11.2 on the same database, FCC_L12 alone."""


@pytest.fixture(scope="module")
def fcc():
    return OrderedFcc.from_database(default_database(), ("NI", "AL"))


@pytest.fixture(scope="module")
def theirs():
    """pycalphad's G − G(elements) of (a, a, a, b), J/mol, and its arguments (a, b, T)."""
    database = pycalphad.Database(str(default_database()))
    with pytest.MonkeyPatch.context() as patch:
        # pycalphad rounds R to 8.3145; the difference, 4e-6 of it, is not what is tested.
        patch.setattr(v, "R", MOLAR_GAS_CONSTANT)
        model = pycalphad.Model(database, ["AL", "NI", "VA"], "FCC_L12")
    a, b = v.StateVariable("a"), v.StateVariable("b")
    state = {v.SiteFraction("FCC_L12", 2, "VA"): 1}
    for sublattice, y in enumerate((a, b)):
        state[v.SiteFraction("FCC_L12", sublattice, "AL")] = y
        state[v.SiteFraction("FCC_L12", sublattice, "NI")] = 1 - y
    x = (3 * a + b) / 4
    symbols = database.symbols
    elements = x * symbols["GHSERAL"] + (1 - x) * symbols["GHSERNI"]
    return model.GM.xreplace(state) - elements, (a, b, v.T)


def value(theirs, *derivatives, at):
    """A derivative of pycalphad's expression at (a, b, T), eV/site."""
    expression, arguments = theirs
    for i in derivatives:
        expression = expression.diff(arguments[i])
    numbers = dict(zip(arguments, at, strict=True))
    return float(expression.xreplace(numbers).n()) / EV_PER_SITE_IN_J_PER_MOL


def fractions(count, seed=0):
    """(a, b), some of them near an end."""
    draw = np.random.default_rng(seed).uniform(0, 1, (count, 2))
    return [*draw.tolist(), [0.01, 0.02], [0.002, 0.99], [0.98, 0.995]]


def on_two_sublattices(a, b):
    return FCC_L12.order_parameters(torch.tensor([a, a, a, b], dtype=torch.float64))


def jacobian():
    """∂η/∂(a, b)."""
    return FCC_L12.q @ torch.tensor([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=torch.float64)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_free_energy_is_pycalphads_where_two_sublattices_describe_it(fcc, theirs, temperature):
    f = fcc.at(temperature)
    for a, b in fractions(5, seed=int(temperature)):
        expected = value(theirs, at=(a, b, temperature))
        # 1e-9 as asked; 1e-12 eV for states whose energy is nearly zero.
        assert float(f(on_two_sublattices(a, b))) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("temperature", [600.0, 1273.0])
def test_its_gradient_and_hessian_are_pycalphads(fcc, theirs, temperature):
    f = fcc.at(temperature)
    for a, b in fractions(2, seed=1):
        at = (a, b, temperature)
        eta = on_two_sublattices(a, b)
        slope = f.gradient(eta) @ jacobian()
        curvature = jacobian().T @ f.hessian(eta) @ jacobian()
        expected = [value(theirs, i, at=at) for i in (0, 1)]
        second = [[value(theirs, i, j, at=at) for j in (0, 1)] for i in (0, 1)]
        # pycalphad rounds the magnetic scale to nine digits: 1e-9 of up to 8 meV of magnetism,
        # 1e-9 of its curvature of up to 1 eV.
        assert slope.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-11)
        assert curvature.numpy() == pytest.approx(np.array(second), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("temperature", [300.0, 600.0, 1273.0])
def test_its_energy_is_that_of_gibbs_and_helmholtz_from_pycalphads_free_energy(
    fcc, theirs, temperature
):
    f = fcc.at(temperature)
    for a, b in fractions(3, seed=2):
        at = (a, b, temperature)
        expected = value(theirs, at=at) - temperature * value(theirs, 2, at=at)
        assert float(f.energy(on_two_sublattices(a, b))) == pytest.approx(
            expected, rel=1e-9, abs=1e-11
        )


@pytest.mark.parametrize("temperature", [400.0, 620.0, 1273.0])
def test_its_energy_is_the_slope_of_beta_f_in_beta(fcc, temperature):
    eta = sobol_states(200, seed=3)
    step = 1e-4
    low, high = fcc.at(temperature / (1 + step)), fcc.at(temperature / (1 - step))
    # In units of the middle β: β = 1 ± step.
    slope = ((1 + step) * low(eta) - (1 - step) * high(eta)) / (2 * step)
    # Second order: step²/6 of ∂³(βf)/∂β³, a few eV near the Curie temperature; rounding 1e-12.
    torch.testing.assert_close(fcc.at(temperature).energy(eta), slope, rtol=0, atol=1e-7)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_is_the_form_written_by_hand_on_all_four_sublattices(fcc, temperature):
    eta = sobol_states(2000, seed=4)
    f, by_hand = fcc.at(temperature), DupinNickelAluminium(temperature)
    # Rounding of sums of terms of up to 10 eV.
    torch.testing.assert_close(f(eta), by_hand(eta), rtol=0, atol=1e-14)
    mu = chemical_potential(by_hand, eta)
    torch.testing.assert_close(f.gradient(eta), mu, rtol=0, atol=1e-13)


@pytest.mark.parametrize("temperature", [500.0, 1273.0])
def test_its_hessian_is_the_slope_of_its_gradient(fcc, temperature):
    f = fcc.at(temperature)
    eta = sobol_states(50, seed=5, margin=0.05)
    step = 1e-5 * torch.eye(4, dtype=torch.float64)
    rows = [(f.gradient(eta + d) - f.gradient(eta - d)) / 2e-5 for d in step]
    # step²/6 of ∂⁴f, of up to 2kT/0.05³ = 2 keV: 3e-8 eV.
    torch.testing.assert_close(f.hessian(eta), torch.stack(rows, -2), rtol=0, atol=1e-7)


def test_the_pure_elements_have_none_but_magnetic_energy(fcc):
    pure = FCC_L12.order_parameters(torch.tensor([[0.0] * 4, [1.0] * 4], dtype=torch.float64))
    # Rounding of terms of up to 5 eV.
    assert fcc.at(1273.0).energy(pure)[1] == pytest.approx(0, abs=1e-14)
    assert fcc.at(1273.0)(pure)[1] == pytest.approx(0, abs=1e-14)
    # Nickel: R T ln(1 + 0.52) g(800/633), g = −(τ⁻⁵/10 + τ⁻¹⁵/315 + τ⁻²⁵/1500)/A, A = 2.34246.
    tau = 800 / 633
    order = -(tau**-5 / 10 + tau**-15 / 315 + tau**-25 / 1500) / 2.342456517
    expected = BOLTZMANN_EV * 800 * np.log(1.52) * order
    assert float(fcc.at(800.0)(pure)[0]) == pytest.approx(expected, rel=1e-9)


def test_all_24_permutations_of_the_sublattices_leave_it_unchanged(fcc):
    f = fcc.at(1000.0)
    eta = sobol_states(100, seed=6)
    images = FCC_L12.images(eta)
    assert len(images) == 24
    torch.testing.assert_close(f(images), f(eta).expand(24, -1), rtol=0, atol=1e-14)
    by_site = f.gradient(images) @ FCC_L12.q
    expected = torch.stack([(f.gradient(eta) @ FCC_L12.q)[:, p] for p in FCC_L12.group])
    torch.testing.assert_close(by_site, expected, rtol=0, atol=1e-13)


def test_the_solute_may_be_either_element(fcc):
    swapped = OrderedFcc.from_database(default_database(), ("Al", "Ni")).at(600.0)
    y = FCC_L12.site_fractions(sobol_states(100, seed=7))
    of_aluminium, of_nickel = (FCC_L12.order_parameters(one) for one in (y, 1 - y))
    f = fcc.at(600.0)
    torch.testing.assert_close(swapped(of_nickel), f(of_aluminium), rtol=0, atol=1e-13)
    torch.testing.assert_close(
        swapped.energy(of_nickel), f.energy(of_aluminium), rtol=0, atol=1e-13
    )


def two_sublattices(members, reciprocal):
    """Database parameters of (a, a, a, b) for E₀ … E₄ and r₀, r₁, …, found by interpolation.

    The second element is Al, so that powers of y_Al − y_Ni are those of 2y − 1.
    """
    a = np.array([0.2, 0.4, 0.6, 0.8])
    power = range(len(reciprocal))
    found = {("G", "AL:AL", 0): members[4], ("G", "AL:NI", 0): members[3]}
    found |= {("G", "NI:AL", 0): members[1], ("G", "NI:NI", 0): members[0]}
    for b, name in enumerate(("NI", "AL")):
        found |= {("G", f"{name}:AL,NI", k): reciprocal[k] for k in power}
        none, one, two, three = members[b : b + 4]
        mixed = none * (1 - a) ** 3 + 3 * one * a * (1 - a) ** 2
        mixed += 3 * two * a**2 * (1 - a) + three * a**3
        linear = none * (1 - a) + three * a
        fit = Polynomial.fit(a, (mixed - linear) / (a * (1 - a)), 3, domain=[0, 1]).coef
        series = [fit[k] + (3 * reciprocal[k] if k in power else 0) for k in range(4)]
        found |= {("G", f"AL,NI:{name}", k): value for k, value in enumerate(series)}
    return found


def test_any_symmetric_ordering_energy_is_the_sum_over_its_sixteen_members(fcc):
    members = np.array([120.0, -3100.0, -5200.0, -2800.0, -340.0])
    reciprocal = np.array([700.0, -250.0, 90.0])
    g, slope = two_sublattices(members, reciprocal), two_sublattices(members / 7, reciprocal / 5)
    # 1000 K is where the part with the slope vanishes: heat is g − 1000 K · slope there.
    expressions = {key: g[key] + slope[key] * (v.T - 1000) for key in g}
    none = Parameters("FCC_L12", {}, {}, {})
    ordering = Parameters("FCC_L12", expressions, {}, {})
    with_order, without = (
        OrderedFcc(("NI", "AL"), fcc.solution, one).at(1000.0) for one in (ordering, none)
    )

    def by_hand(y, e, r):
        total = sum((y * (1 - y) * r[k] * (2 * y - 1) ** k).sum(-1) for k in range(3))
        for occupied in product((0, 1), repeat=4):
            member = torch.tensor(occupied)
            total = total + e[sum(occupied)] * torch.where(member == 1, y, 1 - y).prod(-1)
        return total / EV_PER_SITE_IN_J_PER_MOL

    def expected(y, e, r):
        return by_hand(y, e, r) - by_hand(y.mean(-1, keepdim=True).expand(y.shape), e, r)

    eta = sobol_states(100, seed=10).requires_grad_()
    y = FCC_L12.site_fractions(eta)
    free = expected(y, members, reciprocal)
    torch.testing.assert_close(with_order(eta) - without(eta), free, rtol=0, atol=1e-13)
    mu = torch.autograd.grad(free.sum(), eta)[0]
    found = with_order.gradient(eta) - without.gradient(eta)
    torch.testing.assert_close(found, mu, rtol=0, atol=1e-13)
    heat = expected(y, members * (1 - 1000 / 7), reciprocal * (1 - 1000 / 5))
    found = with_order.energy(eta) - without.energy(eta)
    # Energies of 8 eV here.
    torch.testing.assert_close(found, heat, rtol=0, atol=1e-12)


def ends(f):
    """x_Al of γ and γ′."""
    (line,) = tie_lines(f, FCC_L12, composition=(0.05, 0.3))
    assert (line.left.phase, line.right.phase) == ("A1", "L1_2")
    return [float(line.left.eta[0]), float(line.right.eta[0])]


@pytest.mark.parametrize("temperature", ENDS)
def test_its_tie_lines_are_pycalphads(fcc, temperature):
    # pycalphad's rounded R, 4e-6 of it, moves the ends by 1.2e-6.
    assert ends(fcc.at(temperature)) == pytest.approx(ENDS[temperature], abs=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", ENDS)
def test_its_tie_lines_are_those_pycalphad_finds_now(fcc, temperature):
    conditions = {v.X("AL"): 0.2, v.T: temperature, v.P: 101325, v.N: 1}
    database = pycalphad.Database(str(default_database()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = pycalphad.equilibrium(database, ["AL", "NI", "VA"], ["FCC_L12"], conditions)
    theirs = sorted(found.X.sel(component="AL").values.ravel()[:2].tolist())
    assert theirs == pytest.approx(ENDS[temperature], abs=1e-6)
    assert ends(fcc.at(temperature)) == pytest.approx(theirs, abs=3e-6)


def test_a_phase_field_may_overshoot_with_a_floor_and_follow_the_compiled_pass(fcc):
    f, exact = fcc.at(1000.0, floor=2e-3), fcc.at(1000.0)
    inside = sobol_states(300, seed=11, margin=2.1e-3)
    torch.testing.assert_close(f(inside), exact(inside), rtol=0, atol=1e-15)
    eta = FCC_L12.order_parameters(1.06 * FCC_L12.site_fractions(inside) - 0.03)
    value, mu = f.evaluate(eta)
    ideal = IdealMixing(FCC_L12.q, 1000.0, 2e-3)(eta) - IdealMixing(FCC_L12.q, 1000.0)(eta)
    within = ~ideal.isnan()
    assert 100 < within.sum() < 300
    torch.testing.assert_close(value[within], (exact(eta) + ideal)[within], rtol=0, atol=1e-14)
    assert mu.isfinite().all()
    torch.testing.assert_close(mu, chemical_potential(Plain(f), eta), rtol=0, atol=1e-12)
    u = eta.T.contiguous().numpy()
    total, size = f.kernel(u, np.zeros(4), 0, len(eta))
    assert total == pytest.approx(float(value.sum()), rel=1e-12)
    assert size == pytest.approx(float(value.abs().sum()), rel=1e-12)
    # Rounding of y/floor, of up to 500 times k_BT = 86 meV.
    np.testing.assert_allclose(u.T, mu, rtol=0, atol=1e-13)


class Plain:
    """The energy alone."""

    def __init__(self, f):
        self.f = f

    def __call__(self, eta):
        return self.f(eta)


def test_a_floor_outside_its_range_is_refused(fcc):
    with pytest.raises(ValueError, match=r"`floor` must lie in \[0, 0.5\)"):
        fcc.at(1000.0, floor=0.5)


def test_it_is_a_free_energy_of_any_batch_device_and_precision(fcc):
    f = fcc.at(1000.0)
    assert isinstance(f, FreeEnergy)
    assert isinstance(f, WithGradient)
    eta = sobol_states(6, seed=8)
    torch.testing.assert_close(f(eta.reshape(2, 3, 4)).flatten(), f(eta), rtol=0, atol=1e-15)
    # The meta device computes nothing, but refuses most tensors of another device.
    for kind in ({"device": "meta"}, {"dtype": torch.float32}):
        like = eta.to(**kind)
        for result in (f(like), f.gradient(like), f.hessian(like), f.energy(like)):
            assert (result.device.type, result.dtype) == (like.device.type, like.dtype)
    # Rounding of terms of up to 5 eV.
    torch.testing.assert_close(f(eta.float()), f(eta).float(), rtol=0, atol=1e-5)
