"""Ostwald ripening of balls that do not move, by diffusion between sharp interfaces.

Composition in the matrix, above that of the tie-line, is w = w̄ + Σⱼ Bⱼ g(x − xⱼ) with the periodic
Green's function g of −∇²g = 4π(δ − 1/V) and mean zero; w = Γ/Rᵢ at every surface, Γ the capillary
length of composition, gives the Bⱼ, and d(Rᵢ³)/dt = −3DBᵢ/(c′ − c). w̄ follows from what is in the
balls. Point sources are what Akaiwa & Voorhees (1994, doi:10.1103/PhysRevE.49.3860) find enough up
to a tenth of the volume. An independent referee of the phase field, with its volume fraction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import erfc

SELF = -2.837297479
"""g − 1/r at its own point, of a cube of edge 1."""

GONE = 1e-3
"""R³ of a ball that is gone, of the mean of all at the start."""


@dataclass(frozen=True)
class Alloy:
    """What the rates depend on.

    Attributes:
        diffusivity: D, nm²/s.
        capillary: Γ, nm.
        gap: c′ − c.
    """

    diffusivity: float
    capillary: float
    gap: float

    @property
    def lsw_rate(self) -> float:
        """K of ⟨R⟩³ = Kt at vanishing volume fraction, nm³/s."""
        return 4 / 9 * self.diffusivity * self.capillary / self.gap


def green(centres: np.ndarray, edge: float) -> np.ndarray:
    """G of every two centres [ball, 3] in a cube, by Ewald's sum; on the diagonal g − 1/r."""
    x = centres / edge
    apart = x[:, None] - x[None]
    apart -= np.round(apart)
    alpha, reach = 5.0, 6
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    r = np.linalg.norm(apart[:, :, None] + images, axis=-1)
    r[r == 0] = np.inf
    g = (erfc(alpha * r) / r).sum(-1)
    n = np.arange(-reach, reach + 1)
    k = 2 * np.pi * np.stack(np.meshgrid(n, n, n, indexing="ij"), -1).reshape(-1, 3)
    k = k[(k != 0).any(1)]
    k2 = (k**2).sum(1)
    phase = np.exp(1j * x @ k.T)
    weight = 4 * np.pi / k2 * np.exp(-k2 / (4 * alpha**2))
    g += np.real((phase * weight) @ phase.conj().T) - np.pi / alpha**2
    np.fill_diagonal(g, SELF)
    return g / edge


def balanced(alloy: Alloy, centres: np.ndarray, radii: np.ndarray, edge: float) -> float:
    """The w̄ at which balls gain as much as they lose: ΣBⱼ = 0."""
    inverse = np.linalg.inv(green(centres, edge) + np.diag(1 / radii))
    return float(alloy.capillary * (inverse @ (1 / radii)).sum() / inverse.sum())


def ripen(
    alloy: Alloy,
    centres: np.ndarray,
    radii: np.ndarray,
    edge: float,
    times: Sequence[float],
    supersaturation: float = 0.0,
) -> list[np.ndarray]:
    """Radii (nm) of the balls that are left at each of `times` (s).

    Args:
        alloy: see there.
        centres: nm [ball, 3].
        radii: nm.
        edge: of the cube, nm.
        times: increasing.
        supersaturation: w̄ of the matrix at the start.
    """
    everything = green(centres, edge)
    alive, cubes, solute = np.arange(len(radii)), radii**3, (radii**3).sum()
    volume, gone, now, found = edge**3, GONE * float((radii**3).mean()), 0.0, []
    dissolved = supersaturation * (volume - 4 * np.pi / 3 * solute)

    def rate(_: float, cubes: np.ndarray) -> np.ndarray:
        r = np.cbrt(np.maximum(cubes, gone / 8))
        matrix = everything[np.ix_(alive, alive)] + np.diag(1 / r)
        content = 4 * np.pi / 3 * cubes.sum()
        released = alloy.gap * (4 * np.pi / 3 * solute - content)
        mean = (dissolved + released) / (volume - content)
        b = np.linalg.solve(matrix, alloy.capillary / r - mean)
        return -3 * alloy.diffusivity * b / alloy.gap

    def smallest(_: float, cubes: np.ndarray) -> float:
        return float(cubes.min()) - gone

    smallest.terminal = True  # pyright: ignore[reportFunctionMemberAccess]
    for time in times:
        while now < time:
            part = solve_ivp(rate, (now, time), cubes, events=smallest, rtol=1e-5, atol=gone / 10)
            now, cubes = float(part.t[-1]), part.y[:, -1]
            left = cubes > gone * (1 + 1e-6) if part.status == 1 else cubes > 0
            alive, cubes = alive[left], cubes[left]
        found.append(np.cbrt(cubes))
    return found
