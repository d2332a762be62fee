"""What a porous crystal is like as a space: how dense, how wide, how connected."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int8

from idnn.adsorption.clearance import Clearance, atomic_radii, clearance
from idnn.adsorption.holes import cavity, window
from idnn.adsorption.pores_kernel import exposed_shares, percolate
from idnn.adsorption.structures import Crystal

HELIUM_RADIUS = 1.40
"""Å (Bondi 1964, doi:10.1021/j100785a001)."""

NITROGEN_RADIUS = 1.8405
"""Half of σ of one site (Å), customary for surfaces (Düren et al. 2007, doi:10.1021/jp074723h)."""

_FEWEST_DIRECTIONS = 500


@dataclass(frozen=True)
class Descriptors:
    """Geometry of a crystal of hard spheres, and of a hard sphere, the probe, that moves in it.

    Channels are where the probe's centre can be and from where it can leave the cell for good;
    pockets are where it can be but is caught.

    Attributes:
        density: g/cm³.
        void_fraction: share of the volume outside of all atoms.
        helium_fraction: share of the volume where the centre of a helium atom can be.
        channel_fraction: share of the volume where the probe's centre can be, channels.
        pocket_fraction: the same, pockets.
        surface_per_gram: m²/g, of what the probe's centre touches from channels.
        surface_per_volume: m²/cm³, of it.
        pocket_surface_per_gram: m²/g, from pockets.
        largest_cavity: diameter of the largest sphere that fits (Å); negative if atoms fill space.
        limiting: diameters of the largest spheres that can travel without end along at least one,
            two and three independent directions (Å); 0 where not even a point can.
        dimension: number of independent directions along which the probe can travel.
        limiting_error: bound on the error of `limiting` (Å), set by the grid. Windows are refined
            off it, so most are exact; where several are nearly as wide, another one may be taken.
        probe_radius: Å.
        spacing: largest distance between neighbouring points of the grid (Å).
    """

    density: float
    void_fraction: float
    helium_fraction: float
    channel_fraction: float
    pocket_fraction: float
    surface_per_gram: float
    surface_per_volume: float
    pocket_surface_per_gram: float
    largest_cavity: float
    limiting: tuple[float, float, float]
    dimension: int
    limiting_error: float
    probe_radius: float
    spacing: float

    @property
    def pore_limiting(self) -> float:
        """Diameter (Å) of the largest sphere that can travel through the crystal."""
        return self.limiting[0]

    @property
    def channel_volume(self) -> float:
        """cm³/g where the probe's centre can be, channels."""
        return self.channel_fraction / self.density

    @property
    def pocket_volume(self) -> float:
        """cm³/g where the probe's centre can be, pockets."""
        return self.pocket_fraction / self.density


def describe(
    crystal: Crystal,
    *,
    probe_radius: float = NITROGEN_RADIUS,
    spacing: float = 0.2,
    radii: Mapping[str, float] | None = None,
) -> Descriptors:
    """Geometric descriptors from a grid of distances to the nearest atom's surface.

    Grid points are joined to those whose Voronoi cells share a face with theirs. A sphere of
    clearance t that moves on a continuous path passes from point to point at t − mesh or more, and
    on the straight way between two joined points no more than half a stride is lost. So diameters
    of windows are known to 2 mesh + stride, 0.55 Å in a cubic grid of 0.2 Å; a window of three
    atoms within these bounds, close to the narrowest point of the grid, replaces it. Volumes and
    surfaces converge with the square of the spacing, or faster. Whether a window that is narrower
    or wider than the probe by less than that lets it pass is the grid's decision.

    Args:
        crystal: its atoms are spheres.
        probe_radius: Å; 0 for a point.
        spacing: largest distance between neighbouring points of the grid (Å).
        radii: of atoms (Å) by element, in place of half of UFF's σ (Rappé et al. 1992,
            doi:10.1021/ja00051a040).

    Raises:
        ValueError: no atoms, a radius of the probe or a spacing out of range, an element without a
            radius.
    """
    _check(crystal, probe_radius, spacing)
    sizes = atomic_radii(crystal, radii)
    widest = 2 * (float(sizes.max()) + probe_radius)
    field = clearance(crystal, sizes, spacing=spacing, reach=widest)
    kind, dimension = _kinds(field, probe_radius)
    channel, pocket = _volumes(field, kind, probe_radius)
    area = _areas(field, sizes, kind, probe_radius, spacing)
    density = 1e-3 * crystal.density
    largest, bound = cavity(field), 2 * field.mesh + field.stride
    return Descriptors(
        density=density,
        void_fraction=_fraction(field, 0.0),
        helium_fraction=_fraction(field, HELIUM_RADIUS),
        channel_fraction=channel,
        pocket_fraction=pocket,
        # 1 Å²/Å³ is 10⁴ m²/cm³.
        surface_per_gram=1e4 * area.channels / crystal.volume / density,
        surface_per_volume=1e4 * area.channels / crystal.volume,
        pocket_surface_per_gram=1e4 * area.pockets / crystal.volume / density,
        largest_cavity=2 * largest,
        limiting=_limiting(field),
        dimension=dimension,
        limiting_error=bound,
        probe_radius=probe_radius,
        spacing=spacing,
    )


