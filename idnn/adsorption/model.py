"""A committee of networks that predicts adsorption: used in three lines, kept in one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from idnn.adsorption.elements import require_known
from idnn.adsorption.environments import Environments, environments
from idnn.adsorption.features import FieldSettings, all_knowns
from idnn.adsorption.network import AttentionNetwork, AttentionSettings, padded
from idnn.adsorption.structures import Crystal
from idnn.adsorption.training import Samples, outputs


@dataclass(frozen=True, eq=False)
class Scale:
    """Numbers in columns to order one, and back."""

    mean: Float[Tensor, " column"]
    deviation: Float[Tensor, " column"]

    @staticmethod
    def of(values: Float[np.ndarray, "row column"]) -> Scale:
        """Of mean 0 and deviation 1, those missing left out; columns of one value are kept."""
        deviation = np.nanstd(values, 0)
        deviation = np.where(deviation > 1e-9, deviation, 1.0)
        pair = (np.nanmean(values, 0), deviation)
        return Scale(*(torch.tensor(x, dtype=torch.float32) for x in pair))

    def down(self, values: Float[np.ndarray, "row column"]) -> Float[Tensor, "row column"]:
        """Scaled."""
        return (torch.tensor(values, dtype=torch.float32) - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model says of crystals.

    Attributes:
        names: of the crystals.
        targets: names of the columns.
        values: the committee's mean, in the units of the table that it learned from.
        stderr: its spread, scaled to cover the error on crystals it had not seen.
        unseen: elements of each crystal of which no crystal that was learned from had any.
    """

    names: tuple[str, ...]
    targets: tuple[str, ...]
    values: Float[np.ndarray, "crystal target"]
    stderr: Float[np.ndarray, "crystal target"]
    unseen: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class AtomContributions:
    """A prediction taken apart.

    Attributes:
        targets: names of the columns.
        sites: what each atom of the cell adds; with `rest` they sum to the prediction.
        rest: what belongs to no atom.
        attention: of the readout to each atom of the cell, by member, layer and head.
    """

    targets: tuple[str, ...]
    sites: Float[np.ndarray, "site target"]
    rest: Float[np.ndarray, " target"]
    attention: Float[np.ndarray, "member layer head site"]


@dataclass(frozen=True, eq=False)
class AdsorptionModel:
    """Networks of one shape that learned the same crystals from different random weights.

    Attributes:
        targets: what is predicted.
        members: the networks; what they say beyond the targets was for their training.
        settings: their shape.
        field: of a guest's energies among what is known of a crystal; None: none is.
        knowns: scale of what is known of a crystal as a whole.
        wanted: scale of the outputs.
        spread: by target, the factor on the members' deviation.
        elements: atomic numbers in the crystals that were learned.
        card: what it learned from, and its errors.
    """

    targets: tuple[str, ...]
    members: tuple[AttentionNetwork, ...]
    settings: AttentionSettings
    field: FieldSettings | None
    knowns: Scale
    wanted: Scale
    spread: Float[np.ndarray, " target"]
    elements: tuple[int, ...]
    card: Mapping[str, Any]

    def predict(
        self,
        crystals: Mapping[str, Crystal],
        *,
        at_once: int = 64,
        observe: Callable[[int], None] | None = None,
    ) -> Predictions:
        """Values with uncertainties, the same for every cell of a crystal.

        Args:
            crystals: by name.
            at_once: crystals held in memory together.
            observe: told the number of crystals done.

        Raises:
            ValueError: a crystal has no atoms, elements that no network knows, or some that the
                field's force field lacks.
        """
        names, found = list(crystals), []
        for first in range(0, len(names), at_once):
            part = [crystals[name] for name in names[first : first + at_once]]
            found.append(self._outputs(part))
            if observe is not None:
                observe(first + len(part))
        values = torch.cat(found, 1).double().numpy() if found else np.zeros((2, 0, self._count))
        return Predictions(
            names=tuple(names),
            targets=self.targets,
            values=values.mean(0),
            stderr=values.std(0, ddof=1) * self.spread,
            unseen=tuple(self._unseen(crystal) for crystal in crystals.values()),
        )

    def contributions(self, crystal: Crystal) -> AtomContributions:
        """What each atom adds to the prediction, and what the readout attends to."""
        around, known = self._seen([crystal])
        atoms = padded(around)
        parts = [member.eval().contributions(atoms, known) for member in self.members]
        scale, mean = self.wanted.deviation[: self._count], self.wanted.mean[: self._count]
        of_class = torch.stack([p.atoms[0, :, : self._count] for p in parts]).mean(0) * scale
        rest = torch.stack([p.rest[0, : self._count] for p in parts]).mean(0) * scale + mean
        attention = torch.stack([p.attention[0] for p in parts]).double().numpy()
        member = around[0].member
        equal = np.bincount(member)[member]
        return AtomContributions(
            targets=self.targets,
            sites=of_class.double().numpy()[member] / equal[:, None],
            rest=rest.double().numpy(),
            attention=attention[..., member] / equal,
        )

    @property
    def _count(self) -> int:
        return len(self.targets)

    @torch.no_grad()
    def _outputs(self, crystals: Sequence[Crystal]) -> Float[Tensor, "member crystal target"]:
        around, known = self._seen(crystals)
        samples = Samples(tuple(around), known, known.new_empty(len(crystals), 0))
        raw = torch.stack([outputs(member.eval(), samples) for member in self.members])
        return (raw * self.wanted.deviation + self.wanted.mean)[..., : self._count]

    def _seen(
        self, crystals: Sequence[Crystal]
    ) -> tuple[list[Environments], Float[Tensor, "crystal known"]]:
        for crystal in crystals:
            require_known(crystal)
        around = [environments(crystal, self.settings.windows) for crystal in crystals]
        return around, self.knowns.down(all_knowns(crystals, self.field))

    def _unseen(self, crystal: Crystal) -> tuple[str, ...]:
        from pymatgen.core.periodic_table import Element

        new = sorted(set(crystal.numbers.tolist()) - set(self.elements))
        return tuple(Element.from_Z(z).symbol for z in new)
