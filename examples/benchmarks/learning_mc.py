"""Learning from Monte Carlo: held-out χ of μ by box, net, activation, optimiser and reference.

    python examples/benchmarks/learning_mc.py runs/ni_al_dft/expansion.json [--points 512]

Points are sampled at 600, 1000 and 3000 K (below, at and above ordering), half of them uniform in
the admissible polytope up to 32 % of the solute, half along the lines to the ordered states where
the wells are, and again for the test with other seeds. χ² is the mean square of (μ learned − μ
sampled)/σ along sublattice fractions over test points, σ the quoted one: statistical error and what
boxes of different size still disagree about. Convex: where the sampled state is homogeneous. About
twenty minutes; samples are kept in `runs/learning_mc` and taken up again. Results go to
`results/learning_mc.json` and `.png`, the marks to the last line.
"""

import argparse
import json
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from idnn.data import Derivatives
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.equilibrium import committee_tie_line, tie_lines
from idnn.files import existing, write_atomically
from idnn.free_energy import FreeEnergy, IdealMixing, chemical_potential
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.residuals import blocks
from idnn.runtime import one_torch_thread
from idnn.train import LBFGS, fit
from sampling import acquire
from sampling.cvm import ClusterVariation
from sampling.ensemble import Schedule
from sampling.expansion import ClusterExpansion
from sampling.label import LabelTask, label
from sampling.labels import derivatives, is_known, to_json
from sampling.style import new_figure
from sampling.workers import pool

KELVINS = (600.0, 1000.0, 3000.0)
SPAN, STIFFNESS, FLOOR = (0.0, 0.32), 3.0, 5e-5
LADDER = (3, 4, 8)
SCHEDULE = Schedule(walkers=16, sweeps=3200, burn_in=200, stride=4)
KEPT = Path("runs/learning_mc")
RESULTS = Path(__file__).parent / "results" / "learning_mc.json"
SETTINGS = CommitteeSettings(network=NetworkSettings(floor=FLOOR))


@dataclass(frozen=True, eq=False)
class Points:
    """Sampled points: what is learned, and where the state was homogeneous."""

    data: Derivatives
    statistical: torch.Tensor
    homogeneous: torch.Tensor


def sampled(
    expansion: ClusterExpansion, kelvin: float, cells: tuple[int, ...], count: int, seed: int
) -> Points:
    """Points of one temperature in one ladder of boxes, sampled or read."""
    name = f"{kelvin:.0f}K-{'-'.join(map(str, cells))}-{count}-{seed}.json"
    path = KEPT / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(_labels(expansion, kelvin, cells, count, seed)))
    known = [row for row in json.loads(path.read_text()) if is_known(row)]
    columns = {
        name: torch.tensor([row[name] for row in known])
        for name in ("sublattice_stderr", "homogeneous")
    }
    return Points(
        derivatives(known, FCC_L12), columns["sublattice_stderr"].double(), columns["homogeneous"]
    )


