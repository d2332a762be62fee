"""Measured rejections, checked."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.checks import require_finite, require_positive, require_shape
from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import Water
from idnn.nanopore.solutions import NEUTRAL, require_neutral


@dataclass(frozen=True, eq=False, kw_only=True)
class Measurements:
    """Rejections of membranes in feeds, at known flux or pressure.

    Attributes:
        ions: of the feed.
        feed: c in mol/m³, neutral.
        membrane: the number of each case's, from zero.
        measured: ions whose rejections are known; that of one is best left out, for it follows from
            neutrality.
        rejection: observed, as parts of one.
        sigma: its standard error, as parts of one.
        flux: J_v in m/s; give it or `pressure`.
        pressure: ΔP in Pa.

    Raises:
        ValueError: an ion is unknown; a rejection is above one or not finite; the feed, or a
            permeate of which all is known, cannot be neutral; the pressure is below the osmotic
            one; a number is not positive or of the wrong shape.
    """

    ions: Ions
    feed: Float[Tensor, "case ion"]
    membrane: Int[Tensor, " case"]
    measured: tuple[str, ...]
    rejection: Float[Tensor, "case measured"]
    sigma: Float[Tensor, "case measured"]
    flux: Float[Tensor, " case"] | None = None
    pressure: Float[Tensor, " case"] | None = None

    def __post_init__(self) -> None:
        self._require_shapes()
        require_positive("feed", self.feed)
        require_neutral("feed", self.feed, self.ions)
        require_positive("sigma", self.sigma)
        require_finite("rejection", self.rejection)
        require_positive(self.driving, self.rows["driven"])
        self._require_passing()
        if len(self.measured) >= len(self.ions.names) - 1:
            self._require_possible()

    @property
    def driving(self) -> str:
        """Which of flux and pressure is given."""
        return "flux" if self.pressure is None else "pressure"

    @property
    def membranes(self) -> int:
        """How many there are."""
        return int(self.membrane.max()) + 1

    @property
    def rows(self) -> dict[str, Tensor]:
        """All that belongs to cases."""
        driven = self.flux if self.pressure is None else self.pressure
        assert driven is not None
        names = ("feed", "membrane", "rejection", "sigma")
        return {name: getattr(self, name) for name in names} | {"driven": driven}

    def at(self, cases: Tensor) -> Measurements:
        """Some cases only, by number; the numbers of membranes stay."""
        rows = {name: value[cases] for name, value in self.rows.items()}
        rows[self.driving] = rows.pop("driven")
        return Measurements(ions=self.ions, measured=self.measured, **rows)

    def permeate(self) -> Float[Tensor, "case ion"]:
        """c_p in mol/m³, where all rejections but one are measured; that one by neutrality."""
        known = {n: 1 - self.rejection[:, i] for i, n in enumerate(self.measured)}
        none = torch.zeros_like(self.feed[:, 0])
        passed = torch.stack([known.get(n, none) for n in self.ions.names], 1) * self.feed
        missing = torch.tensor([n not in known for n in self.ions.names])
        charge = (passed * self.ions.charge).sum(1, keepdim=True)
        return torch.where(missing, -charge / self.ions.charge, passed)

    def _require_shapes(self) -> None:
        if (self.pressure is None) == (self.flux is None):
            given = "neither" if self.pressure is None else "both"
            raise ValueError(f"`pressure`, `flux`: give one of them; {given} is given.")
        unknown = [name for name in self.measured if name not in self.ions.names]
        if unknown or len(set(self.measured)) != len(self.measured) or not self.measured:
            raise ValueError(
                f"`measured` must be of {', '.join(self.ions.names)}, each once; it is "
                f"{', '.join(self.measured) or 'empty'}."
            )
        cases = len(self.feed)
        if cases == 0 or not (self.membrane >= 0).all():
            raise ValueError(
                "`membrane` must hold numbers of one case or more, from zero; it is "
                f"{self.membrane.tolist()}."
            )
        require_shape("feed", self.feed, (cases, len(self.ions.names)))
        for name in ("rejection", "sigma"):
            require_shape(name, getattr(self, name), (cases, len(self.measured)))
        require_shape("membrane", self.membrane, (cases,))
        require_shape(self.driving, self.rows["driven"], (cases,))

    def _require_passing(self) -> None:
        for i, name in enumerate(self.measured):
            column = self.rejection[:, i]
            if (column > 1).any():
                case = int((column > 1).nonzero()[0])
                raise ValueError(
                    f"`rejection` of {name} must be at most 1, where nothing passes; in case {case}"
                    f" it is {float(column[case]):.6g}. Divide percentages by 100."
                )

    def _require_possible(self) -> None:
        """A permeate of which all is known is neutral and osmotic."""
        permeate = self.permeate()
        charges = (self.feed * self.ions.charge.abs()).sum(1)
        off = (permeate * self.ions.charge).sum(1).abs() / charges
        least = (permeate / charges[:, None]).amin(1)
        bad = ~((off <= NEUTRAL) & (least >= -NEUTRAL))
        if bad.any():
            case = int(bad.nonzero()[0])
            raise ValueError(
                f"`rejection` of case {case} makes a permeate that no ion can keep neutral: "
                f"{dict(zip(self.ions.names, permeate[case].tolist(), strict=True))} mol/m³. Look "
                "for a wrong sign, and leave out of `measured` an ion that was not."
            )
        if self.pressure is None:
            return
        osmotic = Water().thermal_energy * (self.feed - permeate).sum(1)
        if (self.pressure <= osmotic).any():
            case = int((self.pressure <= osmotic).nonzero()[0])
            raise ValueError(
                f"`pressure` must exceed the osmotic one; in case {case} it is "
                f"{float(self.pressure[case]):.6g} Pa, and that of feed and permeate differs by "
                f"{float(osmotic[case]):.6g} Pa. Pressures are in Pa, not in bar."
            )
