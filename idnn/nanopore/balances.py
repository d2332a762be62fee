"""The equations of transport through a pore, few in number however many ions, with their Jacobian.

Along the pore, x/Δx = 1 − τ, the extended Nernst–Planck equation of an ion is linear in its
concentration once the field E = dψ/d(x/Δx) is known (ψ in units of RT/F):

    dc/dτ = κc + q,  κ = zE − K_c B,  q = B c_p,  B = J_v Δx/(K_d D),

and so are partition at both ends and the film before the membrane. Every concentration is then a
positive number times that of the feed, a function of few unknowns: E at some points, and at the
entrance and the exit the jump of ψ and that of ln γ over −z², called w; ln J_v; the field in the
film. They follow from electroneutrality, the activities and the flux of water. Sums are balanced as
logarithms of ratios of positive ones, on which Newton's method does well far from the solution.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.nanopore.channel import with_suction
from idnn.nanopore.collocation import Mesh
from idnn.nanopore.conditions import Conditions

OTHERS = 6
"""Unknowns beside E: ψ at entrance and exit, w at entrance and exit, ln J_v, field in the film."""

OUTSIDE, PERMEATE, ENTRANCE, EXIT = range(4)
"""Places: before the membrane, in the permeate, and at both ends in the pore."""


class State(NamedTuple):
    """Concentrations in mol/m³, derivatives of their logarithms by all unknowns, and the flux.

    Attributes:
        ends: at the four places.
        points: in the pore at the points of collocation, from the permeate to the feed.
        ends_slopes: of ln(ends).
        points_slopes: of ln(points).
        flux: J_v in m/s.
    """

    ends: Float[Tensor, "row place ion"]
    points: Float[Tensor, "row point ion"]
    ends_slopes: Float[Tensor, "row place ion unknown"]
    points_slopes: Float[Tensor, "row point ion unknown"]
    flux: Float[Tensor, " row"]


def state(given: Conditions, unknowns: Float[Tensor, "row unknown"], mesh: Mesh) -> State:
    """All concentrations as functions of the unknowns."""
    z, s = given.charge, mesh.size
    psi_in, psi_out, w_in, w_out, log_flux, film = unknowns[:, s:, None].unbind(1)
    flux = log_flux.exp()
    drag = flux * given.resistance
    exit_ratio = given.partition * (z**2 * w_out - z * psi_out).exp()
    inside, slopes, last, last_slopes = _along(given, unknowns, mesh, drag, exit_ratio)

    into, out_of = unknowns.new_zeros((2, *last_slopes.shape))
    into[..., s], into[..., s + 2] = -z, z**2
    out_of[..., s + 1], out_of[..., s + 3] = -z, z**2
    passed = given.partition * (z**2 * w_in - z * psi_in).exp() / last  # c_p/c_m
    by_passed = into - last_slopes
    outside, by_outside = before_membrane(given, flux, film, passed, by_passed)
    permeate, by_permeate = outside * passed, by_outside + by_passed
    return State(
        torch.stack([outside, permeate, permeate * last, permeate * exit_ratio], 1),
        permeate[:, None] * inside.mT,
        torch.stack([by_outside, by_permeate, by_outside + into, by_permeate + out_of], 1),
        by_permeate[:, None] + slopes.transpose(1, 2),
        flux[:, 0],
    )


def _along(
    given: Conditions, unknowns: Tensor, mesh: Mesh, drag: Tensor, start: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Concentrations over those of the permeate, at the points and at the end at the feed.

    Each with the derivatives of their logarithms. Started by those at the other end, and from
    element to element: what decays over orders of magnitude keeps its relative accuracy.
    """
    z, s, count = given.charge, mesh.size, len(mesh.rule.points)
    slopes = unknowns.new_zeros((*start.shape, unknowns.shape[1]))
    slopes[..., s + 1], slopes[..., s + 3] = -z * start, z**2 * start
    points, points_slopes = [], []
    for e, length in enumerate(mesh.lengths.tolist()):
        here = slice(e * count, (e + 1) * count)
        kappa = z[:, None] * unknowns[:, None, here] - (given.convection * drag)[..., None]
        h = length * mesh.rule.responses(length * kappa)
        by_start, by_drag = 1 + (h @ kappa[..., None])[..., 0], h.sum(-1)
        c = start[..., None] * by_start + drag[..., None] * by_drag
        inside, start = c[..., :-1], c[..., -1]
        slopes = by_start[..., None] * slopes[..., None, :]
        slopes[..., here] += h * (z[:, None] * inside)[..., None, :]
        convected = given.convection[..., None] * (h @ inside[..., None])[..., 0]
        slopes[..., s + 4] += drag[..., None] * (by_drag - convected)
        points.append(inside)
        points_slopes.append(slopes[..., :-1, :] / inside[..., None])
        slopes = slopes[..., -1, :]
    return torch.cat(points, -1), torch.cat(points_slopes, -2), start, slopes / start[..., None]


