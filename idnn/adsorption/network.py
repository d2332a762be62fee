"""Attention over the atoms of a crystal: windows of distance, periodic, blind to cell and frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from idnn.adsorption.elements import element_properties
from idnn.adsorption.environments import Environments, Windows

_RIDGE = 0.1
_NONE = 1e-9
"""A weight so small that nothing comes of it."""


@dataclass(frozen=True, kw_only=True)
class AttentionSettings:
    """Shape of a network.

    Attributes:
        width: numbers that each atom carries.
        layers: of attention.
        windows: one head each; one more head sees all atoms of the crystal alike.
    """

    width: int = 64
    layers: int = 3
    windows: Windows = field(default_factory=Windows)

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: no layers, or a width that the heads do not divide.
        """
        if self.layers < 1:
            raise ValueError(f"`layers` must be at least 1; it is {self.layers}.")
        if self.width < 1 or self.width % self.heads:
            raise ValueError(
                f"`width` must be a multiple of the {self.heads} heads, one per window and one "
                f"for the whole crystal; it is {self.width}."
            )

    @property
    def heads(self) -> int:
        """Of each layer."""
        return len(self.windows.reaches) + 1


@dataclass(frozen=True, eq=False)
class Atoms:
    """Crystals side by side, those with fewer atoms padded by atoms of no share.

    Attributes:
        numbers: atomic numbers, zero for padding.
        share: of all atoms of the crystal.
        shells: as in `Environments`.
    """

    numbers: Int[Tensor, "crystal atom"]
    share: Float[Tensor, "crystal atom"]
    shells: Float[Tensor, "crystal atom atom shell"]


@dataclass(frozen=True, eq=False)
class Contributions:
    """What a network makes of crystals, and of which of their atoms.

    Attributes:
        outputs: of each crystal.
        atoms: what each atom adds; with `rest` they sum to the outputs.
        rest: what belongs to no atom.
        attention: of the readout to each atom, by layer and head; what is left to 1 it pays to
            itself.
    """

    outputs: Float[Tensor, "crystal output"]
    atoms: Float[Tensor, "crystal atom output"]
    rest: Float[Tensor, "crystal output"]
    attention: Float[Tensor, "crystal layer head atom"]


class AttentionNetwork(nn.Module):
    """Outputs of a crystal from its atoms.

    Atom i of head h takes from atom j, an equivalence class of atoms with all periodic images,
    a_ij ∝ g_ij exp(q_i·k_j/√d), with g_ij = Σ_images Σ_n exp(c_n) φ_n(r), φ_n the splines of the
    head's window: a sum over images that is as smooth as they are, and the same for every cell of
    the crystal. The score is thus q_i·k_j/√d + log g_ij. The last head has g_ij = share of j. One
    more token, the readout, is seen by and sees the atoms in all heads; a weight learned for it
    makes the number of neighbours known. It begins as what is known of the crystal as a whole. An
    output is one network of the readout and one of each atom, averaged, so that each atom's
    contribution is known exactly.

    After the multi-scale attention of Cui et al. (2023, doi:10.1038/s41467-023-42863-6), which has
    absolute positions where this has periodic distances.
    """

    elements: Tensor

    def __init__(
        self, settings: AttentionSettings, *, knowns: int, outputs: int, seed: int = 0
    ) -> None:
        """Random weights.

        Args:
            settings: shape.
            knowns: numbers given of each crystal as a whole.
            outputs: numbers wanted.
            seed: of the weights.
        """
        super().__init__()
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            table = torch.tensor(element_properties(), dtype=torch.float32)
            self.register_buffer("elements", table)
            width = settings.width
            self.embed = nn.Sequential(
                nn.Linear(table.shape[1], width), nn.SiLU(), nn.Linear(width, width)
            )
            self.begin = nn.Linear(knowns, width)
            self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
            self.of_atoms = _head(width, outputs)
            self.of_readout = _head(width, outputs)
            self.of_knowns = nn.Linear(knowns, outputs, bias=False)

    @torch.no_grad()
    def begin_linear(
        self, knowns: Float[Tensor, "crystal known"], wanted: Float[Tensor, "crystal output"]
    ) -> None:
        """Let what is known predict all that it can by a linear law; training goes on from there.

        Ridge regression of outputs whose deviation is one, a prior of that deviation on each
        weight and an error of a third of it on each output; those missing count as the mean.
        """
        square = knowns.mT @ knowns + _RIDGE * torch.eye(knowns.shape[1], device=knowns.device)
        weight = torch.linalg.solve(square, knowns.mT @ wanted.nan_to_num())
        self.of_knowns.weight.copy_(weight.mT)

    def forward(
        self, atoms: Atoms, knowns: Float[Tensor, "crystal known"]
    ) -> Float[Tensor, "crystal output"]:
        """Outputs of each crystal."""
        x = self._last(atoms, knowns)
        per_atom = torch.einsum("ba,bao->bo", atoms.share, self.of_atoms(x[:, 1:]))
        return per_atom + self._rest(x, knowns)

    @torch.no_grad()
    def contributions(self, atoms: Atoms, knowns: Float[Tensor, "crystal known"]) -> Contributions:
        """Outputs, taken apart."""
        attention: list[Tensor] = []
        x = self._last(atoms, knowns, attention)
        per_atom = atoms.share[..., None] * self.of_atoms(x[:, 1:])
        rest = self._rest(x, knowns)
        of_readout = torch.stack([a[:, :, 0, 1:] for a in attention], 1)
        return Contributions(per_atom.sum(1) + rest, per_atom, rest, of_readout)

    def _last(
        self, atoms: Atoms, knowns: Tensor, attention: list[Tensor] | None = None
    ) -> Float[Tensor, "crystal token width"]:
        x = torch.cat([self.begin(knowns)[:, None], self.embed(self.elements[atoms.numbers])], 1)
        for layer in self.layers:
            x = layer(x, atoms, attention)
        return x

    def _rest(self, x: Tensor, knowns: Tensor) -> Float[Tensor, "crystal output"]:
        return self.of_readout(x[:, 0]) + self.of_knowns(knowns)


