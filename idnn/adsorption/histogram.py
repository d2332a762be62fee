"""How the energies of a guest in its host are distributed: a descriptor of length fixed by bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class EnergyHistogram:
    """Shares of a cell's volume by energy, and what each adds to a Henry coefficient.

    Attributes:
        edges: of the bins (K), rising; two more bins lie below the first and above the last edge.
        volume: share of the volume in each bin, from the lowest energies up. They add up to 1.
        boltzmann: mean over the cell of e^{−U/kT} where U lies in the bin and of 0 elsewhere. They
            add up to the mean of e^{−U/kT}, to which a Henry coefficient is proportional.
        temperature: of these (K).
    """

    edges: Float[np.ndarray, " edge"]
    volume: Float[np.ndarray, " bin"]
    boltzmann: Float[np.ndarray, " bin"]
    temperature: float


def boltzmann_edges(
    temperature: float, *, lowest: float = -12.0, highest: float = 2.0, width: float = 1.0
) -> Float[np.ndarray, " edge"]:
    """Edges (K) of bins that tell apart what matters at a temperature.

    Small molecules lie 5 to 12 kT deep in porous crystals at room temperature; above 2 kT a place
    counts for less than a seventh of an empty one.

    Args:
        temperature: K.
        lowest: first edge (kT).
        highest: last edge (kT), or less by a part of a width.
        width: of the bins (kT).

    Raises:
        ValueError: a temperature or a width that is not positive, or edges that do not rise.
    """
    for name, value, unit in (("temperature", temperature, "K"), ("width", width, "kT")):
        if not 0 < value < np.inf:
            raise ValueError(f"`{name}` must be finite and positive ({unit}); it is {value}.")
    if not -np.inf < lowest < highest < np.inf:
        raise ValueError(
            f"`highest` must be finite and above `lowest` ({lowest} kT); it is {highest} kT: swap "
            f"them if they are the wrong way round."
        )
    count = int((highest - lowest) / width + 1e-9)
    return temperature * (lowest + width * np.arange(count + 1))


def energy_histogram(
    energies: Float[np.ndarray, "*grid"],
    *,
    temperature: float,
    edges: Float[np.ndarray, " edge"] | None = None,
) -> EnergyHistogram:
    """Histogram of energies on points that share the cell's volume evenly.

    Args:
        energies: of one site of a guest (K), such as `values[0]` of a `HostField`.
        temperature: K.
        edges: of bins (K), those of `boltzmann_edges` unless given.

    Raises:
        ValueError: no energies, one that is not a number, a temperature that is not positive, or
            edges that do not rise.
    """
    if edges is None:
        edges = boltzmann_edges(temperature)
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` must be finite and positive (K); it is {temperature}.")
    if not (len(edges) and np.isfinite(edges).all() and (np.diff(edges) > 0).all()):
        raise ValueError(f"`edges` must be finite and rise (K); they are {edges}: sort them.")
    values = np.asarray(energies, dtype=float).ravel()
    if not len(values) or np.isnan(values).any():
        raise ValueError(
            f"`energies` must be numbers; {np.isnan(values).sum()} of {len(values)} are not: give "
            f"the field of one site on a grid."
        )
    which = np.searchsorted(edges, values, side="right")
    bins = len(edges) + 1
    weight = np.exp(-values / temperature)
    return EnergyHistogram(
        edges=edges,
        volume=np.bincount(which, minlength=bins) / len(values),
        boltzmann=np.bincount(which, weight, bins) / len(values),
        temperature=temperature,
    )
