"""The γ/γ′ model of a free energy and a table of constants, in metres, seconds and joules."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_in_range, require_positive
from idnn.equilibrium import TieLine, tie_lines
from idnn.free_energy import FreeEnergy, chemical_potential, hessian
from idnn.order_parameters import FCC_L12
from idnn.units import AVOGADRO, ELEMENTARY_CHARGE
from phasefield.barrier import Barrier, OrderingPath
from phasefield.flat_interface import FlatInterface, fitted
from phasefield.grid import Grid
from phasefield.models import GradientFlow, OrderField
from phasefield.ni_al import Constants
from phasefield.sums import Sum

NANOMETRE = 1e-9
"""1 nm in m."""

CELLS_ACROSS = 3
"""Fewest cells in the width of an interface."""

SOUGHT = (0.02, 0.3)
"""Compositions between which the tie-line is sought."""

AT_REST = 1e-4
"""Largest slope of Δω in a phase, eV/site."""

DISORDERED, ORDERED = "A1", "L1_2"

NAMES = ("c", "eta1", "eta2", "eta3")


class NoTieLine(RuntimeError):
    """The free energy has no common tangent of γ and γ′."""


@runtime_checkable
class AtTemperature(Protocol):
    """A free energy that knows its temperature."""

    @property
    def temperature(self) -> float: ...


@runtime_checkable
class Floored(Protocol):
    """A free energy whose ideal mixing is continued below a site fraction."""

    @property
    def floor(self) -> float: ...


@dataclass(frozen=True, eq=False)
class GammaPrime:
    """γ′ in γ: the equations, and what of them is known beforehand.

    Attributes:
        model: the equations; lengths in nm, energies in eV/site, times in s.
        path: the tie-line and how f rises between its ends.
        barrier: of f along it, which the model's energy divides.
        interface: the flat interface between them.
        temperature: K.
        diffusivity: D̃ of γ at the tie-line, m²/s.
        curvature: ∂²f/∂c² of γ at the tie-line, η relaxed, eV/site.
    """

    model: GradientFlow
    path: OrderingPath
    barrier: Barrier
    interface: FlatInterface
    temperature: float
    diffusivity: float
    curvature: float

    @property
    def tie_line(self) -> TieLine:
        """γ and γ′ at equilibrium."""
        return self.path.tie_line

    @property
    def compositions(self) -> tuple[float, float]:
        """(c, c′) of γ and γ′."""
        return self.tie_line.compositions

    @property
    def order(self) -> float:
        """|ηᵢ| of γ′."""
        return float(self.tie_line.right.eta[1:].abs().mean())

    @property
    def molar_volume(self) -> float:
        """Vm, m³/mol."""
        return self.model.site_volume * NANOMETRE**3 * AVOGADRO

    def fraction(self, composition: float) -> float:
        """Volume fraction of γ′ by the lever rule.

        Raises:
            ValueError: the mean composition does not lie on the tie-line.
        """
        low, high = self.compositions
        require_in_range("composition", composition, low, high)
        return (composition - low) / (high - low)

    def mean_composition(self, fraction: float) -> float:
        """Of which the lever rule makes this volume fraction of γ′."""
        require_in_range("fraction", fraction, 0.0, 1.0)
        low, high = self.compositions
        return low + fraction * (high - low)

    def gibbs_thomson(self, radius: float) -> float:
        """Rise of the composition of γ at a sphere of γ′, 2σVm/(r(c′ − c)f″), r in m.

        To first order in 1/r, for f″ = ∂²f/∂c² of γ per mole.
        """
        require_positive("radius", radius)
        low, high = self.compositions
        pressure = 2 * self.interface.energy / radius
        return pressure / (self._joule_per_volume(1.0) * (high - low) * self.curvature)

    def drag(self, radius: float) -> float:
        """Resistance of ordering to the motion of a sphere's surface over that of diffusion.

        (M/L) Ω σ/(κ r (c′ − c)²), r in m: order dissipates ∫ Σ(∂η/∂x)² dx/L ≈ Ωσ/(κL) of a flat
        interface, and diffusion in the matrix (c′ − c)²r/M. Rates of growth and coarsening are too
        low by 1 + drag, and interfaces rather than diffusion control them where it is large.
        """
        require_positive("radius", radius)
        model, (low, high) = self.model, self.compositions
        solute, order = model.fields[0], model.fields[1]
        area = self.interface.energy / ELEMENTARY_CHARGE * NANOMETRE**2 * model.site_volume
        apart = radius / NANOMETRE * (high - low) ** 2
        return solute.mobility / order.mobility * area / (order.kappa * apart)

    def relieved(self, relief: float) -> GammaPrime:
        """With the same energy and width of the flat interface where coherency adds `relief`.

        See `OrderingPath.relief`.

        Raises:
            ValueError: no barrier gives both, or none that is higher than what coherency takes.
        """
        path, old, model = replace(self.path, relief=relief), self.interface, self.model
        new = fitted(
            path, self.barrier, energy=old.energy, width=old.width, site_volume=model.site_volume
        )
        f = Sum((_on(model.grid.device, path.f), self.barrier.divided(new.divisor)))
        fields = tuple(replace(field, kappa=new.kappa) for field in model.fields)
        return replace(self, model=replace(model, f=f, fields=fields), path=path, interface=new)

    @property
    def lsw_rate(self) -> float:
        """K of ⟨r⟩³ = kt (m³/s) at vanishing volume fraction.

        8 M σ Vm/(9 (c′ − c)²) with M = D̃/f″ (Lifshitz & Slyozov 1961,
        doi:10.1016/0022-3697(61)90054-3; Wagner 1961; for precipitates that are not pure solute
        Calderon, Voorhees, Murray & Kostorz 1994, doi:10.1016/0956-7151(94)90296-8).
        """
        low, high = self.compositions
        mobility = self.diffusivity / (self.curvature * self._joule_per_volume(1.0))
        return 8 * mobility * self.interface.energy / (9 * (high - low) ** 2)

    def excess_energy(self, u: Float[Tensor, "field *space"]) -> float:
        """∫ Δω + gradient energy dV over the whole box, Δω the height above the common tangent.

        J in three dimensions, J/m in two, J/m² in one: σ times the area of interfaces at rest.
        """
        model, u_hat = self.model, self.model.grid.transform(u)
        with torch.no_grad():
            total = model.energy(u_hat, model.evaluate(u_hat)).total
        mean = float(model.grid.mean(u[0]))
        cells = model.grid.cells * model.grid.cell_volume / model.site_volume
        tangent = self.tie_line.left.omega + self.tie_line.mu * mean
        missing = 3 - len(model.grid.shape)
        return (total - cells * tangent) * ELEMENTARY_CHARGE / NANOMETRE**missing

    def excess_energy_density(self, u: Float[Tensor, "field *space"]) -> float:
        """Mean of Δω + gradient energy, J/m³."""
        grid = self.model.grid
        size = grid.cells * grid.cell_volume * NANOMETRE ** len(grid.shape)
        return self.excess_energy(u) / size

    def _joule_per_volume(self, energy: float) -> float:
        """eV/site in J/m³."""
        return energy * ELEMENTARY_CHARGE / (self.model.site_volume * NANOMETRE**3)


def box(shape: Sequence[int], spacing: float, **options: Any) -> Grid:  # noqa: ANN401
    """A `Grid` of cells whose edge is given in m; other options are those of `Grid`."""
    return Grid(tuple(shape), spacing / NANOMETRE, **options)


def gamma_prime(
    f: FreeEnergy,
    constants: Constants,
    temperature: float,
    grid: Grid,
    *,
    dealias: float = 1.5,
    order_length: float | None = None,
) -> GammaPrime:
    """The equations of γ′ in γ, ready for `solve`, with times in s.

    f is joined by a barrier term that leaves both phases with their slopes and curvatures, hence
    the tie-line, as they are (`barrier.BarrierTerm`); it and κ_c = κ_η follow from interface energy
    and width (`flat_interface.fitted`). M = D̃/(∂²f/∂c²), η relaxed, at the γ end of the tie-line,
    for both phases. A hop of an atom between neighbours relaxes order as it moves solute: in fcc
    the rate Σ(1 − cos k·r) of Khachaturyan's kinetics (doi:10.1016/0079-6425(78)90003-1) is a²k²
    for small k and 16 at (100), so that L = 16 M/a² with a³ = 4Ω. Order then follows composition
    within 10⁻⁵ of the time in which solute crosses an interface. An `order_length` ℓ makes
    L = M/ℓ², and steps longer: ordering then resists by `drag`, a few hundredths where ℓ is an
    eighth of the width and particles are twice as large as it, and several times what diffusion
    does where ℓ is the width.

    A supersaturation is a few 10⁻⁴ of composition: take a `tolerance` of 10⁻⁵.

    Args:
        f: eV/site at `temperature`, of the order parameters of `FCC_L12`; a CALPHAD or learned
            energy with a floor, as fields overshoot. A network on the CPU, wherever the grid is.
        constants: interface, diffusion and volume.
        temperature: K.
        grid: see `box` for one in m.
        order_length: ℓ, m; not given: a/4.
        dealias: see `GradientFlow`. On the cells alone (1) the grid holds an interface of three
            cells back with tens of J/mol, as the curvature of a ball of 30 nm does.

    Raises:
        ValueError: the temperature is not that of f or lies outside what is known, the interface is
            thinner than three cells, f cannot have one of this energy and width, its floor moves
            γ′, or γ′ is held by the walls of the domain.
        NoTieLine: γ and γ′ do not coexist.
    """
    if isinstance(f, AtTemperature) and abs(f.temperature - temperature) > 1e-6:
        raise ValueError(
            f"`temperature` must be that of `f`, {f.temperature:g} K; it is {temperature:g} K."
        )
    energy, width, diffusivity, molar_volume = (
        quoted.at(temperature)
        for quoted in (
            constants.interface_energy,
            constants.interface_width,
            constants.diffusivity,
            constants.molar_volume,
        )
    )
    _require_resolved(width, grid)
    site_volume = molar_volume / AVOGADRO / NANOMETRE**3
    tie_line = gamma_prime_tie_line(f, temperature)
    path = OrderingPath(f, tie_line)
    barrier = Barrier.along(path)
    interface = fitted(path, barrier, energy=energy, width=width, site_volume=site_volume)
    curvature = _relaxed_curvature(f, tie_line)
    mobility = diffusivity / NANOMETRE**2 / curvature
    if order_length is not None:
        require_positive("order_length", order_length)
    hop = (4 * site_volume) ** (1 / 3) / 4
    ordering = mobility / (hop if order_length is None else order_length / NANOMETRE) ** 2
    model = GradientFlow(
        grid,
        Sum((_on(grid.device, f), barrier.divided(interface.divisor))),
        tuple(
            OrderField(name, name == "c", mobility if name == "c" else ordering, interface.kappa)
            for name in NAMES
        ),
        site_volume=site_volume,
        dealias=dealias,
    )
    return GammaPrime(model, path, barrier, interface, temperature, diffusivity, curvature)


def gamma_prime_tie_line(f: FreeEnergy, temperature: float) -> TieLine:
    """The stable common tangent of γ and γ′.

    Raises:
        NoTieLine: there is none.
        ValueError: its γ′ is moved by a floor, or held by the walls of the domain.
    """
    found = tie_lines(f, FCC_L12, composition=SOUGHT)
    for line in found:
        if line.phases == (DISORDERED, ORDERED):
            _require_free(f, line)
            return line
    others = ", ".join("–".join(line.phases) for line in found) or "none"
    raise NoTieLine(
        f"`f` has no stable common tangent of {DISORDERED} and {ORDERED} at {temperature:g} K "
        f"between compositions {SOUGHT[0]:g} and {SOUGHT[1]:g} (found: {others}); above the "
        "temperature of their coexistence, or with an energy badly learned, γ′ cannot form."
    )


def _require_free(f: FreeEnergy, tie_line: TieLine) -> None:
    """Raise where a floor moves γ′, or a wall holds it, beyond which fields find a lower energy."""
    fractions = FCC_L12.site_fractions(tie_line.right.eta)
    least = float(torch.minimum(fractions, 1 - fractions).min())
    if isinstance(f, Floored) and not f.floor < least:
        raise ValueError(
            f"`floor` of `f` must lie below the smallest site fraction of γ′, which it moves "
            f"otherwise; it is {f.floor:g} and that {least:.1g}: take {f.floor / 10:g}, or less."
        )
    with torch.no_grad():
        slopes = chemical_potential(f, tie_line.right.eta)
    slopes[0] -= tie_line.mu
    if not bool((slopes.abs() < AT_REST).all()):
        raise ValueError(
            f"`f` must have its γ′ within the domain; the smallest site fraction of it is "
            f"{least:.1g}, where f still falls by {float(slopes.abs().max()):.2g} eV/site per "
            "unit of η: lower the floor of its ideal mixing below the site fractions of γ′."
        )


def _relaxed_curvature(f: FreeEnergy, tie_line: TieLine) -> float:
    """1/(H⁻¹)_cc of γ."""
    return 1 / float(torch.linalg.inv(hessian(f, tie_line.left.eta))[0, 0])


def _on(device: torch.device, f: FreeEnergy) -> FreeEnergy:
    """F there; a network is copied."""
    if isinstance(f, torch.nn.Module) and device.type != "cpu":
        return deepcopy(f).to(device)
    return f


def _require_resolved(width: float, grid: Grid) -> None:
    spacing = grid.spacing * NANOMETRE
    if not width >= CELLS_ACROSS * spacing * (1 - 1e-9):
        raise ValueError(
            f"`interface_width` must be at least {CELLS_ACROSS} cells of the grid, "
            f"{CELLS_ACROSS * spacing:.3g} m; it is {width:.3g} m. Take cells of at most "
            f"{width / CELLS_ACROSS:.3g} m, or constants with a wider interface."
        )
