"""Electrostatics of periodic charges by Ewald's sum (1921, doi:10.1002/andp.19213690304)."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from jaxtyping import Float, Int

from idnn.adsorption.ewald_kernel import fill_screened, screened_at
from idnn.adsorption.guests import Guest
from idnn.adsorption.structures import Crystal
from idnn.runtime import in_threads
from idnn.units import COULOMB_K_A

_NARROW = 0.8
_WIDE = 0.4
_REACH = 4.2
"""α times the distance at which erfc is 3e-9."""

_SHARPEST = 4.55
"""k/2α at which exp(−k²/4α²) is 1e-9."""

_GUEST_REACH = 3.3
_GUEST_SHARPEST = 3.4
_NEUTRAL = 0.01


def require_charges(crystal: Crystal, guest: Guest) -> None:
    """Check that a host of a charged guest has charges that cancel.

    Raises:
        ValueError: it has none, or they do not; charges are never guessed.
    """
    if not guest.charged:
        return
    if crystal.charges is None:
        raise ValueError(
            f"`charges` of {crystal.name} must be given, as {guest.name} has charges; there are "
            "none: add a column _atom_site_charge to the CIF file, of zeros for a neutral host."
        )
    total = float(crystal.charges.sum())
    if abs(total) > _NEUTRAL:
        raise ValueError(
            f"`charges` of {crystal.name} must cancel to {_NEUTRAL:g} e per cell; they add up to "
            f"{total:.4g} e: spread the difference, or add the missing ions."
        )


def potential_grid(
    crystal: Crystal, shape: tuple[int, int, int], threads: int = 1
) -> Float[np.ndarray, "x y z"]:
    """The potential of the crystal's charges on a grid, over k_B (K per e); its mean is zero.

    The smooth part is a Fourier series, summed by one fast transform; α is chosen so that the
    grid resolves its last term.
    """
    steps = crystal.lattice / np.array(shape)[:, None]
    coarsest = np.linalg.norm(steps, axis=1).max()
    alpha = min(_NARROW, math.pi / (2 * _SHARPEST * coarsest))
    cutoff = _REACH / alpha
    charges = _charges(crystal)
    place, index = images_within(crystal, cutoff)
    out = np.zeros(shape)

    def fill(layer: int) -> None:
        fill_screened(place, charges[index], steps, alpha, cutoff, layer, out)

    in_threads(fill, range(shape[0]), threads)
    series = np.zeros(shape, dtype=complex)
    wave, amplitude = _series(crystal, alpha)
    np.add.at(series, tuple((wave % np.array(shape)).T), amplitude)
    smooth = np.fft.ifftn(series).real * out.size
    return COULOMB_K_A * (out + smooth - _background(crystal, alpha))


def potential_at(
    crystal: Crystal, fractional: Float[np.ndarray, "point 3"]
) -> Float[np.ndarray, " point"]:
    """The same at any points, term by term and with another α."""
    cutoff = _REACH / _WIDE
    place, index = images_within(crystal, cutoff)
    points = (fractional % 1.0) @ crystal.lattice
    near = screened_at(place, _charges(crystal)[index], _WIDE, cutoff, points)
    wave, amplitude = _series(crystal, _WIDE)
    smooth = np.zeros(len(points))
    for first in range(0, len(points), 256):
        part = slice(first, first + 256)
        angle = 2 * math.pi * fractional[part] @ wave.T
        smooth[part] = np.real(np.exp(1j * angle) @ amplitude)
    return COULOMB_K_A * (near + smooth - _background(crystal, _WIDE))


def images_within(
    crystal: Crystal, distance: float
) -> tuple[Float[np.ndarray, "image 3"], Int[np.ndarray, " image"]]:
    """Places (Å) of all atoms and images within a distance (Å) of the cell, and which they are."""
    margin = distance / crystal.widths
    place, which = [], []
    for image in product(*(range(-n, n + 1) for n in np.ceil(margin).astype(int))):
        shifted = crystal.fractional + np.array(image)
        near = ((shifted > -margin) & (shifted < 1 + margin)).all(1)
        place.append(shifted[near])
        which.append(np.flatnonzero(near))
    return np.concatenate(place) @ crystal.lattice, np.concatenate(which)


def guest_waves(
    lattice: Float[np.ndarray, "3 3"], cutoff: float
) -> tuple[float, Int[np.ndarray, "wave 3"], Float[np.ndarray, " wave"]]:
    """α (1/Å), wave numbers of half of space and their weights 4π e^{−k²/4α²}/(k²V) (1/Å).

    The part in real space has fallen to 3e-6 at the cutoff, the weights to 1e-5 at the last wave.
    """
    alpha = _GUEST_REACH / cutoff
    wave, square = _waves(lattice, 2 * alpha * _GUEST_SHARPEST)
    # Of every wave and its opposite the one that a number in a mixed base makes positive.
    half = np.sign(wave) @ np.array([9, 3, 1]) > 0
    volume = abs(float(np.linalg.det(lattice)))
    weight = 4 * math.pi / volume * np.exp(-square / (4 * alpha**2)) / square
    return alpha, wave[half], weight[half]


def alone(guest: Guest, alpha: float) -> float:
    """What Ewald's sum counts of a molecule with itself, times −1 (K)."""
    charge = np.array([site.charge for site in guest.sites])
    place = np.array([site.place for site in guest.sites])
    total = alpha / math.sqrt(math.pi) * float((charge**2).sum())
    for i in range(len(charge)):
        for j in range(i):
            r = float(np.linalg.norm(place[i] - place[j]))
            total += charge[i] * charge[j] * math.erf(alpha * r) / r
    return -COULOMB_K_A * total


