"""From energies of small ordered structures to a γ/γ′ microstructure and report.html.

Uses our first-principles energies once they predict Ni-rich orderings they have not seen to
15 meV/atom and have L1₂ Ni₃Al on the hull; until then the embedded-atom ones.
"""

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from sampling.energetics import read_campaign_energies
from sampling.fit import fit_expansion
from sampling.groundstates import find_ground_states
from sampling.report import MICROSTRUCTURE
from sampling.settings import CampaignSettings, read_settings

HERE = Path(__file__).parent
ACCURATE = 0.015
"""eV/atom."""


def is_good_enough(settings: CampaignSettings) -> bool:
    """Whether the energies in `settings` may carry the demo; says why."""
    energies = read_campaign_energies(settings)
    fit = fit_expansion(energies, settings.expansion.fit_settings())
    error = fit.cross_validation.rmse_focus
    on_hull = find_ground_states(fit.expansion).is_on_hull("L1_2 Ni3Al")
    print(
        f"{settings.title}: {len(energies.ids)} structures, leave-one-out "
        f"{1e3 * error:.1f} meV/atom for x <= {settings.expansion.x_focus:g} (needs < "
        f"{1e3 * ACCURATE:g}), L1_2 {'on' if on_hull else 'off'} the hull"
    )
    return error < ACCURATE and on_hull


def call(*words: str | Path) -> None:
    """Run a command of this project, shown as the user would type it."""
    command = ["python", "-m", *map(str, words)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    finished = subprocess.run([sys.executable, *command[1:]], check=False)
    if finished.returncode:
        sys.exit(finished.returncode)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reduced", action="store_true", help="small and coarse: two minutes")
    folder = HERE / "reduced" if parser.parse_args().reduced else HERE
    start = time.monotonic()
    first_principles = read_settings(HERE / "campaign.toml")
    suffix = "" if is_good_enough(first_principles) else "_eam"
    campaign = folder / f"campaign{suffix}.toml"
    directory = read_settings(campaign).directory.resolve()
    microstructure = directory / MICROSTRUCTURE
    call("sampling", campaign)
    model = directory / "model.safetensors"
    run = folder / f"microstructure{suffix}.toml"
    call("phasefield", run, "--model", model, "--output", microstructure)
    call("sampling", "report", directory)
    print(f"\nDone in {time.monotonic() - start:.0f} s. Results in {directory}:")
    for path in ("report.html", "model.safetensors", "campaign.sqlite", "expansion.json"):
        print(f"  {directory / path}")
    for path in ("fields.zarr", "animation.gif", "microstructure.png", "summary.json"):
        print(f"  {microstructure / path}")


if __name__ == "__main__":
    main()