def before_membrane(
    given: Conditions, flux: Tensor, film: Tensor, passed: Tensor, by_passed: Tensor
) -> tuple[Tensor, Tensor]:
    """c_m = kc/(k − J_v(1 − c_p/c_m) + zDξ), from J_v c_p = −k(c_m − c) + J_v c_m − z c_m D ξ.

    And the derivatives of its logarithm. ξ is `film` in units of the mean k over the mean D.
    """
    if given.transfer is None:
        return given.feed, torch.zeros_like(by_passed)
    k, by_flux = given.transfer, torch.zeros_like(given.transfer)
    if given.suction:
        k, by_flux = with_suction(given.transfer, flux[:, 0])
    scale = given.transfer.mean(-1, keepdim=True) / given.diffusivity.mean(-1, keepdim=True)
    along = given.charge * given.diffusivity * scale
    rest = k - flux * (1 - passed) + along * film
    slopes = -(flux * passed / rest)[..., None] * by_passed
    slopes[..., -2] += flux * (by_flux / k - (by_flux - 1 + passed) / rest)
    slopes[..., -1] -= along / rest
    return k * given.feed / rest, slopes


class Balance(NamedTuple):
    """A residual without a unit, and what it changes by.

    Attributes:
        residual: zero at the solution.
        by_ends: its derivatives by the logarithms of the concentrations at the four places.
        by_own: that by the unknown of the same number, at given concentrations.
    """

    residual: Float[Tensor, " row"]
    by_ends: Float[Tensor, "row place ion"]
    by_own: Float[Tensor, " row"]


class Balances(NamedTuple):
    """Several of them, of all ends."""

    residual: Float[Tensor, "row other"]
    by_ends: Float[Tensor, "row other place ion"]
    by_own: Float[Tensor, "row other"]


def balances(
    given: Conditions, unknowns: Float[Tensor, "row unknown"], mesh: Mesh
) -> tuple[Float[Tensor, "row unknown"], Float[Tensor, "row unknown unknown"], State]:
    """Residuals, as many as unknowns, their Jacobian, and the state that they are of."""
    found = state(given, unknowns, mesh)
    in_pore, by_points = _charge(found.points, given.charge, given.fixed[:, None])
    ends = at_ends(given, found, unknowns[:, mesh.size :])
    along = (by_points[:, :, None] @ found.points_slopes)[:, :, 0]
    slopes = ends.by_ends.flatten(2) @ found.ends_slopes.flatten(1, 2)
    slopes[..., -OTHERS:] += torch.diag_embed(ends.by_own)
    return torch.cat([in_pore, ends.residual], 1), torch.cat([along, slopes], 1), found


def at_ends(given: Conditions, found: State, others: Float[Tensor, "row other"]) -> Balances:
    """Of all but the pore's inside, one for each of the unknowns beside E."""
    z, by_own = given.charge, others.unbind(1)
    no_charge = torch.zeros_like(given.fixed)
    rows = (
        _neutrality(found, PERMEATE, z, no_charge),
        _neutrality(found, EXIT, z, given.fixed),
        _activities(given, found, OUTSIDE, ENTRANCE, by_own[2]),
        _activities(given, found, PERMEATE, EXIT, by_own[3]),
        _water(given, found, by_own[4]),
        _held(found, by_own[5])
        if given.transfer is None
        else _neutrality(found, OUTSIDE, z, no_charge),
    )
    return Balances(*(torch.stack(each, 1) for each in zip(*rows, strict=True)))


def _charge(
    c: Float[Tensor, "row place ion"], z: Float[Tensor, " ion"], fixed: Float[Tensor, "row #place"]
) -> tuple[Float[Tensor, "row place"], Float[Tensor, "row place ion"]]:
    """Logarithm of the ratio of positive to negative charges, and its derivatives by ln c."""
    up, down = c * z.clamp(min=0), c * (-z).clamp(min=0)
    positive = up.sum(-1) + fixed.clamp(min=0)
    negative = down.sum(-1) + (-fixed).clamp(min=0)
    return positive.log() - negative.log(), up / positive[..., None] - down / negative[..., None]


def _neutrality(found: State, place: int, z: Tensor, fixed: Tensor) -> Balance:
    """Of the charges at a place."""
    at = slice(place, place + 1)
    residual, slopes = _charge(found.ends[:, at], z, fixed[:, None])
    by_ends = torch.zeros_like(found.ends)
    by_ends[:, at] = slopes
    return Balance(residual[:, 0], by_ends, torch.zeros_like(found.flux))


def _held(found: State, difference: Tensor) -> Balance:
    """Of an unknown that is given."""
    return Balance(difference, torch.zeros_like(found.ends), torch.ones_like(difference))


def _activities(given: Conditions, found: State, outside: int, inside: int, w: Tensor) -> Balance:
    """w = g(inside) − g(outside), where ln γ = −z²g."""
    held = _held(found, w)
    if given.activity is None:
        return held
    c = found.ends[:, (outside, inside)]
    g, slopes = given.activity.screening(c, given.charge, given.molar_mass)
    by_ends = torch.zeros_like(found.ends)
    by_ends[:, outside], by_ends[:, inside] = (slopes * c * c.new_tensor([[1], [-1]])).unbind(1)
    return Balance(w + g[:, 0] - g[:, 1], by_ends, held.by_own)


def _water(given: Conditions, found: State, log_flux: Tensor) -> Balance:
    """J_v/L_p + RT Σc_m = ΔP + RT Σc_p, or the flux as given."""
    if given.pressure is None:
        assert given.flux is not None
        return _held(found, log_flux - given.flux.log())
    viscous = found.flux / given.permeability
    outside, permeate = given.thermal_energy * found.ends[:, :2].transpose(0, 1)
    up, down = viscous + outside.sum(-1), given.pressure + permeate.sum(-1)
    by_ends = torch.zeros_like(found.ends)
    by_ends[:, OUTSIDE], by_ends[:, PERMEATE] = outside / up[:, None], -permeate / down[:, None]
    return Balance(up.log() - down.log(), by_ends, viscous / up)
