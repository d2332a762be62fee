"""First stage of a campaign: read the energies, fit the expansion, record how good it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from idnn.files import write_atomically
from sampling.clusters import orbits
from sampling.energies import EnergySet, read_energies
from sampling.expansion import ClusterExpansion
from sampling.figures_energy import eci_figure, hull_figure, parity_figure
from sampling.fit import Fit, fit_expansion, nested_cross_validation
from sampling.groundstates import GroundStates, find_ground_states
from sampling.lattice import Supercell
from sampling.literature import compare
from sampling.ordering import ParentLattice, fcc
from sampling.prototypes import names
from sampling.settings import CampaignSettings

EXPANSION = "expansion.json"
SUMMARY = "energetics.json"
FIGURES = "figures"


def read_campaign_energies(settings: CampaignSettings) -> EnergySet:
    """The energies a campaign is to fit.

    Raises:
        FileNotFoundError: the energies or the published values are not there.
        ValueError: energies that break a rule, or a box too small for a candidate expansion.
    """
    table = settings.expansion
    for key in ("file", "literature"):
        path = getattr(settings.energies, key)
        if path is not None and not Path(path).exists():
            raise FileNotFoundError(
                f"`energies.{key}`: there is no {path}; paths are relative to the settings file."
            )
    lattice = fcc(table.species, table.lattice_parameter)
    _require_room(settings, lattice)
    return read_energies(settings.energies.file, lattice, kind=settings.energies.kind)


def _require_room(settings: CampaignSettings, lattice: ParentLattice) -> None:
    """Refuse a box in which a cluster of any candidate would meet its own image."""
    cells = settings.ensemble.cells[0]
    box = Supercell(settings.system, cells)
    for cutoffs in settings.expansion.cutoffs:
        between = [
            orbit.clusters[:, i, :3] - orbit.clusters[:, j, :3]
            for orbit in orbits(lattice, cutoffs)
            for i, j in combinations(range(orbit.order), 2)
        ]
        if not between:
            raise ValueError(
                f"`expansion.cutoffs` {list(cutoffs)} (Å) holds no pair: neighbours are "
                f"{lattice.shortest_distance(lattice.primitive_cell):.3g} Å apart."
            )
        vectors = np.concatenate(between)
        if box.has_period(vectors):
            needed = box.smallest_cells(vectors)
            raise ValueError(
                f"`ensemble.cells` must begin with {needed} or more for the clusters of "
                f"`expansion.cutoffs` {list(cutoffs)}; it is {cells}: a cluster would meet its "
                "own periodic image."
            )


def prepare_expansion(settings: CampaignSettings, energies: EnergySet) -> ClusterExpansion:
    """The campaign's expansion: from its file if fitted before, else fitted, judged and written.

    Writes figures and a summary of cross-validation, ground states and published values first and
    the expansion last, so that its presence means all of them are there.
    """
    directory = settings.directory
    if (directory / EXPANSION).exists():
        kept = ClusterExpansion.from_json(directory / EXPANSION)
        if _is_of(kept, settings, energies):
            return kept
    fit = fit_expansion(energies, settings.expansion.fit_settings())
    states = find_ground_states(fit.expansion, largest=settings.expansion.enumerate_up_to)
    (directory / FIGURES).mkdir(exist_ok=True)
    for name, figure in {
        "hull": hull_figure(energies, fit, states),
        "parity-energy": parity_figure(energies, fit),
        "interactions": eci_figure(fit.expansion),
    }.items():
        _save(figure, directory / FIGURES / f"{name}.png")
    content = summary(settings, energies, fit, states)
    write_atomically(directory / SUMMARY, json.dumps(content, indent=1))
    fit.expansion.to_json(directory / EXPANSION)
    return fit.expansion


def _is_of(kept: ClusterExpansion, settings: CampaignSettings, energies: EnergySet) -> bool:
    """Whether an expansion was fitted to these energies with these settings."""
    asked = json.loads(json.dumps(asdict(settings.expansion.fit_settings())))
    same_fit = kept.provenance.settings.get("fit") == asked
    return same_fit and kept.provenance.data_hash == energies.source_hash


def summary(
    settings: CampaignSettings, energies: EnergySet, fit: Fit, states: GroundStates
) -> dict[str, Any]:
    """Errors, ground states and differences from published values, eV/atom."""
    folds = min(10, len(energies.ids))
    nested = nested_cross_validation(energies, settings.expansion.fit_settings(), folds=folds)
    gamma_prime = f"L1_2 {settings.expansion.species[0]}3{settings.expansion.species[1]}"
    computed = names(energies.lattice, energies.orderings)
    predicted = dict(zip(computed, fit.expansion.predict(energies.orderings), strict=True))
    published = settings.energies.literature
    return {
        "method": energies.method,
        "data_hash": energies.source_hash,
        "n_structures": len(energies.ids),
        "rmse_full": fit.cross_validation.rmse_full,
        "rmse_focus": fit.cross_validation.rmse_focus,
        "rmse_hull": fit.cross_validation.rmse_hull,
        "nested_rmse_full": nested.rmse_full,
        "nested_rmse_focus": nested.rmse_focus,
        "x_focus": settings.expansion.x_focus,
        "cutoffs": list(fit.choice.cutoffs),
        "noise": fit.noise,
        "n_enumerated": len(states.names),
        "gamma_prime": gamma_prime,
        "l12_on_hull": gamma_prime in states.names and states.is_on_hull(gamma_prime),
        "ground_states": [
            {"name": states.names[i], "x": states.fractions[i], "energy": states.energies[i]}
            for i in states.vertices
        ],
        "literature": [
            {
                "structure": row.ordering,
                "source": f"{row.kind}: {row.source}",
                "published": row.quoted,
                "computed": row.computed,
                "predicted": float(predicted[row.ordering]),
                "difference": row.difference,
            }
            for row in (compare(energies, published) if published is not None else ())
        ],
    }


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path)
