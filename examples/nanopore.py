"""Measured rejections in, a fitted model out: rejection curves with bands, and ions in the pore.

    python examples/nanopore.py [TABLE.csv] [--by Cl] [--membrane NAME] [--output DIRECTORY]

Columns: membrane, feed_X_mg_per_L of every ion X, flux_L_per_m2_h or pressure_bar, R_X_percent of
ions measured, to 1 point and 5 % of what passes. `--by` names an ion that makes feeds neutral.
"""

# ruff: noqa: ANN001, ANN201, D103

import argparse
import csv
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from idnn import nanopore
from idnn.nanopore.checkpoint import save_fit

parser = argparse.ArgumentParser(description=__doc__)
ours = Path(__file__).parent / "nanopore" / "wang2023.csv"
parser.add_argument("table", type=Path, nargs="?", default=ours)
parser.add_argument("--by", help="ion that makes feeds neutral")
parser.add_argument("--membrane", help="of the picture; the first if not given")
parser.add_argument("--output", type=Path, default=Path(), help="an existing folder")
o = parser.parse_args()
rows = list(csv.DictReader(o.table.read_text().splitlines())) if o.table.is_file() else []
if not rows:
    parser.error(f"{o.table} must be a table with a line of names and one of a case or more")
names = [c[5:-9] for c in rows[0] if c.startswith("feed_") and c.endswith("_mg_per_L")]
measured = tuple(c[2:-8] for c in rows[0] if c.startswith("R_") and c.endswith("_percent"))
membranes = list(dict.fromkeys(row["membrane"] for row in rows))
with_pressure, by = "pressure_bar" in rows[0], "Cl" if o.table == ours else o.by


def column(name):
    if name not in rows[0]:
        raise ValueError(f"`{name}` must be a column; there are {', '.join(rows[0])}.")
    return torch.tensor([float(row[name]) for row in rows], dtype=torch.float64)


def band(axes, x, y, i, label=None):
    low, middle, high = y.quantile(torch.tensor([0.1, 0.5, 0.9]).double(), 0)
    axes.fill_between(x, low, high, alpha=0.25, color=f"C{i}", lw=0)
    axes.plot(x, middle, color=f"C{i}", label=label)


try:
    species = nanopore.ions([*names, by] if by and by not in names else names)
    feed = torch.stack([column(f"feed_{n}_mg_per_L") for n in names], 1) / 1e3
    feed = torch.nn.functional.pad(feed, (0, len(species.names) - len(names))) / species.molar_mass
    rejection = torch.stack([column(f"R_{n}_percent") for n in measured], 1) / 100
    number = torch.tensor([membranes.index(row["membrane"]) for row in rows])
    data = nanopore.Measurements(
        ions=species, feed=nanopore.neutralised(feed, species, by) if by else feed, membrane=number,
        measured=measured, rejection=rejection, sigma=nanopore.usual_error(rejection),
        pressure=column("pressure_bar") * 1e5 if with_pressure else None,
        flux=None if with_pressure else column("flux_L_per_m2_h") / 3.6e6,
    )  # fmt: skip
    case = [row["membrane"] for row in rows].index(o.membrane or membranes[0])
except ValueError as error:
    raise SystemExit(f"{o.table}: {error}") from error
plain, closure = nanopore.fit_membranes(data), nanopore.pretrained(species)
fit = nanopore.committee(data, plain, closure, members=16)
save_fit(fit, o.output / "nanopore.safetensors")
across = torch.logspace(-0.6, 0.3, 25).double() * data.rows["driven"][case]
found = fit.predict(data.feed[case][None], number[case].repeat(25), **{data.driving: across})
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
unit, label = (1e-5, "pressure (bar)") if with_pressure else (3.6e6, "flux (L m$^{-2}$ h$^{-1}$)")
for i, name in enumerate(species.names):
    band(left, across * unit, 100 * found.rejection[..., i], i, name)
    band(right, found.position, found.concentration[:, 12, :, i], i)
for name, point in zip(measured, 100 * rejection[case], strict=True):
    left.plot(data.rows["driven"][case] * unit, point, "o", color=f"C{species.names.index(name)}")
left.set(xlabel=label, ylabel="rejection (%)", title=rows[case]["membrane"] + ", first feed")
right.set(xlabel="x/Δx, from the feed", ylabel="in the pore (mol/m³)", yscale="log")
left.legend()
figure.savefig(picture := o.output / "nanopore.png", dpi=150)
print(f"{picture} and .safetensors; σ widened {float(fit.noise[0]):.2f} times")