class Layer(nn.Module):
    """Attention and a network of each token, both added to what was there."""

    def __init__(self, settings: AttentionSettings) -> None:
        super().__init__()
        width, windows = settings.width, settings.windows
        self.heads = settings.heads
        self.before = nn.LayerNorm(width)
        self.mixed = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.radial = nn.Parameter(torch.zeros(len(windows.reaches), windows.functions))
        self.to_readout = nn.Parameter(torch.zeros(self.heads))
        self.alone = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.SiLU(),
            nn.Linear(2 * width, width),
        )

    def forward(
        self,
        x: Float[Tensor, "crystal token width"],
        atoms: Atoms,
        attention: list[Tensor] | None = None,
    ) -> Float[Tensor, "crystal token width"]:
        mixed = self.mixed(self.before(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        score = query @ key.mT / query.shape[-1] ** 0.5 + self._log_weights(atoms)
        paid = score.softmax(-1)
        if attention is not None:
            attention.append(paid)
        x = x + self.out((paid @ value).transpose(1, 2).flatten(-2))
        return x + self.alone(x)

    def _log_weights(self, atoms: Atoms) -> Float[Tensor, "crystal head token token"]:
        """Of every token for every other."""
        crystals, count = atoms.numbers.shape
        # One product for all heads, of a matrix with a block for each.
        blocks = torch.block_diag(*self.radial.exp()[:, :, None])
        near = (atoms.shells @ blocks).movedim(-1, 1)
        share = atoms.share[:, None, None]
        whole = share.expand(crystals, 1, count, count)
        of_readout = share.expand(crystals, self.heads, 1, count)
        to_atoms = (torch.cat([of_readout, torch.cat([near, whole], 1)], 2) + _NONE).log()
        to_readout = self.to_readout[:, None, None].expand(crystals, self.heads, count + 1, 1)
        return torch.cat([to_readout, to_atoms], 3)


def padded(crystals: Sequence[Environments], device: torch.device | str = "cpu") -> Atoms:
    """Crystals side by side."""
    most = max(len(c.numbers) for c in crystals)
    shells = crystals[0].shells.shape[-1]
    numbers = np.zeros((len(crystals), most), np.int64)
    share = np.zeros((len(crystals), most), np.float32)
    around = np.zeros((len(crystals), most, most, shells), np.float32)
    for row, crystal in enumerate(crystals):
        n = len(crystal.numbers)
        numbers[row, :n] = crystal.numbers
        share[row, :n] = crystal.share
        around[row, :n, :n] = crystal.shells
    tensors = (torch.from_numpy(a).to(device) for a in (numbers, share, around))
    return Atoms(*tensors)


def of_similar_size(sizes: Sequence[int]) -> list[Int[np.ndarray, " row"]]:
    """Rows in groups, in each of which the largest size is little more than the smallest."""
    order = np.argsort(sizes, kind="stable")
    groups: list[list[int]] = []
    for row in order:
        if not groups or sizes[row] > 1.4 * sizes[groups[-1][0]] + 4:
            groups.append([])
        groups[-1].append(int(row))
    return [np.array(group) for group in groups]


def _head(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs)
    )
