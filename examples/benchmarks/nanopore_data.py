"""Rejections to learn from: measured ones, and simulations of other physics than the model's."""

import csv
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from idnn.nanopore import (
    Corrections,
    Davies,
    Ions,
    Measurements,
    Membrane,
    ions,
    neutralised,
    transport,
)
from idnn.nanopore.fitting import membrane_of

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
"""Of the other salt, where there is one salt only."""


class Fold(NamedTuple):
    """What is seen and what is left out."""

    seen: Measurements
    held: Measurements


def error(rejection: Tensor) -> Tensor:
    """Standard error of a rejection, as parts of one."""
    return (0.05 * (1 - rejection)).hypot(torch.full_like(rejection, 0.01))


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
        sigma=error(rejection),
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
            sigma=error(rejection),
            flux=torch.tensor([1.67e-6], dtype=D),
        )

    seen = species.names[:-1]
    return [Fold(of(tuple(n for n in seen if n != out)), of((out,))) for out in species.names]


class World(NamedTuple):
    """Membranes of other physics: Davies' activities, charges that grow with ionic strength.

    Attributes:
        pores: of `membrane_of`, [membrane, pore].
        power: X is multiplied by (I/100 mol/m³)^power (Freundlich's law), [membrane].
    """

    pores: Tensor
    power: Tensor

    def simulate(
        self, kinds: list[str], generator: torch.Generator, *, noisy: bool = True
    ) -> Measurements:
        """One case of each membrane for each of `kinds`: "mixture", "Li" or "Mg" alone with Cl.

        Cases that cannot be solved are left out. Of a salt alone, the trace of the other tells
        nothing.
        """
        number = torch.arange(len(self.pores)).repeat_interleave(len(kinds))
        kind, count, power = kinds * len(self.pores), len(number), self.power[number]

        def uniform() -> Tensor:
            return torch.rand(count, dtype=D, generator=generator)

        mg = 5 * 20 ** uniform()
        li = mg * float(SPECIES.molar_mass[1] / SPECIES.molar_mass[0]) / (5 * 20 ** uniform())
        only = {n: torch.tensor([k == n for k in kind]) for n in ("Li", "Mg")}
        li = torch.where(only["Li"], 2 * mg, torch.where(only["Mg"], TRACE * mg, li))
        mg = torch.where(only["Li"], TRACE * mg, mg)
        feed = torch.stack([li, mg, li + 2 * mg], 1)
        flux = 5 * 16 ** uniform() / LITRES

        def law(ions: Ions, feed: Tensor, membrane: Membrane, ratio: Tensor) -> Corrections:
            del membrane
            none = torch.zeros_like(ratio + feed)
            strength = 0.5 * (feed * ions.charge**2).sum(-1)
            return Corrections(none, none, none, power * (strength / 100).log())

        pore = membrane_of(self.pores[number], SPECIES)
        found = transport(
            SPECIES, feed, pore, flux=flux, closure=law, activity=Davies(), strict=False
        )
        rejection = found.rejection[:, :2]
        sigma = error(rejection)
        if noisy:
            noise = sigma * torch.randn(rejection.shape, dtype=D, generator=generator)
            rejection = (rejection + noise).clamp(max=1)
        blind = torch.stack([only["Mg"], only["Li"]], 1)
        good = found.converged.nonzero()[:, 0]
        return Measurements(
            ions=SPECIES,
            feed=feed,
            membrane=number,
            measured=("Li", "Mg"),
            rejection=rejection.nan_to_num(),
            sigma=torch.where(blind, 1e3, sigma).nan_to_num(1),
            flux=flux,
        ).at(good)


def world(seed: int, membranes: int) -> tuple[World, torch.Generator]:
    """Membranes drawn from the prior, powers between 0 and 0.7; and what to draw cases with."""
    generator = torch.Generator().manual_seed(1000 + seed)
    pores = 0.7 * torch.randn(1, membranes, 4, dtype=D, generator=generator)
    power = 0.7 * torch.rand(membranes, dtype=D, generator=generator)
    return World(pores[0], power), generator


def simulated(seed: int, seen: list[str]) -> list[Fold]:
    """Four membranes of other physics, `seen` with errors, eight mixtures left out without."""
    found, generator = world(500 + seed, 4)
    return [
        Fold(
            found.simulate(seen, generator), found.simulate(["mixture"] * 8, generator, noisy=False)
        )
    ]
