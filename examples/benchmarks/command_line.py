"""The command line of benchmarks in parts."""

import argparse
from collections.abc import Collection
from pathlib import Path


def parts_and_output(description: str | None, parts: Collection[str]) -> tuple[list[str], Path]:
    """The parts asked for, all if none is named, and the folder for results, which is made."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    results = Path(__file__).parent / "results"
    parser.add_argument("--output", type=Path, default=results, help="where results go")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"`PART` must be of {', '.join(parts)}; {', '.join(unknown)} is not.")
    options.output.mkdir(parents=True, exist_ok=True)
    return options.parts or list(parts), options.output
