"""A Hamiltonian as the torch kernel reads it: classes of sites that change together."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from sampling.hamiltonian import ClusterHamiltonian
from sampling.kernels.colour import colour

_CARRY = 255  # clusters that a byte can count


class Term(NamedTuple):
    """Clusters of one orbit around the sites of a class.

    Attributes:
        slope: flip cost per odd cluster, in quanta.
        others: int32 [other, site, cluster], other sites as rows of the board.
    """

    slope: int
    others: Tensor


class SiteClass(NamedTuple):
    """Sites that may change together: rows `first` to `first + sites` of the board.

    Filling one of them all of whose clusters are even costs `offset` quanta.
    """

    first: int
    sites: int
    sublattice: int
    offset: int
    terms: tuple[Term, ...]


@dataclass(frozen=True, eq=False)
class Tables:
    """A Hamiltonian as the kernel reads it, on one device.

    Attributes:
        order: the box's sites class by class; their places are the rows of the board.
        classes: what changes together.
        quantum: eV.
        sites_per_sublattice: N_s.
        sublattices: d.
    """

    order: Int64[Tensor, " site"]
    classes: tuple[SiteClass, ...]
    quantum: float
    sites_per_sublattice: int
    sublattices: int


def tables(hamiltonian: ClusterHamiltonian, device: torch.device | str = "cpu") -> Tables:
    """The Hamiltonian's tables on a device, point clusters folded into the offset.

    They take four bytes per site and other site of its clusters.
    """
    box, colours = hamiltonian.supercell, colour(hamiltonian)
    order = np.argsort(colours, kind="stable")
    row = np.argsort(order).astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(colours))]).tolist()
    return Tables(
        order=torch.from_numpy(order).to(device),
        classes=tuple(
            _site_class(hamiltonian, order, first, last, row, device)
            for first, last in pairwise(bounds)
        ),
        quantum=hamiltonian.quantum,
        sites_per_sublattice=box.sites_per_sublattice,
        sublattices=box.system.dimension,
    )


def _site_class(
    hamiltonian: ClusterHamiltonian,
    order: np.ndarray,
    first: int,
    last: int,
    row: np.ndarray,
    device: torch.device | str,
) -> SiteClass:
    box = hamiltonian.supercell
    sublattice = int(box.sublattice[order[first]])
    cells = order[first:last] - sublattice * box.sites_per_sublattice
    terms = []
    for orbit in hamiltonian.orbits:
        if orbit.order > 1 and orbit.rows[sublattice] > 0:
            others = row[orbit.others[sublattice][cells]]
            by_other = torch.from_numpy(np.ascontiguousarray(np.moveaxis(others, -1, 0)))
            terms += [
                Term(4 * orbit.quanta, part.contiguous().to(device))
                for part in by_other.split(_CARRY, dim=2)
            ]
    return SiteClass(
        first=first,
        sites=last - first,
        sublattice=sublattice,
        offset=sum(-2 * orbit.quanta * orbit.rows[sublattice] for orbit in hamiltonian.orbits),
        terms=tuple(terms),
    )
