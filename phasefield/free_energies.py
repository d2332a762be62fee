"""Learned free energies, and where a free energy is defined."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from idnn.checkpoint import load, read_header
from idnn.free_energy import FreeEnergy
from idnn.order_parameters import System
from phasefield.team import ALONE, Team
from phasefield.whereabouts import cell_of_largest


@runtime_checkable
class Bounded(Protocol):
    """Something that knows for which η a free energy has a meaning (an `idnn` System does)."""

    def admissible(self, eta: Float[Tensor, "*batch d"]) -> Bool[Tensor, "*batch"]: ...


def require_admissible(
    u: Float[Tensor, "field *space"], domain: Bounded, team: Team = ALONE, first_plane: int = 0
) -> None:
    """Raise `ValueError` unless the fields are admissible in every cell.

    Args:
        u: fields, those of one process where a team shares them.
        domain: says which are admissible.
        team: shares the fields along x.
        first_plane: index along x of the first cells of `u`.
    """
    bad = ~domain.admissible(u.movedim(0, -1))
    count, cells = team.sum(torch.tensor([int(bad.sum()), bad.numel()])).tolist()
    if count:
        raise ValueError(
            f"`initial` must keep every sublattice fraction in [0, 1]: {count} of {cells} cells "
            f"do not; first, {cell_of_largest(bad, u, team, first_plane)}. "
            "Lower the noise or the order parameters of the nuclei."
        )


@dataclass(frozen=True, eq=False)
class LearnedEnergy:
    """A free energy read from a file, with what is needed to trace it.

    Attributes:
        f: the energy, eV/site.
        system: the crystal whose order parameters it takes.
        sha256: of the model file.
        data_hash: of the data it was trained on.
    """

    f: FreeEnergy
    system: System
    sha256: str
    data_hash: str


def load_energy(
    path: Path,
    *,
    member: int | None = None,
    floor: float | None = None,
    device: torch.device | None = None,
) -> LearnedEnergy:
    """Read a network written by `idnn.checkpoint.save_network`.

    Args:
        path: of the file.
        member: one network of the committee; None for their mean.
        floor: site fraction below which ideal mixing is continued; None as in training.
        device: where it is evaluated; None for the CPU.

    Raises:
        FileNotFoundError: there is no file.
        ValueError: the committee has no such member, or was trained with a higher floor.
        BadModelFile: it is truncated, of another format or of an unknown system.
    """
    header = read_header(path)
    network = load(path)
    if member is not None:
        if not 0 <= member < network.members:
            raise ValueError(f"`member` must lie in [0, {network.members - 1}]; it is {member}.")
        network = network.member(member).requires_grad_(False)
    if floor is not None:
        network = network.with_floor(floor)
    return LearnedEnergy(
        f=network.to(device),
        system=network.system,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        data_hash=header["data_hash"],
    )
