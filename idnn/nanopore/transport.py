"""What a membrane lets through: the entry point of the continuum model, and its result."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.nanopore.activity import Davies
from idnn.nanopore.balances import EXIT, OTHERS, OUTSIDE, PERMEATE, State
from idnn.nanopore.closures import AtFeed, Closure, LocalClosure
from idnn.nanopore.collocation import Mesh
from idnn.nanopore.conditions import Conditions, conditions
from idnn.nanopore.hindrance import Hindrance, dechadilok_deen
from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import Membrane, Water, size_ratio
from idnn.nanopore.refinement import Part, refined, solved_on
from idnn.nanopore.refinement import corrected as collocated
from idnn.nanopore.shooting import CONTROL, Shooting, corrected, solved, started
from idnn.ode import Control

POSITIONS = 21
"""At which profiles are given."""


class NotConverged(RuntimeError):
    """A case was not solved.

    Attributes:
        case: its flat index.
    """

    def __init__(self, message: str, case: int) -> None:
        super().__init__(message)
        self.case = case


@dataclass(frozen=True, eq=False)
class Transport:
    """Steady transport through a membrane, differentiable in all that it depends on.

    Cases that were not solved are NaN.

    Attributes:
        ions: in the order of the last axes.
        feed: c in the bulk, mol/m³.
        outside: c_m before the membrane, mol/m³; that of the feed without a film.
        permeate: c_p in mol/m³.
        flux: J_v in m/s.
        pressure: ΔP in Pa.
        position: x/Δx from the feed, 0, to the permeate, 1.
        concentration: in the pore there, mol/m³ of its volume.
        potential: ψ there, in RT/F, zero before the membrane.
        permeate_potential: ψ in the permeate, the membrane's potential at zero current.
        residual: the largest of all equations, each relative to what it balances.
        converged: whether a case was solved.
    """

    ions: Ions
    feed: Float[Tensor, "*batch ion"]
    outside: Float[Tensor, "*batch ion"]
    permeate: Float[Tensor, "*batch ion"]
    flux: Float[Tensor, "*batch"]
    pressure: Float[Tensor, "*batch"]
    position: Float[Tensor, " position"]
    concentration: Float[Tensor, "*batch position ion"]
    potential: Float[Tensor, "*batch position"]
    permeate_potential: Float[Tensor, "*batch"]
    residual: Float[Tensor, "*batch"]
    converged: Bool[Tensor, "*batch"]

    @property
    def rejection(self) -> Float[Tensor, "*batch ion"]:
        """1 − c_p/c, observed; negative where the permeate holds more of an ion."""
        return 1 - self.permeate / self.feed

    @property
    def intrinsic_rejection(self) -> Float[Tensor, "*batch ion"]:
        """1 − c_p/c_m."""
        return 1 - self.permeate / self.outside


def transport(
    ions: Ions,
    feed: Float[Tensor, "*#batch ion"],
    membrane: Membrane,
    *,
    pressure: Float[Tensor, "*#batch"] | float | None = None,
    flux: Float[Tensor, "*#batch"] | float | None = None,
    water: Water | None = None,
    hindrance: Hindrance = dechadilok_deen,
    closure: Closure | LocalClosure | None = None,
    mass_transfer: Float[Tensor, "*#batch ion"] | None = None,
    suction: bool = True,
    activity: Davies | None = None,
    mesh: Mesh | None = None,
    control: Control | None = None,
    strict: bool = True,
) -> Transport:
    """The Donnan steric pore model with dielectric exclusion, solved exactly.

    Extended Nernst–Planck equation in the pore, J_v c_p = K_c c J_v − K_d D (dc/dx + z c dψ/dx),
    Σ z c + X = 0; γc = γ⁰c⁰ Φ exp(−ΔW/kT) exp(−zΔψ) at both ends; Σ z c = 0 before the membrane and
    in the permeate; J_v = r_p²(ΔP − ΔΠ)/(8μΔx), Π = RT Σ c; J_v c_p = −k(c_m − c) + J_v c_m − z c_m
    D ξ in the film. Bowen & Welfoot (2002, doi:10.1016/S0009-2509(01)00413-4); Geraldes & Alves
    (2008, J. Membr. Sci. 321, 172).

    All arguments broadcast over leading axes. First derivatives are exact, by the implicit function
    theorem, for all tensors given. Errors of ln c_p, ψ and ln J_v are below 10⁻⁸, and mostly near
    rounding. A salt leaks at every flux, so that there is a flux at every pressure above zero,
    however far below the osmotic pressure of the feed; it may be very small.

    Args:
        ions: what is dissolved.
        feed: c in mol/m³, above zero and neutral.
        membrane: its pores.
        pressure: ΔP in Pa; give it or `flux`.
        flux: J_v in m/s.
        water: the solvent; at 25 °C if None.
        hindrance: K_d and K_c of the ratio of radii.
        closure: factors of K_d, K_c, Φ exp(−ΔW/kT) and X; ones if None. Those of a `Closure`, such
            as `LearnedClosure`, are constant along the pore, those of a `LocalClosure`, such as
            `LearnedLocalClosure`, follow the concentrations in it; see `idnn.nanopore.shooting`.
        mass_transfer: k in m/s, as of `spiral_wound`; without it there is no film.
        suction: correct k for flow through the wall, without which J_v must stay below about k.
        activity: of the ions, everywhere; ideal if None. Far above 0.5 mol/kg Davies' equation may
            allow several solutions or none.
        mesh: points of collocation, as `two_nodes()`; as many as needed if None.
            With a local closure, for the solution to start from.
        control: tolerances with a local closure, of c over that at the exit and of ψ; 10⁻¹⁰ if
            None.
        strict: raise an error if a case is not solved.

    Raises:
        ValueError: a number is not finite, positive or of the right shape, the feed is not neutral,
            an ion does not fit the pore, or not exactly one of pressure and flux is given.
        NotConverged: a case was not solved.
    """
    given, batch = conditions(
        ions,
        feed,
        membrane,
        pressure=pressure,
        flux=flux,
        water=Water() if water is None else water,
        hindrance=hindrance,
        closure=AtFeed(closure) if isinstance(closure, LocalClosure) else closure,
        mass_transfer=mass_transfer,
        suction=suction,
        activity=activity,
    )
    fixed = given.mapped(torch.Tensor.detach)
    parts = refined(fixed) if mesh is None else solved_on(fixed, mesh)
    position = torch.linspace(0, 1, POSITIONS).to(given.feed)
    if isinstance(closure, LocalClosure):
        known = closure.known(ions, membrane, size_ratio(membrane, ions))
        known = known.expand(*batch, -1).reshape(len(given.feed), -1)
        whole = torch.ones_like(given.fixed)
        case = Shooting(ions, closure, given, known, whole, CONTROL if control is None else control)
        columns = _local(case, parts, position)
    else:
        columns = [(part.rows, _outputs(given, part, position)) for part in parts]
    solved = torch.zeros_like(given.fixed, dtype=torch.bool)
    for rows, _ in columns:
        solved[rows] = True
    if strict and not solved.all():
        raise _not_converged(solved)
    return Transport(
        ions=ions,
        feed=given.feed.view((*batch, -1)),
        position=position,
        converged=solved.view(batch),
        **{
            name: _gathered(
                given.feed, [(rows, column[name]) for rows, column in columns], shape
            ).view((*batch, *shape))
            for name, shape in _shapes(len(ions.names)).items()
        },
    )


def _gathered(
    feed: Tensor, parts: list[tuple[Tensor, Tensor]], shape: tuple[int, ...]
) -> Float[Tensor, "row *shape"]:
    """One result of all cases, NaN where it was not found."""
    whole = feed.new_full((len(feed), *shape), torch.nan)
    for rows, values in parts:
        whole = whole.index_copy(0, rows, values)
    return whole


def _shapes(count: int) -> dict[str, tuple[int, ...]]:
    """Of what is computed, without the batch."""
    by_ion = dict.fromkeys(("outside", "permeate"), (count,))
    one = dict.fromkeys(("flux", "pressure", "permeate_potential", "residual"), ())
    return by_ion | one | {"concentration": (POSITIONS, count), "potential": (POSITIONS,)}


def _outputs(given: Conditions, part: Part, position: Tensor) -> dict[str, Tensor]:
    """Of cases solved on the same points."""
    y, residual, state = collocated(given, part)
    s = part.mesh.size
    field, (psi_in, psi_out) = y[:, :s], y[:, s : s + 2].unbind(1)
    known = torch.cat([state.ends[:, EXIT][:, None], state.points], 1)
    tau = 1 - position.cpu()
    concentration = part.mesh.continuous(tau).to(y) @ known
    gained = field @ part.mesh.integrals(tau).to(y).T  # from the permeate, up to the feed at 0
    potential = psi_in[:, None] + gained[:, :1] - gained
    inside = {"concentration": concentration, "potential": potential}
    return inside | _of_ends(given.at(part.rows), state, potential[:, -1] - psi_out, residual)


def _local(
    case: Shooting, parts: list[Part], position: Tensor
) -> list[tuple[Tensor, dict[str, Tensor]]]:
    """Numbers and outputs of cases, from those with the closure's corrections at the feed."""
    if not parts:
        return []
    rows = torch.cat([part.rows for part in parts])
    fixed = case.mapped(torch.Tensor.detach)
    with torch.no_grad():
        start = torch.cat([started(fixed.at(part.rows), part) for part in parts])
    unknowns, good = solved(fixed.at(rows), start)
    rows, unknowns = rows[good], unknowns[good]
    if len(rows) == 0:
        return []
    here = case.at(rows)
    found = corrected(here, unknowns, 1 - position.flip(0))
    psi_in, psi_out = found.unknowns[:, -OTHERS:][:, :2].unbind(1)
    gained = found.potential
    potential = (psi_in[:, None] + gained - gained[:, -1:]).flip(1)
    inside = {"concentration": found.concentration.flip(1), "potential": potential}
    ends = _of_ends(here.given, found.state, potential[:, -1] - psi_out, found.residual.detach())
    return [(rows, inside | ends)]


def _of_ends(
    given: Conditions, state: State, permeate_potential: Tensor, residual: Tensor
) -> dict[str, Tensor]:
    """What is known of both ends."""
    outside, permeate = state.ends[:, OUTSIDE], state.ends[:, PERMEATE]
    osmotic = given.thermal_energy * (outside - permeate).sum(-1)
    return {
        "outside": outside,
        "permeate": permeate,
        "flux": state.flux,
        "pressure": state.flux / given.permeability + osmotic,
        "permeate_potential": permeate_potential,
        "residual": residual.abs().amax(1),
    }


def _not_converged(solved: Tensor) -> NotConverged:
    case = int((~solved).nonzero()[0])
    return NotConverged(
        f"`transport`: {int((~solved).sum())} of {len(solved)} cases were not solved, the first at "
        f"flat index {case}. Look there for activities beyond the range of Davies' equation, above "
        "about 0.5 mol/kg, for fluxes above `mass_transfer` without `suction`, for ions nearly as "
        "large as the pore, for fluxes too high for the points of `mesh`, for local closures that "
        "leave no or several solutions, and for too few steps in `control`; or take "
        "`strict=False`, which leaves those cases NaN.",
        case,
    )
