"""The CALPHAD form of an ordering fcc solution, fitted to free energies at one or several T."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.equilibrium import TieLine, tie_lines
from idnn.free_energy import FreeEnergy, IdealMixing, chemical_potential
from idnn.order_parameters import FCC_L12
from idnn.polynomials import Monomial, Polynomials, product
from idnn.units import EV_PER_SITE_IN_J_PER_MOL

logger = logging.getLogger(__name__)

Polynomial = dict[Monomial, float]

LEVELS = 25
"""Of each of the two site fractions of the states that are fitted."""

MARGIN = 5e-3
"""Of these from 0 and 1: where x ln x is learned or continued, no parameter can follow."""

NEAR = 0.05
"""Distance in η from an end of a tie-line within which a state weighs more …"""

WEIGHT_NEAR = 100.0
"""… by up to this factor."""

WEIGHT_TANGENT = 1e4
"""Of the equations that the ends of a tie-line must keep: equal slopes, and the rise between."""

MISS = 1e-3
"""Difference of composition above which a tie-line is not the same."""


@dataclass(frozen=True, kw_only=True)
class OrderedFccForm:
    """How many parameters the form has, each linear in T.

    Attributes:
        solution: terms Lₖ of the Redlich–Kister series of the disordered solution.
        reciprocal: terms Rₖ, k = 1 …, of the interaction on a sublattice; that of k = 0 would
            double the end members.
    """

    solution: int = 4
    reciprocal: int = 1

    def __post_init__(self) -> None:
        for name, least in (("solution", 1), ("reciprocal", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}; it is {getattr(self, name)}.")

    @cached_property
    def functions(self) -> dict[str, Polynomial]:
        """What multiplies each parameter, a polynomial of η.

        G, the energy of the pure second element; Lₖ of x(1 − x)(2x − 1)ᵏ; Eₙ of the probability
        that n of four sublattices hold the second element, and Rₖ of Σₛ yₛ(1 − yₛ)(2yₛ − 1)ᵏ, both
        less their value at yₛ = x (Dupin, Ansara & Sundman 2001,
        doi:10.1016/S0364-5916(01)00049-9).
        """
        x = _linear([1.0, 0.0, 0.0, 0.0])
        y = [_linear(row) for row in FCC_L12.q_inverse.tolist()]
        found = {"G": x} | {f"L{k}": _within(x, k) for k in range(self.solution)}
        for n in range(1, 4):
            found[f"E{n}"] = _sum((_chance(y, n), 1.0), (_chance([x] * 4, n), -1.0))
        for k in range(1, self.reciprocal + 1):
            each = [(_within(one, k), 1.0) for one in y]
            found[f"R{k}"] = _sum(*each, (_within(x, k), -4.0))
        return found


@dataclass(frozen=True, eq=False)
class Solution:
    """f = ideal mixing + a polynomial of η, eV/site.

    Attributes:
        ideal: on the sublattices.
        excess: one polynomial.
    """

    ideal: IdealMixing
    excess: Polynomials

    def __call__(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
        return self.ideal(eta) + self.excess(eta)[..., 0]

    def gradient(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return self.ideal.gradient(eta) + self.excess.jacobian(eta)[..., 0, :]

    def hessian(self, eta: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d d"]:
        return self.ideal.hessian(eta) + self.excess.second(eta)[..., 0, :, :]


@dataclass(frozen=True)
class FittedLine:
    """A γ/γ′ tie-line before and after.

    Attributes:
        temperature: K.
        given: compositions of both ends, of the energy that was fitted.
        fitted: of the fit; NaN where it has no such stable tie-line.
    """

    temperature: float
    given: tuple[float, float]
    fitted: tuple[float, float]

    @property
    def miss(self) -> float:
        """The greater difference of the two ends; infinite where there is no tie-line."""
        difference = np.abs(np.subtract(self.given, self.fitted)).max()
        return float(difference) if math.isfinite(difference) else math.inf


@dataclass(frozen=True, eq=False)
class OrderedFccFit:
    """A fitted solution.

    Attributes:
        form: its parameters' names.
        parameters: (a, b) of a + bT by name, J/mol and J/(mol K).
        temperatures: K, of the energies that were fitted.
        error_f: root mean square of the misfit of f over all fitted states, eV/site.
        error_mu: of the components of ∂f/∂η, eV/site.
        lines: γ/γ′ tie-lines, one for each temperature that has one.
    """

    form: OrderedFccForm
    parameters: Mapping[str, tuple[float, float]]
    temperatures: tuple[float, ...]
    error_f: float
    error_mu: float
    lines: tuple[FittedLine, ...]

    @property
    def miss(self) -> float:
        """The greatest miss of a tie-line, in composition; NaN without tie-lines."""
        return max((line.miss for line in self.lines), default=math.nan)

    def at(self, temperature: float) -> Solution:
        """The free energy at a temperature (K)."""
        values = [
            (function, (a + b * temperature) / EV_PER_SITE_IN_J_PER_MOL)
            for (a, b), function in zip(
                self.parameters.values(), self.form.functions.values(), strict=True
            )
        ]
        return Solution(IdealMixing(FCC_L12.q, temperature), Polynomials.of([_sum(*values)]))


def fit_ordered_fcc(
    energies: Mapping[float, FreeEnergy],
    *,
    form: OrderedFccForm | None = None,
    composition: tuple[float, float] = (0.0, 1.0),
) -> OrderedFccFit:
    """Least squares of f and ∂f/∂η over states (a, a, a, b): the disordered and the L1₂ phase.

    States near the ends of the γ/γ′ tie-lines weigh more, and at the ends the common tangent is
    asked for with a greater weight still. A warning is logged where the fit has another tie-line.

    Args:
        energies: of `FCC_L12` by temperature (K), eV/site, zero at η = 0. With one alone all
            parameters are constants.
        form: how many parameters there are.
        composition: range in which the energies are known; elsewhere the form extrapolates.

    Raises:
        ValueError: there are no energies, a temperature is not positive, the range is empty or not
            in [0, 1], or an energy is not finite in it.
    """
    form = form or OrderedFccForm()
    low, high = composition
    for f in energies.values():
        system = getattr(f, "system", FCC_L12)
        if system != FCC_L12:
            raise ValueError(
                f"`energies` must be of the four sublattices of {FCC_L12.name}; one is of "
                f"{system.name}."
            )
    if not energies:
        raise ValueError("`energies` must hold at least one free energy; it is empty.")
    require_positive("temperatures", torch.tensor(list(energies), dtype=torch.float64))
    if not 0 <= low < high <= 1:
        raise ValueError(f"`composition` must rise within [0, 1]; it is {composition}.")
    temperatures = tuple(sorted(energies))
    known = {t: _tie_line(energies[t], composition) for t in temperatures}
    basis = Polynomials.of(list(form.functions.values()))
    systems = [_equations(energies[t], t, known[t], basis, composition) for t in temperatures]
    design = np.concatenate([s.design for s in systems])
    kelvin = np.concatenate([np.full(len(s.target), s.temperature) for s in systems])
    target, weight = (
        np.concatenate([getattr(s, name) for s in systems]) for name in ("target", "weight")
    )
    constant, slope = _solve(design, kelvin, target, weight, linear=len(temperatures) > 1)
    misfit = design @ constant + kelvin * (design @ slope) - target
    is_value = np.concatenate([s.is_value for s in systems])
    is_slope = np.concatenate([s.is_slope for s in systems])
    unit = EV_PER_SITE_IN_J_PER_MOL
    fitted = OrderedFccFit(
        form=form,
        parameters={
            name: (float(a * unit), float(b * unit))
            for name, a, b in zip(form.functions, constant, slope, strict=True)
        },
        temperatures=temperatures,
        error_f=_rms(misfit[is_value]),
        error_mu=_rms(misfit[is_slope]),
        lines=(),
    )
    return _judged(fitted, known)


@dataclass(frozen=True, eq=False)
class _Equations:
    """design @ (parameters at T) = target, eV/site; row by row with a weight."""

    temperature: float
    design: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    is_value: np.ndarray
    is_slope: np.ndarray


def _equations(
    f: FreeEnergy,
    temperature: float,
    line: TieLine | None,
    basis: Polynomials,
    composition: tuple[float, float],
) -> _Equations:
    states = _states(composition)
    ends = states[:0] if line is None else torch.stack([line.left.eta, line.right.eta])
    eta = torch.cat([states, ends])
    ideal = IdealMixing(FCC_L12.q, temperature)
    with torch.no_grad():
        value = f(eta) - ideal(eta)
        slope = chemical_potential(f, eta) - ideal.gradient(eta)
    if not (value.isfinite().all() and slope.isfinite().all()):
        raise ValueError(
            f"`energies` must be finite over compositions {composition}; that of {temperature:g} K "
            "is not. Narrow `composition`."
        )
    near = 1 + (WEIGHT_NEAR - 1) * torch.exp(-0.5 * (_nearest(eta, ends) / NEAR) ** 2)
    near[len(states) :] = WEIGHT_TANGENT
    values, slopes = basis(eta), basis.jacobian(eta).mT.flatten(0, 1)
    inside = slice(len(states))
    rise = values[len(states) :].diff(dim=0), value[len(states) :].diff()
    rows = values[inside], slopes, rise[0]
    targets = value[inside], slope.flatten(), rise[1]
    weights = near[inside], near.repeat_interleave(eta.shape[1]), near[len(states) + 1 :]
    kind = np.repeat([0, 1, 2], [len(one) for one in targets])
    return _Equations(
        temperature,
        *(torch.cat(one).numpy() for one in (rows, targets, weights)),
        kind == 0,
        kind == 1,
    )


def _states(composition: tuple[float, float]) -> Float[Tensor, "sample d"]:
    """η of (a, a, a, b), every a beside every b, with a composition in the range."""
    levels = torch.linspace(MARGIN, 1 - MARGIN, LEVELS, dtype=torch.float64)
    a, b = torch.cartesian_prod(levels, levels).unbind(-1)
    eta = FCC_L12.order_parameters(torch.stack([b, a, a, a], dim=-1))
    low, high = composition
    return eta[(eta[:, 0] >= low) & (eta[:, 0] <= high)]


def _nearest(eta: Tensor, ends: Tensor) -> Tensor:
    if len(ends) == 0:
        return torch.full((len(eta),), torch.inf, dtype=eta.dtype)
    copies = FCC_L12.images(ends).flatten(0, 1)
    return torch.cdist(eta, copies).amin(-1)


def _solve(
    design: np.ndarray, kelvin: np.ndarray, target: np.ndarray, weight: np.ndarray, *, linear: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Constants and slopes in T of the parameters; temperatures centred and scaled meanwhile."""
    centre, spread = kelvin.mean(), max(float(np.ptp(kelvin)), 1.0)
    tau = ((kelvin - centre) / spread)[:, None]
    whole = np.hstack([design, design * tau]) if linear else design
    scale = np.sqrt(weight)[:, None]
    solved = np.linalg.lstsq(scale * whole, scale[:, 0] * target, rcond=None)[0]
    middle, rise = np.split(solved, 2) if linear else (solved, np.zeros(len(solved)))
    return middle - rise * centre / spread, rise / spread


