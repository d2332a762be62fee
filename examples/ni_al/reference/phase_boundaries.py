"""The referee: phase boundaries of a Ni–Al expansion from atomistic free energies, no network.

    python examples/ni_al/reference/phase_boundaries.py runs/ni_al_dft/expansion.json --name dft

Minutes on one core. Results go to NAME.json and NAME.png here; a stopped run is continued by the
same command.
"""

import argparse
import logging
from pathlib import Path

from sampling.phase_boundaries import phase_boundaries


def main() -> None:
    """Run, or continue."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("expansion", type=Path, help="an expansion.json")
    parser.add_argument("--name", default="phase_boundaries", help="of the results")
    options = parser.parse_args()
    if not options.expansion.is_file():
        parser.error(f"`expansion`: there is no file {options.expansion}; run a campaign first.")
    logging.basicConfig(format="%(message)s")
    logging.getLogger("sampling").setLevel(logging.INFO)
    phase_boundaries(options.expansion, Path(__file__).parent / f"{options.name}.json")


if __name__ == "__main__":
    main()