def _labels(
    expansion: ClusterExpansion, kelvin: float, cells: tuple[int, ...], count: int, seed: int
) -> list[dict[str, Any]]:
    wished = torch.cat(
        [
            acquire.spread_over(FCC_L12, SPAN, count // 2, seed),
            acquire.along_prototypes(FCC_L12, SPAN, count - count // 2, seed),
        ]
    )
    looks = cells[0] ** 3 * SCHEDULE.walkers * SCHEDULE.samples
    eta = acquire.with_something_to_see(FCC_L12, wished, looks)
    stiffness = torch.full((4,), STIFFNESS, dtype=torch.float64)
    centre = acquire.first_bias_centre(expansion, FCC_L12, kelvin, eta, stiffness).numpy()
    found: dict[int, list[dict[str, Any]]] = {}
    with one_torch_thread(), pool(2, preload="sampling.label") as executor:
        futures = {}
        for first in range(0, count, 8):
            part = centre[first : first + 8]
            task = LabelTask(
                expansion=expansion, system=FCC_L12.name, cells=cells, temperature=kelvin,
                centre=part, stiffness=np.full_like(part, STIFFNESS), seed=seed,
                point_seeds=tuple(range(first, first + len(part))), schedule=SCHEDULE,
            )  # fmt: skip
            futures[executor.submit(label, task)] = first
        for future in as_completed(futures):
            found[futures[future]] = [to_json(point) for point in future.result()]
    return [row for first in sorted(found) for row in found[first]]


def learned(
    points: Points, kelvin: float, reference: FreeEnergy, settings: CommitteeSettings
) -> tuple[Callable[[torch.Tensor], torch.Tensor], IntegrableNetwork]:
    """The committee's mean μ, trained on what is left of μ besides the reference."""
    ideal = IdealMixing(FCC_L12.q, kelvin, FLOOR)
    data = points.data
    mu = data.mu - _slope(reference, data.eta) + ideal.gradient(data.eta)
    start = IntegrableNetwork(FCC_L12, kelvin, settings.network, settings.seeds)
    with one_torch_thread(), pool(2, preload="idnn.ensemble") as executor:
        network = train_committee(start, replace(data, mu=mu), settings, executor=executor).network

    def slope(eta: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return network.gradient(eta) + _slope(reference, eta) - ideal.gradient(eta)

    return slope, network


def learned_by_lbfgs(points: Points, kelvin: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """One net, weight decay 1e-6, 800 iterations: how campaigns trained before."""
    network = IntegrableNetwork(FCC_L12, kelvin, SETTINGS.network)
    batch = blocks(network, points.data.with_floor(SETTINGS.discrepancy))

    def loss(model: IntegrableNetwork, batch: Any) -> torch.Tensor:  # noqa: ANN401
        z = batch[0].residual(dict(model.named_parameters()), batch[0].rows)
        inside = z.abs().clamp_max(3.0)
        return (inside * (z.abs() - 0.5 * inside)).mean()

    with one_torch_thread():
        fit(network, loss, batch, LBFGS(iterations=800), weight_decay=1e-6)
    return network.requires_grad_(False).gradient


def chi(slope: Callable[[torch.Tensor], torch.Tensor], test: Points) -> dict[str, float]:
    """χ over convex and all test points, and the root mean square error where convex."""
    data, convex = test.data, test.homogeneous
    error = data.along(slope(data.eta) - data.mu)

    def rms(x: torch.Tensor) -> float:
        return float(x.square().mean().sqrt()) if len(x) else float("nan")

    quoted = error / data.sigma
    return {
        "convex": rms(quoted[convex]),
        "all": rms(quoted),
        "median": float(quoted.abs().median() / 0.6745),
        "convex_statistical": rms((error / test.statistical)[convex]),
        "convex_meV": 1e3 * rms(error[convex]),
        "median_meV": 1e3 * float(error.abs().median()),
        "convex_points": int(convex.sum()),
        "points": len(data),
    }


def variants(expansion: ClusterExpansion, kelvin: float, count: int) -> dict[str, Any]:
    """name → function that gives χ."""
    train = partial(sampled, expansion, kelvin, count=count, seed=1)
    test = sampled(expansion, kelvin, LADDER, count, 2)
    ideal = IdealMixing(FCC_L12.q, kelvin, FLOOR)

    def of(points: Points, reference: FreeEnergy = ideal, held_out: Points = test, **changed: Any):  # noqa: ANN202, ANN401
        network = replace(SETTINGS.network, **changed)
        settings = replace(SETTINGS, network=network)
        return lambda: chi(learned(points, kelvin, reference, settings)[0], held_out)

    every = train(cells=LADDER)
    found: dict[str, Any] = {"default": of(every)}
    found["f_ref CVM"] = of(every, ClusterVariation(expansion, kelvin))
    found["L-BFGS"] = lambda: chi(learned_by_lbfgs(every, kelvin), test)
    for widths in ((32,), (24, 24)):
        found[f"net {widths}"] = of(every, widths=widths)
    for activation in ("softplus", "squareplus", "logcosh"):
        found[activation] = of(every, activation=activation)
    for edge in (3, 4, 6):
        own = sampled(expansion, kelvin, (edge,), count, 2)
        found[f"box {4 * edge**3} alone"] = of(train(cells=(edge,)), held_out=own)
    return found


def filled(points: Points, kelvin: float) -> dict[str, Any]:
    """The tie-line, for several ways to fill the region where no homogeneous state is stable."""
    inside = ~points.homogeneous
    half = torch.arange(len(inside)) % 2 == 0
    ways = {
        "all points": torch.ones_like(inside),
        "every other inhomogeneous point": ~inside | half,
        "the others": ~inside | ~half,
        "no inhomogeneous point": ~inside,
    }
    found = {}
    for name, kept in ways.items():
        chosen = Points(points.data[kept], points.statistical[kept], points.homogeneous[kept])
        ideal = IdealMixing(FCC_L12.q, kelvin, FLOOR)
        _, network = learned(chosen, kelvin, ideal, SETTINGS)
        lines = [t for t in tie_lines(network, FCC_L12, composition=SPAN) if t.left.phase == "A1"]
        estimate = committee_tie_line(network, lines[0]) if lines else None
        found[name] = {
            "points": int(kept.sum()),
            "x": None if estimate is None else list(estimate.mean.compositions),
            "sigma": None if estimate is None else list(estimate.sigma()),
            "missing": network.members if estimate is None else estimate.missing,
        }
    return found


def _slope(f: FreeEnergy, eta: torch.Tensor) -> torch.Tensor:
    inside = FCC_L12.site_fractions(eta).clamp(1e-7, 1 - 1e-7)
    with torch.no_grad():
        return chemical_potential(f, FCC_L12.order_parameters(inside))


def draw(results: dict[str, Any], path: Path) -> None:
    """One panel per temperature: χ of every variant."""
    figure = new_figure(9.6, 4.0)
    panels = figure.subplots(1, len(KELVINS), sharex=True, sharey=True)
    for axes, kelvin in zip(panels, KELVINS, strict=True):
        rows = results[f"{kelvin:.0f}"]
        for i, row in enumerate(rows.values()):
            axes.plot(row["convex"], i, "o", color="C0", label="convex" if i == 0 else None)
            axes.plot(row["all"], i, "s", color="C1", mfc="none", label="all" if i == 0 else None)
        axes.set(title=f"{kelvin:.0f} K", xlabel="χ on held-out points", xscale="log")
        axes.axvline(1.5, color="C0", lw=0.8, ls=":")
        axes.axvline(3.0, color="C1", lw=0.8, ls=":")
        axes.set_yticks(range(len(rows)), list(rows))
        axes.invert_yaxis()
    panels[0].legend(frameon=False, loc="lower left")
    figure.savefig(path)


def main() -> None:
    """Sample, learn, store, draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("expansion", type=existing, help="expansion.json of a campaign")
    parser.add_argument("--points", type=int, default=512, help="for learning, and for the test")
    options = parser.parse_args()
    expansion = ClusterExpansion.from_json(options.expansion)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for kelvin in KELVINS:
        rows = results.setdefault(f"{kelvin:.0f}", {})
        for name, find in variants(expansion, kelvin, options.points).items():
            if name not in rows:
                rows[name] = find()
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(kelvin, name, {k: round(v, 2) for k, v in rows[name].items()}, flush=True)
    if "tie_line_at_1000_K" not in results:
        points = sampled(expansion, 1000.0, LADDER, options.points, 1)
        results["tie_line_at_1000_K"] = filled(points, 1000.0)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    draw(results, RESULTS.with_suffix(".png"))
    default = [results[f"{kelvin:.0f}"]["default"] for kelvin in KELVINS]
    marks = {
        "mc_chi_convex": max(row["convex"] for row in default),
        "mc_chi_all": max(row["all"] for row in default),
        "tie_line_at_1000_K": results["tie_line_at_1000_K"],
    }
    print(json.dumps(marks))


if __name__ == "__main__":
    main()