def _charges(crystal: Crystal) -> Float[np.ndarray, " atom"]:
    return np.zeros(len(crystal.numbers)) if crystal.charges is None else crystal.charges


def _background(crystal: Crystal, alpha: float) -> float:
    """Potential of the even charge that neutralises what rounding left (e/Å)."""
    return math.pi / (alpha**2 * crystal.volume) * float(_charges(crystal).sum())


def _waves(
    lattice: Float[np.ndarray, "3 3"], sharpest: float
) -> tuple[Int[np.ndarray, "wave 3"], Float[np.ndarray, " wave"]]:
    """Wave numbers, and k² (1/Å²) up to a largest k, zero left out."""
    reciprocal = 2 * math.pi * np.linalg.inv(lattice).T
    most = np.floor(sharpest * np.linalg.norm(lattice, axis=1) / (2 * math.pi)).astype(int)
    axes = [np.arange(-n, n + 1) for n in most]
    wave = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    square = ((wave @ reciprocal) ** 2).sum(1)
    kept = (square > 0) & (square <= sharpest**2)
    return wave[kept], square[kept]


def _series(crystal: Crystal, alpha: float) -> tuple[Int[np.ndarray, "wave 3"], np.ndarray]:
    """Wave numbers and complex amplitudes (e/Å) of the smooth part of the potential."""
    wave, square = _waves(crystal.lattice, 2 * alpha * _SHARPEST)
    most = np.abs(wave).max(0)
    powers = [
        np.exp(-2j * math.pi * np.arange(-n, n + 1)[:, None] * crystal.fractional[:, axis])
        for axis, n in enumerate(most)
    ]
    amplitude = np.empty(len(wave), dtype=complex)
    for plane in range(-most[0], most[0] + 1):
        rows = wave[:, 0] == plane
        one = powers[1] * (powers[0][plane + most[0]] * _charges(crystal))
        both = one @ powers[2].T
        amplitude[rows] = both[wave[rows, 1] + most[1], wave[rows, 2] + most[2]]
    factor = 4 * math.pi / crystal.volume * np.exp(-square / (4 * alpha**2)) / square
    return wave, factor * amplitude