def _judged(fitted: OrderedFccFit, known: Mapping[float, TieLine | None]) -> OrderedFccFit:
    """The fit with its own tie-lines; warns where one is not that of the energy."""
    lines = []
    for temperature, line in known.items():
        if line is None:
            logger.warning("At %g K there is no γ/γ′ tie-line to be kept.", temperature)
            continue
        found = _tie_line(fitted.at(temperature), (0.0, 1.0), like=line)
        ends = (math.nan, math.nan) if found is None else found.compositions
        lines.append(FittedLine(temperature, line.compositions, ends))
        if not lines[-1].miss <= MISS:
            logger.warning(
                "At %g K the fitted form has the γ/γ′ tie-line %.4f/%.4f, the energy %.4f/%.4f: "
                "they differ by %.1e, more than %.0e. Raise `solution` or `reciprocal`, or narrow "
                "the range of temperature or composition.",
                *(temperature, *ends, *line.compositions, lines[-1].miss, MISS),
            )
    return OrderedFccFit(
        **{name: getattr(fitted, name) for name in fitted.__dataclass_fields__ if name != "lines"},
        lines=tuple(lines),
    )


def _tie_line(
    f: FreeEnergy, composition: tuple[float, float], *, like: TieLine | None = None
) -> TieLine | None:
    """The stable tie-line of A1 and L1₂, the first or the one nearest to another."""
    found = [
        line
        for line in tie_lines(f, FCC_L12, composition=composition)
        if line.phases == ("A1", "L1_2")
    ]
    if like is None or not found:
        return found[0] if found else None
    return min(found, key=lambda line: abs(line.mu - like.mu))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x * x)))


