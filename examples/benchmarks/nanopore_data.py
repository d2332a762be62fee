"""Rejections to learn from: measured ones, and simulations of other physics than the model's."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from idnn.nanopore import (
    Measurements,
    SimulatedMembranes,
    ions,
    mixtures,
    neutralised,
    usual_error,
)

D = torch.float64
SPECIES = ions(("Li", "Mg", "Cl"))
TABLE = Path(__file__).parents[1] / "nanopore" / "wang2023.csv"
LITRES = 3.6e6
"""L/(m² h) in 1 m/s."""

FEEDS = 5
"""Measured with each membrane, in one order for all."""

SEAWATER = {"Na": 483.5652, "Ca": 9.55, "Mg": 58.0833, "SO4": 22.25, "Cl": 574.3319}
"""mol/m³; Cl is adjusted."""

SEAWATER_REJECTIONS = {"Na": 0.01, "Ca": 0.79, "Mg": 0.94, "SO4": 0.87, "Cl": 0.15}
"""At 1.67 µm/s (Labban et al. 2017, table 9, as WaterTAP's tests quote it)."""

TRACE = 1e-4
"""Of the other salt, where there is one salt only; relative to Cl."""

UNKNOWN = 1e3
"""Standard error of a rejection that is not measured."""


class Fold(NamedTuple):
    """What is seen and what is left out."""

    seen: Measurements
    held: Measurements


def measurements() -> tuple[Measurements, list[str]]:
    """Of the table, and the names of membranes."""
    with TABLE.open() as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["membrane"] for row in rows))

    def column(name: str) -> Tensor:
        return torch.tensor([float(row[name]) for row in rows], dtype=D)

    li, mg = (
        column(f"feed_{n}_mg_per_L") / float(SPECIES.molar_mass[i]) / 1e3
        for i, n in enumerate(("Li", "Mg"))
    )
    rejection = torch.stack([column("R_Li_percent"), column("R_Mg_percent")], 1) / 100
    return Measurements(
        ions=SPECIES,
        feed=torch.stack([li, mg, li + 2 * mg], 1),
        membrane=torch.tensor([names.index(row["membrane"]) for row in rows]),
        measured=("Li", "Mg"),
        rejection=rejection,
        sigma=usual_error(rejection),
        flux=column("flux_L_per_m2_h") / LITRES,
    ), names


def without(data: Measurements, out: Tensor) -> Fold:
    """The cases `out` left out."""
    everything = torch.arange(len(data.feed))
    return Fold(data.at(everything[~torch.isin(everything, out)]), data.at(out))


def by_composition() -> list[Fold]:
    """One feed of all membranes left out in each fold."""
    data, _ = measurements()
    cases = torch.arange(len(data.feed))
    return [without(data, cases[cases % FEEDS == i]) for i in range(FEEDS)]


def by_membrane() -> list[Fold]:
    """All feeds but the first of one membrane left out in each fold."""
    data, _ = measurements()
    cases = torch.arange(len(data.feed))
    return [without(data, cases[data.membrane == m][1:]) for m in range(data.membranes)]


def by_ion() -> list[Fold]:
    """Seawater and one membrane; each ion left out in turn. Cl is never seen: it is neutral."""
    species = ions(tuple(SEAWATER))
    feed = torch.tensor([list(SEAWATER.values())], dtype=D)

    def of(names: tuple[str, ...]) -> Measurements:
        rejection = torch.tensor([[SEAWATER_REJECTIONS[name] for name in names]], dtype=D)
        return Measurements(
            ions=species,
            feed=neutralised(feed, species, "Cl"),
            membrane=torch.zeros(1, dtype=torch.long),
            measured=names,
            rejection=rejection,
            sigma=usual_error(rejection),
            flux=torch.tensor([1.67e-6], dtype=D),
        )

    seen = species.names[:-1]
    return [Fold(of(tuple(n for n in seen if n != out)), of((out,))) for out in species.names]


def simulated(seed: int, *, salts: bool) -> list[Fold]:
    """Four membranes of other physics; twelve cases each seen with errors, eight left out without.

    What is left out are mixtures. What is seen are too, or else LiCl and MgCl₂ by turns, with a
    trace of the other whose rejection is not measured.
    """
    generator = torch.Generator().manual_seed(2000 + seed)
    membranes = SimulatedMembranes.drawn(4, generator)

    def cases(each: int) -> tuple[Tensor, Tensor, Tensor]:
        number = torch.arange(4).repeat_interleave(each)
        flux = 5 * 16 ** torch.rand(len(number), dtype=D, generator=generator) / LITRES
        return mixtures(SPECIES, len(number), generator), number, flux

    feed, number, flux = cases(12)
    if salts:
        other = torch.arange(len(number)) % 2
        feed[torch.arange(len(number)), other] = TRACE * feed[:, 2]
        feed = neutralised(feed, SPECIES, "Cl")
    seen = membranes.measure(SPECIES, feed, number, flux, generator)
    if salts:
        trace = seen.feed[:, :2] < 10 * TRACE * seen.feed[:, 2:]
        seen = replace(seen, sigma=torch.where(trace, UNKNOWN, seen.sigma))
    return [Fold(seen, membranes.measure(SPECIES, *cases(8)))]
