"""Closures of the local state: transport as a (neural) differential equation across the pore.

From the permeate's end to that of the feed, x/Δx = 1 − τ, the state is the ions' concentrations and
the potential ψ in units of RT/F:

    dc/dτ = B(c_p − K_c c) + zcE,  dψ/dτ = −E,  B = J_v Δx/(K_d D),

with K_d, K_c and X, the fixed charge, functions of c. That Σ z c + X stays zero determines the
field, E = −Σ(z + ∂X/∂c)B(c_p − K_c c)/Σ(z + ∂X/∂c)zc, whatever the closure. The unknowns are ln c
at the exit, from which partition gives c_p, and those of `idnn.nanopore.balances` at both ends.
Newton's method finds them, by derivatives carried along with the state, so that partition at the
entrance meets the feed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.nanopore.balances import EXIT, OTHERS, State, at_ends, before_membrane, state
from idnn.nanopore.closures import Corrections, LocalClosure
from idnn.nanopore.conditions import Conditions
from idnn.nanopore.ions import Ions
from idnn.nanopore.newton import Solved, corrections, damped
from idnn.nanopore.refinement import Part
from idnn.ode import TSIT5, Control, solve

CONTROL = Control(rtol=1e-10, atol=1e-10, max_steps=2000)
"""Of concentrations relative to those at the exit, and of ψ."""

FIRST_PART, LEAST_PART = 0.5, 1e-3
"""Steps of continuation from corrections of the feed to local ones: the first, and the least."""


@dataclass(frozen=True, eq=False)
class Shooting:
    """Cases whose closures depend on the local state.

    Attributes:
        ions: of the solutions.
        closure: the local one.
        given: with the closure's corrections at the feed.
        known: what the closure depends on beside concentrations.
        part: of what is local in the corrections; the rest is constant, that at the feed.
        control: of the integration.
    """

    ions: Ions
    closure: LocalClosure
    given: Conditions
    known: Float[Tensor, "row number"]
    part: Float[Tensor, " row"]
    control: Control

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Shooting:
        """The same with all that has rows changed."""
        given, known, part = self.given.mapped(change), change(self.known), change(self.part)
        return replace(self, given=given, known=known, part=part)

    def at(self, rows: Tensor) -> Shooting:
        """Some rows only."""
        return self.mapped(lambda x: x[rows])

    def laws(self) -> Float[Tensor, "row entry"]:
        """All that the right-hand side depends on beside its ends, in the order of `_Slope`."""
        given, closure = self.given, self.closure
        at_feed = _packed(closure.corrected(self.ions, given.feed, self.known), given.feed)
        one = (given.fixed[:, None], self.part[:, None])
        return torch.cat([given.resistance, given.convection, *one, at_feed, self.known], 1)


class Shot(NamedTuple):
    """The state where the pore meets the feed, and how it changes with what it depends on.

    Attributes:
        lead: ln c at the exit, ln c_p, ln J_v.
        growth: c over that at the exit.
        by_lead: its derivatives.
    """

    lead: Float[Tensor, "row lead"]
    growth: Float[Tensor, "row ion"]
    by_lead: Float[Tensor, "row ion lead"]

    def near(self, lead: Float[Tensor, "row lead"]) -> Float[Tensor, "row ion"]:
        """The growth for another lead, to first order."""
        return self.growth + (self.by_lead @ (lead - self.lead)[..., None])[..., 0]


class _Slope(NamedTuple):
    """d(c/c_exit, ψ)/dτ of rows p: the lead of a shot and the laws of its case."""

    ions: Ions
    closure: LocalClosure

    def __call__(self, tau: Tensor, y: Tensor, p: Tensor) -> Tensor:
        del tau
        n, z = len(self.ions.names), self.ions.charge
        sizes = (n, n, 1, n, n, 1, 1, 3 * n + 1)
        parts = p.split((*sizes, p.shape[-1] - sum(sizes)), -1)
        leave, permeate, flux = (x.exp() for x in parts[:3])
        resistance, convection, fixed, part, at_feed, known = parts[3:]
        c = leave * y[..., :-1]
        by, by_c = _with_slope(self, c, known, at_feed, part)
        diffusion, carried, _, charge = _unpacked(by, n)
        drag = flux * resistance * (-diffusion).exp()
        free = drag * (permeate - convection * carried.exp() * c)
        weight = z + fixed * charge[..., None].exp() * by_c
        field = -(weight * free).sum(-1) / (weight * z * c).sum(-1)
        return torch.cat([(free + z * c * field[..., None]) / leave, -field[..., None]], -1)


def _packed(by: Corrections, c: Tensor) -> Float[Tensor, "*batch correction"]:
    """All in one axis."""
    charge = by.charge.expand(c.shape[:-1])[..., None]
    return torch.cat([*(x.expand(c.shape) for x in by[:3]), charge], -1)


def _unpacked(by: Tensor, count: int) -> Corrections:
    diffusion, convection, partition, charge = by.split((count, count, count, 1), -1)
    return Corrections(diffusion, convection, partition, charge[..., 0])


def _with_slope(
    of: _Slope | Shooting, c: Tensor, known: Tensor, at_feed: Tensor, part: Tensor
) -> tuple[Float[Tensor, "*batch correction"], Float[Tensor, "*batch ion"]]:
    """Corrections beyond those at the feed, and the derivatives of that of X by c."""
    again = torch.is_grad_enabled() and (c.requires_grad or known.requires_grad)
    with torch.enable_grad():
        x = c if c.requires_grad else c.detach().requires_grad_()
        by = part * (_packed(of.closure.corrected(of.ions, x, known), x) - at_feed)
        slope = None
        if by.requires_grad:
            charge = by[..., -1].sum()
            (slope,) = torch.autograd.grad(charge, x, create_graph=again, allow_unused=True)
    by = by if again else by.detach()
    return by, torch.zeros_like(c) if slope is None else slope


def _relative(case: Shooting, c: Float[Tensor, "row ion"]) -> Corrections:
    """Corrections beyond those at the feed."""
    here, feed = (
        _packed(case.closure.corrected(case.ions, x, case.known), x) for x in (c, case.given.feed)
    )
    return _unpacked(case.part[:, None] * (here - feed), len(case.ions.names))


def path(
    case: Shooting, lead: Float[Tensor, "row lead"], tau: Float[Tensor, " time"]
) -> Float[Tensor, "row time n"]:
    """c over that at the exit, and ψ above it, at some τ, the first of them zero."""
    return _integrated(case, torch.cat([lead, case.laws()], 1), tau)


def _integrated(case: Shooting, p: Tensor, tau: Tensor) -> Tensor:
    one = torch.ones_like(case.ions.charge)
    start = torch.cat([one, torch.zeros_like(one[:1])])
    slope = _Slope(case.ions, case.closure)
    return solve(slope, start, tau, p, method=TSIT5, control=case.control, strict=False).y


def shot(case: Shooting, unknowns: Float[Tensor, "row unknown"]) -> Shot:
    """From as many copies of a case as it has ions, each for the slopes of one of them."""
    with torch.no_grad():
        lead, _ = leads(case, unknowns)
        p = torch.cat([lead, case.laws()], 1)
    n = len(case.ions.names)
    with torch.enable_grad():
        copies = p[:, None].expand(-1, n, -1).clone().requires_grad_()
        growth = _integrated(case, copies.flatten(0, 1), _ends_of_pore(p))[:, 1, :n]
        own = growth.unflatten(0, (-1, n)).diagonal(dim1=1, dim2=2)
        (slopes,) = torch.autograd.grad(own.sum(), copies)
    return Shot(lead, own.detach(), slopes[..., : lead.shape[1]])


def _ends_of_pore(like: Tensor) -> Float[Tensor, " time"]:
    return torch.tensor([0.0, 1.0]).to(like)


def leads(
    case: Shooting, unknowns: Float[Tensor, "row unknown"]
) -> tuple[Float[Tensor, "row lead"], Float[Tensor, " row"]]:
    """ln c at the exit, ln c_p, ln J_v; and X at the exit."""
    given, z, n = case.given, case.given.charge, len(case.ions.names)
    leave, others = unknowns[:, :n], unknowns[:, n:]
    by = _relative(case, leave.exp())
    jump = z * others[:, 1:2] - z**2 * others[:, 3:4]
    permeate = leave + jump - given.partition.log() - by.partition
    return torch.cat([leave, permeate, others[:, 4:5]], 1), given.fixed * by.charge.exp()


def ends(
    case: Shooting, unknowns: Float[Tensor, "row unknown"], growth: Float[Tensor, "row ion"]
) -> tuple[Float[Tensor, "row unknown"], State]:
    """Residuals of partition, neutrality, activities and the flux of water, and both ends."""
    given, z, n = case.given, case.given.charge, len(case.ions.names)
    lead, fixed = leads(case, unknowns)
    leave, permeate, flux = lead.split((n, n, 1), 1)
    psi_in, _, w_in, _, _, film = unknowns[:, n:, None].unbind(1)
    inside = leave.exp() * growth
    partition = given.partition.log() + _relative(case, inside).partition
    passed = (permeate + partition + z**2 * w_in - z * psi_in).exp() / inside
    nothing = torch.zeros((*passed.shape, OTHERS)).to(passed)
    outside, _ = before_membrane(given, flux.exp(), film, passed, nothing)
    at_places = torch.stack([outside, permeate.exp(), inside, leave.exp()], 1)
    found = State(
        at_places, at_places[:, :0], at_places[..., None][..., :0], at_places[:, :0, :, None],
        flux[:, 0].exp(),
    )  # fmt: skip
    rest = at_ends(replace(given, fixed=fixed), found, unknowns[:, n:]).residual
    return torch.cat([(outside * passed).log() - permeate, rest], 1), found


def equations(
    case: Shooting, unknowns: Float[Tensor, "row unknown"]
) -> tuple[Float[Tensor, "row unknown"], Float[Tensor, "row unknown unknown"]]:
    """Residuals and their Jacobian."""
    known = shot(case, unknowns)
    with torch.enable_grad():
        x = unknowns.detach().requires_grad_()
        residual, _ = ends(case, x, known.near(leads(case, x)[0]))
        one = torch.eye(x.shape[1]).to(x)[:, None].expand(-1, *x.shape)
        (jacobian,) = torch.autograd.grad(residual, x, one, is_grads_batched=True)
    return residual.detach(), jacobian.transpose(0, 1)


def started(case: Shooting, part: Part) -> Float[Tensor, "row unknown"]:
    """Unknowns of cases with all corrections as at the feed."""
    found = state(case.given, part.unknowns, part.mesh)
    return torch.cat([found.ends[:, EXIT].log(), part.unknowns[:, part.mesh.size :]], 1)


@torch.no_grad()
def solved(case: Shooting, start: Float[Tensor, "row unknown"]) -> Solved:
    """Unknowns, from those with all corrections as at the feed; by continuation where it fails."""
    y, good = _newton(case, start)
    failed = (~good).nonzero()[:, 0]
    if len(failed) > 0:
        y[failed], good[failed] = _continued(case.at(failed), start[failed])
    return y, good


def _newton(case: Shooting, start: Tensor) -> Solved:
    return damped(lambda rows, y: equations(case.at(rows), y), start, start.shape[1])


def _continued(case: Shooting, start: Tensor) -> Solved:
    """By growing parts of what is local."""
    y, part = start.clone(), torch.zeros_like(case.part)
    step, rows = torch.full_like(part, FIRST_PART), torch.arange(len(start))
    while len(rows) > 0:
        tried = (part[rows] + step[rows]).clamp(max=1)
        found, good = _newton(replace(case.at(rows), part=tried), y[rows])
        y[rows[good]], part[rows[good]] = found[good], tried[good]
        step[rows] *= torch.where(good, 2.0, 0.25)
        rows = rows[(part[rows] < 1) & (step[rows] >= LEAST_PART)]
    return y, part >= 1


class Profile(NamedTuple):
    """A solution.

    Attributes:
        unknowns: ln c at the exit, and those of `balances` at both ends.
        residual: of all equations.
        state: at both ends.
        concentration: along the pore.
        potential: ψ above that at the exit.
    """

    unknowns: Float[Tensor, "row unknown"]
    residual: Float[Tensor, "row unknown"]
    state: State
    concentration: Float[Tensor, "row time ion"]
    potential: Float[Tensor, "row time"]


def corrected(
    case: Shooting, unknowns: Float[Tensor, "row unknown"], tau: Float[Tensor, " time"]
) -> Profile:
    """The solution after one more correction, at τ from zero to one.

    The correction is made with derivatives, which are those of the solution by the implicit
    function theorem.
    """
    n = len(case.ions.names)
    _, jacobian = equations(case.mapped(torch.Tensor.detach), unknowns)
    growth = path(case, leads(case, unknowns)[0], _ends_of_pore(tau))[:, 1, :n]
    y = unknowns - corrections(jacobian, ends(case, unknowns, growth)[0])
    along = path(case, leads(case, y)[0], tau)
    residual, found = ends(case, y, along[:, -1, :n])
    c = _neutral(case, y[:, None, :n].exp() * along[..., :n])
    return Profile(y, residual, found, c, along[..., n])


def _neutral(case: Shooting, c: Float[Tensor, "row time ion"]) -> Float[Tensor, "row time ion"]:
    """What the integration left of charges, where X depends on c, removed: c exp(−zδ)."""
    z, feed = case.ions.charge, case.given.feed
    at_feed = _packed(case.closure.corrected(case.ions, feed, case.known), feed)[:, None]
    part, known = case.part[:, None, None], case.known[:, None]
    for _ in range(2):
        by, by_c = _with_slope(case, c, known, at_feed, part)
        fixed = case.given.fixed[:, None] * by[..., -1].exp()
        capacity = ((z + fixed[..., None] * by_c) * z * c).sum(-1)
        c = c * (-z * ((c @ z + fixed) / capacity)[..., None]).exp()
    return c
