"""Free energies of an ordering fcc alloy, at one or several T, fitted by the CALPHAD form."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.equilibrium import TieLine, tie_lines
from idnn.free_energy import FreeEnergy, IdealMixing, chemical_potential, hessian
from idnn.network import IntegrableNetwork
from idnn.order_parameters import FCC_L12
from idnn.ordered_fcc_form import OrderedFccForm, Solution, weighted_sum
from idnn.polynomials import Polynomials
from idnn.units import EV_PER_SITE_IN_J_PER_MOL

logger = logging.getLogger(__name__)

LEVELS = 25
"""Of each of the two site fractions of the states that are fitted."""

MARGIN = 5e-3
"""Of these from 0 and 1: where x ln x is learned or continued, no parameter can follow."""

NEAR = 0.05
"""Distance in η from an end of a tie-line within which a state weighs more …"""

WEIGHT_NEAR = 100.0
"""… by up to this factor."""

WEIGHT_ENDS = 1e6
"""Of the shift of each end of a tie-line in composition, beside energies in eV/site."""

MISS = 1e-3
"""Difference of composition above which a tie-line is not the same."""


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
        return Solution(
            IdealMixing(FCC_L12.q, temperature), Polynomials.of([weighted_sum(*values)])
        )


def fit_ordered_fcc(
    energies: Mapping[float, FreeEnergy],
    *,
    form: OrderedFccForm | None = None,
    composition: tuple[float, float] = (0.0, 1.0),
) -> OrderedFccFit:
    """Least squares of f and ∂f/∂η over states (a, a, a, b): the disordered and the L1₂ phase.

    States near the ends of the γ/γ′ tie-lines weigh more, and the shift of these ends, to first
    order in the misfit, most. A warning is logged where the fit has another tie-line.

    Args:
        energies: of `FCC_L12` by temperature (K), eV/site, zero at η = 0. With one alone all
            parameters are constants.
        form: how many parameters there are.
        composition: range in which the energies are known; elsewhere the form extrapolates.

    Raises:
        ValueError: there are no energies, one is of another crystal, a temperature is not positive,
            the range is empty or not in [0, 1], or an energy is not finite in it.
    """
    form = form or OrderedFccForm()
    _require_known(energies, composition)
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
    unit = EV_PER_SITE_IN_J_PER_MOL
    fitted = OrderedFccFit(
        form=form,
        parameters={
            name: (float(a * unit), float(b * unit))
            for name, a, b in zip(form.functions, constant, slope, strict=True)
        },
        temperatures=temperatures,
        error_f=_rms(misfit[np.concatenate([s.is_value for s in systems])]),
        error_mu=_rms(misfit[np.concatenate([s.is_slope for s in systems])]),
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
    # A network's continuation of x ln x next to the walls is not physics that a database has.
    network = isinstance(f, IntegrableNetwork)
    ideal = f.reference if network else IdealMixing(FCC_L12.q, temperature)
    with torch.no_grad():
        value = f(eta) - ideal(eta)
        slope = chemical_potential(f, eta) - ideal.gradient(eta)
    near = 1 + (WEIGHT_NEAR - 1) * torch.exp(-0.5 * (_nearest(eta, ends) / NEAR) ** 2)
    values, slopes = basis(eta), basis.jacobian(eta).mT.flatten(0, 1)
    shifts = values[:0], value[:0]
    if line is not None:
        stiffness = hessian(f, ends)
        last = slice(len(states), None)
        misfit = torch.cat([values, value[:, None]], 1)[last]
        bent = torch.cat([basis.jacobian(eta).mT, slope[..., None]], 2)[last]
        found = _shifts(ends, stiffness, misfit, bent)
        shifts = found[:, :-1], found[:, -1]
    rows = values, slopes, shifts[0]
    targets = value, slope.flatten(), shifts[1]
    far = torch.full((len(shifts[1]),), WEIGHT_ENDS, dtype=near.dtype)
    weights = near, near.repeat_interleave(eta.shape[1]), far
    kind = np.repeat([0, 1, 2], [len(one) for one in targets])
    return _Equations(
        temperature=temperature,
        design=torch.cat(rows).numpy(),
        target=torch.cat(targets).numpy(),
        weight=torch.cat(weights).numpy(),
        is_value=kind == 0,
        is_slope=kind == 1,
    )


def _shifts(ends: Tensor, stiffness: Tensor, values: Tensor, slopes: Tensor) -> Tensor:
    """How far each end of a tie-line moves in composition when functions r are added to f.

    δη = H⁻¹(δμ e₀ − ∂r/∂η) at each end, δμ = (r_right − r_left)/(x_right − x_left).

    Args:
        ends: η, [2, d].
        stiffness: ∂²f/∂η², [2, d, d].
        values: of the functions at the ends, [2, function].
        slopes: ∂r/∂η, [2, d, function].
    """
    compliance = torch.linalg.inv(stiffness)[:, 0]
    rise = (values[1] - values[0]) / (ends[1, 0] - ends[0, 0])
    return compliance[:, :1] * rise - torch.einsum("ei,eif->ef", compliance, slopes)


def _states(composition: tuple[float, float]) -> Float[Tensor, "sample d"]:
    """η of (a, a, a, b), every a beside every b, with a composition in the range."""
    levels = torch.linspace(MARGIN, 1 - MARGIN, LEVELS, dtype=torch.float64)
    a, b = torch.cartesian_prod(levels, levels).unbind(-1)
    eta = FCC_L12.order_parameters(torch.stack([b, a, a, a], dim=-1))
    low, high = composition
    return eta[(eta[:, 0] >= low) & (eta[:, 0] <= high)]


def _require_known(energies: Mapping[float, FreeEnergy], composition: tuple[float, float]) -> None:
    low, high = composition
    if not energies:
        raise ValueError("`energies` must hold at least one free energy; it is empty.")
    require_positive("temperatures", torch.tensor(list(energies), dtype=torch.float64))
    if not 0 <= low < high <= 1:
        raise ValueError(f"`composition` must rise within [0, 1]; it is {composition}.")
    for temperature, f in energies.items():
        system = getattr(f, "system", FCC_L12)
        if system != FCC_L12:
            raise ValueError(
                f"`energies` must be of the four sublattices of {FCC_L12.name}; one is of "
                f"{system.name}."
            )
        with torch.no_grad():
            value = f(_states(composition))
        if len(value) == 0 or not value.isfinite().all():
            raise ValueError(
                f"`energies` must be finite over compositions {composition}; that of "
                f"{temperature:g} K is not. Choose another `composition`."
            )


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
