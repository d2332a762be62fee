"""μ of twenty states against the size of the box: where boxes agree, and where they part.

    python examples/benchmarks/box_size.py runs/ni_al_dft/expansion.json [--name dft]

About two minutes. Five states each of the disordered solution, the ordered phase, the way between,
and far from all of them (among them the worst of earlier trials). Each is held by one bias in
every box; μ is carried to the ⟨η⟩ of the largest, and its root mean square difference from the
label of the campaign's engine, which chooses and extrapolates, is kept in
`results/box_size_NAME.json` and drawn.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idnn.files import existing
from idnn.order_parameters import FCC_L12, ordered_partly
from sampling.aim import bias_centre
from sampling.box_size import difference
from sampling.ensemble import Schedule
from sampling.expansion import ClusterExpansion
from sampling.label import LabelTask, label
from sampling.mean_field import MeanField
from sampling.style import new_figure

KELVIN, STIFFNESS = 1000.0, 3.0
BOXES = (3, 4, 6, 8, 10)
ENGINE = (3, 4, 8)
SCHEDULE = Schedule(walkers=16, sweeps=8000, burn_in=400, stride=4)
NAMES = ("disordered", "ordered", "between", "far from phases")


def states() -> torch.Tensor:
    """Site fractions, five of each kind."""
    one, two = (torch.tensor(p, dtype=torch.float64) for p in ([1.0, 0, 0, 0], [1.0, 1, 0, 0]))

    def partly(ideal: torch.Tensor, composition: float, share: float) -> list[float]:
        level = torch.tensor([composition], dtype=torch.float64)
        return ordered_partly(ideal, level, share).clamp(5e-5, 1 - 5e-5).tolist()

    rows = [[c] * 4 for c in (0.02, 0.04, 0.06, 0.10, 0.16)]
    rows += [
        partly(one, c, s) for c, s in ((0.22, 1), (0.23, 1), (0.24, 1), (0.245, 1), (0.25, 0.95))
    ]
    rows += [partly(one, c, s) for c, s in ((0.15, 0.5), (0.15, 0.95), (0.1, 0.8), (0.2, 0.6))]
    rows += [partly(two, 0.25, 0.6), [0.57, 0.97, 0.01, 0.49], [0.3, 0.6, 0.05, 0.2]]
    rows += [[0.5, 0.5, 0.05, 0.05], [0.9, 0.3, 0.02, 0.05], [0.45, 0.2, 0.2, 0.05]]
    return torch.tensor(rows, dtype=torch.float64)


def task(expansion: ClusterExpansion, centre: np.ndarray, cells: tuple[int, ...]) -> LabelTask:
    """All states in the boxes of these edges."""
    return LabelTask(
        expansion=expansion, system=FCC_L12.name, cells=cells, temperature=KELVIN, centre=centre,
        stiffness=np.full_like(centre, STIFFNESS), point_seeds=tuple(range(len(centre))), seed=1,
        schedule=replace(SCHEDULE, sweeps=max(1000, SCHEDULE.sweeps * 27 // cells[0] ** 3)),
    )  # fmt: skip


def centres(expansion: ClusterExpansion, eta: torch.Tensor) -> np.ndarray:
    """κ that bring a box of 256 sites to these η: mean field first, then what it measures."""
    phi = torch.full((4,), STIFFNESS, dtype=torch.float64)
    kappa = bias_centre(MeanField(expansion, FCC_L12, KELVIN), eta, phi).numpy()
    for _ in range(3):
        found = np.array([p.eta.value for p in label(task(expansion, kappa, (4,)))])
        kappa = kappa + eta.numpy() - found
    return kappa


def compare(expansion: ClusterExpansion) -> list[dict[str, Any]]:
    """Every state in every box, and what the engine makes of it."""
    eta = FCC_L12.order_parameters(states())
    kappa = centres(expansion, eta)
    engine = label(task(expansion, kappa, ENGINE))
    rows: list[dict[str, Any]] = [
        {
            "kind": NAMES[i // 5],
            "x": np.linalg.solve(FCC_L12.q.numpy(), chosen.eta.value).round(5).tolist(),
            "chosen_sites": chosen.sites,
            "homogeneous": chosen.homogeneous,
            "error_meV": rms(np.hypot(chosen.sublattice_stderr, chosen.size_error)),
            "boxes": [],
        }
        for i, chosen in enumerate(engine)
    ]
    for cells in BOXES:
        for row, chosen, point in zip(
            rows, engine, label(task(expansion, kappa, (cells,))), strict=True
        ):
            off = difference(point, chosen, FCC_L12, KELVIN)
            row["boxes"].append(
                {
                    "sites": point.sites,
                    "off_meV": rms(off),
                    "sigma_meV": rms(point.mu.stderr),
                    "homogeneous": point.homogeneous,
                    "ergodic": point.ergodic,
                    "softest_eV": softest(point.hessian.value),
                    "octant_excess": finite(point.octant_excess),
                }
            )
        print(f"{cells} cells done", flush=True)
    return rows


def rms(values: np.ndarray) -> float | None:
    """Root mean square in meV."""
    return finite(1e3 * np.sqrt(np.mean(values**2)))


def softest(hessian: np.ndarray) -> float | None:
    """Smallest eigenvalue of H (eV)."""
    return finite(np.linalg.eigvalsh(hessian).min()) if np.isfinite(hessian).all() else None


def finite(value: float) -> float | None:
    """Four digits, or nothing."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Difference from the engine's label against sites; filled where the box calls it one phase."""
    figure = new_figure(9, 3)
    for axes, name in zip(figure.subplots(1, 4, sharey=True), NAMES, strict=True):
        for colour, row in enumerate(r for r in rows if r["kind"] == name):
            shown = [b for b in row["boxes"] if b["off_meV"] is not None]
            sites, off = [b["sites"] for b in shown], [max(b["off_meV"], 0.02) for b in shown]
            axes.loglog(sites, off, color=f"C{colour}", lw=0.8)
            for box, value in zip(shown, off, strict=True):
                face = f"C{colour}" if box["homogeneous"] else "white"
                axes.plot(box["sites"], value, "o", ms=4, mec=f"C{colour}", mfc=face)
        axes.set(title=name, xlabel="sites")
    figure.axes[0].set_ylabel("μ off the engine's label (meV)")
    figure.savefig(path)


def main() -> None:
    """Compare, store, draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("expansion", type=existing, help="expansion.json of a campaign")
    parser.add_argument("--name", default="dft", help="of the results")
    options = parser.parse_args()
    rows = compare(ClusterExpansion.from_json(options.expansion))
    path = Path(__file__).parent / "results" / f"box_size_{options.name}.json"
    path.write_text(json.dumps(rows, indent=1) + "\n")
    draw(rows, path.with_suffix(".png"))
    for row in rows:
        off = " ".join(f"{b['sites']}:{b['off_meV']}" for b in row["boxes"])
        print(f"{row['kind']:16s} {row['x']} from {row['chosen_sites']} sites: {off} meV")


if __name__ == "__main__":
    main()
