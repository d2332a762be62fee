"""Write examples/benchmarks/demo.json: the figures of a finished demo, with commit and machine.

python examples/benchmarks/record_demo.py runs/ni_al_eam
"""

import argparse
import json
import os
import platform
import subprocess
from pathlib import Path

from idnn.files import existing
from sampling.report import figures_of_merit, gather


def processor() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "unknown")


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=existing)
    numbers = figures_of_merit(gather(parser.parse_args().directory))
    git = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()}
    record = numbers | {"commit": commit, "machine": machine}
    path = Path(__file__).with_name("demo.json")
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    print(path)


if __name__ == "__main__":
    main()
