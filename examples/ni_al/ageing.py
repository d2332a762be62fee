"""Ageing of γ′ in the plane with and without misfit: fraction, size, alignment against time.

    python examples/ni_al/gamma_prime.py --dimensions 2 --cells 256
    python examples/ni_al/gamma_prime.py --dimensions 2 --cells 256 --no-misfit
    python examples/ni_al/ageing.py [--cells 256]

The fraction is that of cells beyond the middle of the tie-line, against the lever rule's; sizes are
radii of circles of equal area; alignment is ⟨cos 4φ⟩ of the normals of interfaces, weighted with
|∇c|: 0 of circles, 1 of squares with sides along ⟨10⟩. Drawn to runs/gamma_prime/ageing.png.
"""

import argparse
from pathlib import Path

import numpy as np
import xarray
from gamma_prime import FRACTION, alloy

from phasefield.files import TRAJECTORY
from sampling.style import COLOURS, new_figure

RUNS = {"without misfit": Path("runs/gamma_prime_unstrained"), "misfit": Path("runs/gamma_prime")}
FIGURE = RUNS["misfit"] / "ageing.png"
SETTLED = 10.0
"""Seconds, before which balls are still being dressed with their interfaces."""


def alignment(c: np.ndarray) -> float:
    """⟨cos 4φ⟩ of a periodic field."""
    x, y = ((np.roll(c, -1, axis) - np.roll(c, 1, axis)) / 2 for axis in (0, 1))
    length = np.hypot(x, y)
    return float((np.cos(4 * np.arctan2(y, x)) * length).sum() / length.sum())


def main() -> None:
    """Read both runs, draw, print the last lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, default=256, help="of the runs, along each axis")
    cells = parser.parse_args().cells
    middle = sum(alloy((8, 8), 4e-9, "cpu", misfit=False).compositions) / 2
    figure = new_figure(12.0, 3.6)
    axes = figure.subplots(1, 3)
    for colour, (name, directory) in zip(COLOURS, RUNS.items(), strict=False):
        path = directory / f"{cells}_2d_4nm" / TRAJECTORY
        if not path.is_dir():
            parser.error(f"there is no {path}; run the first two commands above")
        run = xarray.open_zarr(path, consolidated=False)
        run = run.sel(time=run.time >= SETTLED)
        c = run["c"].values
        rows = {
            "γ′ (share of volume)": (c > middle).mean((1, 2)),
            "mean radius (nm)": run["mean_radius"].values,
            "alignment ⟨cos 4φ⟩": np.array([alignment(frame) for frame in c]),
        }
        for each, (label, values) in zip(axes, rows.items(), strict=True):
            each.semilogx(run.time.values, values, "o-", ms=3, color=colour, label=name)
            each.set(xlabel="t (s)", ylabel=label)
        last = {label: round(float(values[-1]), 4) for label, values in rows.items()}
        particles = int(run["particles"].values[-1])
        print(f"{name}, {float(run.time[-1]):.4g} s: {last}, {particles} particles")
    axes[0].axhline(FRACTION, color="black", lw=0.8, label="lever rule")
    axes[0].legend()
    figure.savefig(FIGURE, dpi=150)
    print(FIGURE)


if __name__ == "__main__":
    main()