def _check(crystal: Crystal, probe_radius: float, spacing: float) -> None:
    if not len(crystal.numbers):
        raise ValueError(
            f"`crystal` must hold atoms; {crystal.name} has 0, and no end to its pores: give a "
            f"crystal."
        )
    if not 0 <= probe_radius <= 10:
        raise ValueError(
            f"`probe_radius` must lie in [0, 10] Å; it is {probe_radius}: give a molecule's, such "
            f"as {NITROGEN_RADIUS} for nitrogen."
        )
    if not 0.02 <= spacing <= 1:
        raise ValueError(
            f"`spacing` must lie in [0.02, 1] Å; it is {spacing}: 0.2 is enough for most uses."
        )


class _Areas(NamedTuple):
    """Å² per cell."""

    channels: float
    pockets: float


def _opened(field: Clearance, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points with at least this clearance, highest first, and what `percolate` says of them."""
    values = field.values.ravel()
    order = np.flatnonzero(values >= least)
    order = order[np.argsort(-values[order], kind="stable")]
    return order, *percolate(order, field.values.shape, field.neighbours)


def _kinds(field: Clearance, probe: float) -> tuple[Int8[np.ndarray, "x y z"], int]:
    """1 in channels, 2 in pockets, 0 elsewhere; and the dimension of the channels."""
    order, _, rank = _opened(field, probe)
    kind = np.zeros(field.values.size, np.int8)
    kind[order] = np.where(rank > 0, 1, 2)
    return kind.reshape(field.values.shape), int(rank.max(initial=0))


def _limiting(field: Clearance) -> tuple[float, float, float]:
    order, first, _ = _opened(field, 0.0)
    found = np.zeros(3)
    for n, place in enumerate(first):
        if place >= 0:
            index = np.array(np.unravel_index(order[place], field.values.shape))
            value = float(field.values[tuple(index)])
            found[n] = 2 * window(field, index @ field.steps, value=value, within=field.mesh)
    one, two, three = np.minimum.accumulate(found).tolist()
    return one, two, three


def _fraction(field: Clearance, least: float) -> float:
    """Share of the volume with at least this clearance.

    Points next to the border count in part, as the clearance rises by one step in one step.
    """
    width = abs(float(np.linalg.det(field.steps))) ** (1 / 3)
    return float(np.clip(0.5 + (field.values - least) / width, 0, 1).mean())


def _volumes(
    field: Clearance, kind: Int8[np.ndarray, "x y z"], probe: float
) -> tuple[float, float]:
    """Shares of the volume in channels and in pockets, whole points' shares of the fraction."""
    channel, pocket = int((kind == 1).sum()), int((kind == 2).sum())
    each = _fraction(field, probe) / max(channel + pocket, 1)
    return channel * each, pocket * each


def _areas(
    field: Clearance,
    sizes: Float[np.ndarray, " atom"],
    kind: Int8[np.ndarray, "x y z"],
    probe: float,
    spacing: float,
) -> _Areas:
    """Of the spheres on which the probe's centre touches an atom, outside of all others."""
    radius = sizes + probe
    sphere = 4 * math.pi * radius**2
    count = max(_FEWEST_DIRECTIONS, math.ceil(float(sphere.max()) / spacing**2))
    shares = exposed_shares(
        field.place, field.radius + probe, (field.atoms, radius), _spiral(count), field.steps, kind
    )
    channels, pockets = sphere @ shares
    return _Areas(float(channels), float(pockets))


def _spiral(count: int) -> Float[np.ndarray, "direction 3"]:
    """Directions that share the sphere evenly, on a spiral that turns by the golden angle."""
    n = np.arange(count) + 0.5
    height, turn = 1 - 2 * n / count, math.pi * (1 + math.sqrt(5)) * n
    ring = np.sqrt(1 - height**2)
    return np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
