"""Which orderings must be calculated: fits to subsets of the embedded-atom set, judged on it all.

Every subset's leave-one-out error stands beside its error on all 631 orderings with x_Al ≤ 0.4:
where the first is small and the second is not, the subset leaves a gap that it cannot see.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from sampling.energetics import read_campaign_energies
from sampling.energies import EnergySet
from sampling.expansion import cluster_sums
from sampling.fit import fit_expansion
from sampling.settings import read_settings

SETTINGS = Path(__file__).parents[1] / "ni_al" / "campaign_eam.toml"


def main() -> None:
    """Print one line per subset."""
    settings = read_settings(SETTINGS)
    everything = read_campaign_energies(settings)
    focus = settings.expansion.x_focus + 1e-9
    x = everything.fractions
    atoms = np.array([len(ordering.sites) for ordering in everything.orderings])
    subsets = {
        "up to 4 atoms": atoms <= 4,
        "up to 4 atoms, and 5 atoms with x = 0.2": (atoms <= 4) | ((atoms == 5) & (x < 0.3)),
        "up to 4 atoms, and 5 atoms with x <= 0.4": (atoms <= 4) | ((atoms == 5) & (x <= focus)),
        "up to 5 atoms": atoms <= 5,
        "up to 6 atoms": atoms <= 6,
        "all": atoms > 0,
    }
    print("meV/atom for x_Al <= 0.4: leave-one-out, error on all 631")
    for name, chosen in subsets.items():
        fit = fit_expansion(subset(everything, chosen), settings.expansion.fit_settings())
        predicted = cluster_sums(fit.expansion.orbits, everything.orderings) @ fit.expansion.eci
        error = (predicted - everything.formation_energies)[x <= focus]
        own, true = fit.cross_validation.rmse_focus, np.sqrt((error**2).mean())
        print(f"{name:42}{chosen.sum():5}{1e3 * own:8.1f}{1e3 * true:8.1f}", flush=True)


def subset(energies: EnergySet, chosen: np.ndarray) -> EnergySet:
    """The chosen structures; formation energies refer to the same end members."""
    picked = np.flatnonzero(chosen)
    return replace(
        energies,
        ids=tuple(energies.ids[i] for i in picked),
        orderings=tuple(energies.orderings[i] for i in picked),
        energies=energies.energies[picked],
        formation_energies=energies.formation_energies[picked],
    )


if __name__ == "__main__":
    main()
