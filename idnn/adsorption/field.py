"""The energy of a guest's sites in a rigid host: exact, on a grid, and interpolated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import spline_filter

from idnn.adsorption.ewald import (
    images_within,
    potential_at,
    potential_grid,
    require_charges,
)
from idnn.adsorption.field_kernel import (
    BLOCK,
    CEILING,
    Atoms,
    exact_energies,
    fill_layers,
    interpolate_all,
)
from idnn.adsorption.forcefield import ForceField, host_pairs
from idnn.adsorption.guests import Guest, Site
from idnn.adsorption.structures import Crystal
from idnn.runtime import in_threads

_FEWEST_POINTS = 8


@dataclass(frozen=True, eq=False)
class HostField:
    """Energies of a guest's sites on a grid that divides the host's cell.

    Attributes:
        crystal: the host.
        force: its force field.
        guest: the molecule.
        values: K, by kind of site.
        coefficients: of the periodic cubic B-spline through them, with one row of the next cell
            before and two after; above 3000 K of 3000 K (1 + ln(U/3000 K)) instead.
    """

    crystal: Crystal
    force: ForceField
    guest: Guest
    values: Float32[np.ndarray, "kind x y z"]
    coefficients: Float32[np.ndarray, "kind x3 y3 z3"]

    @property
    def points(self) -> tuple[int, int, int]:
        """Grid points along a, b and c."""
        _, x, y, z = self.values.shape
        return x, y, z

    def __call__(
        self, kind: int, fractional: Float[np.ndarray, "point 3"]
    ) -> Float[np.ndarray, " point"]:
        """Interpolated energies (K) of one kind of site."""
        return interpolate_all(self.coefficients[kind], fractional % 1.0 % 1.0)


@dataclass(frozen=True)
class InterpolationError:
    """What interpolation adds to the energies that matter at a temperature.

    Attributes:
        rms: root of the Boltzmann-weighted mean square error (K).
        bias: relative error of the mean Boltzmann factor, hence of a Henry coefficient.
    """

    rms: float
    bias: float


def host_field(
    crystal: Crystal, force: ForceField, guest: Guest, *, spacing: float = 0.2, threads: int = 1
) -> HostField:
    """The energies of all kinds of sites on a grid.

    Args:
        crystal: the host.
        force: its force field.
        guest: the molecule.
        spacing: largest distance between neighbouring points (Å).
        threads: that share the work.

    Raises:
        ValueError: a spacing that is not positive, an element without parameters, or a charged
            guest in a host whose charges are not given or do not cancel.
    """
    require_charges(crystal, guest)
    shape = _shape(crystal, spacing)
    values = np.stack([_on_grid(crystal, force, site, shape, threads) for site in guest.kinds])
    if guest.charged and np.any(crystal.charges):
        potential = potential_grid(crystal, shape, threads)
        charges = np.array([site.charge for site in guest.kinds])
        values += (charges[:, None, None, None] * potential).astype(np.float32)
    coefficients = np.stack([_spline(grid) for grid in values])
    return HostField(crystal, force, guest, values, coefficients)


def site_energies(
    crystal: Crystal, force: ForceField, site: Site, *, spacing: float, threads: int = 1
) -> Float32[np.ndarray, "x y z"]:
    """Energies (K) of one site on a grid, by its Lennard-Jones potential alone.

    Args:
        crystal: the host.
        force: its force field.
        site: of a guest.
        spacing: largest distance between neighbouring points (Å).
        threads: that share the work.

    Raises:
        ValueError: a spacing that is not positive, or an element without parameters.
    """
    return _on_grid(crystal, force, site, _shape(crystal, spacing), threads)


def exact_energy(
    crystal: Crystal, force: ForceField, site: Site, fractional: Float[np.ndarray, "point 3"]
) -> Float[np.ndarray, " point"]:
    """Energies (K) of a site, summed atom by atom and, for charges, wave by wave."""
    atoms, tail = images(crystal, force, site)
    points = (fractional % 1.0) @ crystal.lattice
    energy = exact_energies(atoms, points, force.cutoff) + tail
    if site.charge and crystal.charges is not None:
        energy += site.charge * potential_at(crystal, fractional)
    return energy


def interpolation_error(
    field: HostField, *, temperature: float, points: int = 4000, seed: int = 0
) -> tuple[InterpolationError, ...]:
    """Interpolated against exact energies at random points, for each kind of site."""
    fractional = np.random.default_rng(seed).random((points, 3))
    found = []
    for kind, site in enumerate(field.guest.kinds):
        exact = exact_energy(field.crystal, field.force, site, fractional)
        error = field(kind, fractional) - exact
        weight = np.exp(-exact / temperature)
        added = np.exp(-(exact + error) / temperature) - weight
        total = weight.sum()
        rms = math.sqrt(float((weight * error**2).sum() / total))
        found.append(InterpolationError(rms, float(added.sum() / total)))
    return tuple(found)


def images(crystal: Crystal, force: ForceField, site: Site) -> tuple[Atoms, float]:
    """Atoms within the cutoff of the cell, and the energy (K) of those beyond on the average."""
    pairs = host_pairs(force, crystal, site)
    place, index = images_within(crystal, force.cutoff)
    atoms = Atoms(
        place=place,
        four_epsilon=4 * pairs.epsilon[index],
        sigma2=pairs.sigma[index] ** 2,
        shift=pairs.shift[index],
    )
    return atoms, float(pairs.tail.sum()) / crystal.volume


def _shape(crystal: Crystal, spacing: float) -> tuple[int, int, int]:
    """Points along the edges: even numbers, so that every other point is a grid of its own.

    The difference of those grids is an error bar.
    """
    if not 0 < spacing <= 1:
        raise ValueError(f"`spacing` must lie in (0, 1] Å; it is {spacing}.")
    lengths = np.linalg.norm(crystal.lattice, axis=1)
    x, y, z = (max(_FEWEST_POINTS, 2 * math.ceil(n / spacing / 2)) for n in lengths)
    return x, y, z


def _on_grid(
    crystal: Crystal, force: ForceField, site: Site, shape: tuple[int, int, int], threads: int
) -> Float32[np.ndarray, "x y z"]:
    atoms, tail = images(crystal, force, site)
    out = np.empty(shape, np.float32)

    def fill(layer: int) -> None:
        fill_layers(atoms, crystal.lattice, force.cutoff, (layer, layer + 1), out)

    in_threads(fill, range(math.ceil(shape[0] / BLOCK)), threads)
    return out + np.float32(tail)


def _spline(values: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "x3 y3 z3"]:
    high = np.maximum(values, CEILING)
    gentle = np.where(values > CEILING, CEILING * (1 + np.log(high / CEILING)), values)
    coefficients = spline_filter(gentle, order=3, output=np.float64, mode="grid-wrap")
    return np.pad(coefficients, ((1, 2),) * 3, mode="wrap").astype(np.float32)