def _linear(row: Sequence[float]) -> Polynomial:
    return {tuple(int(i == j) for j in range(len(row))): c for i, c in enumerate(row) if c != 0}


def _sum(*parts: tuple[Mapping[Monomial, float], float]) -> Polynomial:
    """Σ factor × polynomial; what cancels to rounding is left out."""
    total: Polynomial = {}
    for polynomial, factor in parts:
        for e, c in polynomial.items():
            total[e] = total.get(e, 0.0) + factor * c
    return {e: c for e, c in total.items() if abs(c) > 1e-12}


def _product(factors: Sequence[Polynomial]) -> Polynomial:
    return reduce(product, factors, {(0, 0, 0, 0): 1.0})


def _within(y: Polynomial, k: int) -> Polynomial:
    """y(1 − y)(2y − 1)ᵏ."""
    one = {(0, 0, 0, 0): 1.0}
    return _product([y, _sum((one, 1.0), (y, -1.0)), *[_sum((y, 2.0), (one, -1.0))] * k])


def _chance(y: Sequence[Polynomial], n: int) -> Polynomial:
    """The probability that n of the sublattices hold the second element."""
    one = {(0, 0, 0, 0): 1.0}
    terms = [
        _product([y[s] if chosen >> s & 1 else _sum((one, 1.0), (y[s], -1.0)) for s in range(4)])
        for chosen in range(16)
        if chosen.bit_count() == n
    ]
    return _sum(*((term, 1.0) for term in terms))
