"""Learning from Monte Carlo: χ of μ at held-out points, by box, net, optimiser and reference.

    python examples/benchmarks/learning_mc.py runs/ni_al_dft/expansion.json [--points 512]

Points are sampled at 600, 1000 and 3600 K (the expansion orders at 2,900 K): spread over the
admissible polytope up to 32 % of the solute, along the lines to the ordered states, and about the
wells; two more sets, of other seeds, are the tests. χ² is the mean square of (μ learned − μ
sampled)/σ along sublattice fractions, σ the quoted one: the statistical error, and what boxes of
different size disagree about. Convex is where a box of 2,048 sites holds a homogeneous state and no
smaller one is unstable; there σ is statistical. Every variant differs from the default in one
thing. The default was chosen on the first test: marks are those of the second.

Sampling a set again, with other random numbers, shows whether σ is honest. Tie-lines are compared
for several ways to fill the region where no homogeneous state is stable.

More than an hour on two shared cores. Samples and results of variants are kept in
`runs/learning_mc` (delete it after a change of code) and taken up again. Results go to
`results/learning_mc.json` and `.png`, the marks to the last line.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from learning_mc_figure import plot
from mc_points import LADDER, SPAN, Bench, Points, pure_energy
from torch import Tensor

from idnn.data import Data, Derivatives, Hessians
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.equilibrium import committee_tie_line, tie_lines
from idnn.files import existing, write_atomically
from idnn.free_energy import FreeEnergy, IdealMixing, chemical_potential, hessian
from idnn.levenberg import HALF_WITHIN
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.residuals import blocks
from idnn.runtime import one_torch_thread
from idnn.thermal import ThermalNetwork
from idnn.train import LBFGS, fit
from sampling.cvm import ClusterVariation
from sampling.expansion import ClusterExpansion
from sampling.mean_field import MeanField
from sampling.workers import pool

KELVINS, MORE = (600.0, 1000.0, 3600.0), (2000.0,)
"""K, of all variants; and what a network of all temperatures learns from besides."""

LEARNED, CHOSEN_ON, JUDGED_ON, AGAIN = 1, 2, 3, 12
"""Seeds of points: for learning, of the two tests, and of the first test sampled again."""

EXAMINED = 1000.0
"""K, of what is done at one temperature."""

FLOOR = 5e-5
NETWORK = NetworkSettings(floor=FLOOR)
SETTINGS = CommitteeSettings(members=4, network=NETWORK, discrepancy=0.0)
RESULTS = Path(__file__).parent / "results" / "learning_mc.json"

Slope = Callable[[Float[Tensor, "sample 4"]], Float[Tensor, "sample 4"]]
Reference = Callable[[ClusterExpansion, float], FreeEnergy]


def bragg_williams(expansion: ClusterExpansion, kelvin: float) -> FreeEnergy:
    """Of the expansion."""
    return MeanField(expansion, FCC_L12, kelvin)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to learn.

    Attributes:
        settings: of the committee.
        cells: of the boxes that learning and test are sampled in.
        reference: f to which a network is added, instead of ideal mixing.
        hessians: learned as well, from fluctuations.
        together: one network of all temperatures.
        energies: learned as well, by that network.
        lbfgs: one network trained so, with weight decay 1e-6.
    """

    settings: CommitteeSettings = SETTINGS
    cells: tuple[int, ...] = LADDER
    reference: Reference | None = field(default=None, repr=False)
    hessians: bool = False
    together: bool = False
    energies: bool = False
    lbfgs: LBFGS | None = None


def with_network(**changed: Any) -> Variant:  # noqa: ANN401
    """The default with another network."""
    return Variant(settings=replace(SETTINGS, network=replace(NETWORK, **changed)))


VARIANTS: Mapping[str, Variant] = {
    "default": Variant(),
    "f_ref CVM": Variant(reference=ClusterVariation),
    "all T together": Variant(together=True),
    "with Hessians": Variant(hessians=True),
    "σ ⊕ 1 meV": Variant(settings=replace(SETTINGS, discrepancy=1e-3)),
    "net 32": with_network(widths=(32,)),
    "net 24-24": with_network(widths=(24, 24)),
    "f_ref Bragg–Williams": Variant(reference=bragg_williams),
    "all T, with energies": Variant(together=True, energies=True),
    "softplus": with_network(activation="softplus"),
    "L-BFGS, one net": Variant(lbfgs=LBFGS(iterations=800)),
    "logcosh": with_network(activation="logcosh"),
} | {f"{4 * edge**3} sites alone": Variant(cells=(edge,)) for edge in (3, 4)}


def slopes(
    bench: Bench, variant: Variant, kelvins: Sequence[float] = KELVINS
) -> Iterator[tuple[float, Slope]]:
    """μ learned, at every temperature asked for."""
    if variant.together:
        network = of_all_temperatures(bench, variant)
        yield from ((kelvin, network.at(kelvin).gradient) for kelvin in kelvins)
        return
    for kelvin in kelvins:
        points = bench.points(kelvin, LEARNED, cells=variant.cells)
        if variant.lbfgs is not None:
            yield kelvin, by_lbfgs(points, variant.lbfgs).gradient
            continue
        make = variant.reference
        reference = IdealMixing(FCC_L12.q, kelvin, FLOOR)
        f = reference if make is None else make(bench.expansion, kelvin)
        data: list[Data] = [points.mu, points.hessians] if variant.hessians else [points.mu]
        rest = [without(d, f, reference) for d in data]
        network = committee(rest, kelvin, variant.settings, bench.executor)
        yield (
            kelvin,
            lambda eta, n=network, f=f, r=reference: (
                n.gradient(eta) + gradient(f, eta) - r.gradient(eta)
            ),
        )


def committee(
    data: list[Data], kelvin: float, settings: CommitteeSettings, executor: Executor
) -> IntegrableNetwork:
    """A committee of one temperature."""
    start = IntegrableNetwork(FCC_L12, kelvin, settings.network, settings.seeds)
    trained = train_committee(start, data, settings, executor=executor)
    return trained.network.requires_grad_(False)


def of_all_temperatures(bench: Bench, variant: Variant) -> ThermalNetwork:
    """One network, trained at every temperature at once."""
    settings, pure = variant.settings, pure_energy(bench.expansion)
    start = ThermalNetwork(FCC_L12, (KELVINS[0], KELVINS[-1]), settings.network, settings.seeds)
    data: list[Data] = []
    for kelvin in (*KELVINS, *MORE):
        points = bench.points(kelvin, LEARNED)
        data += [points.mu, points.energies(pure)] if variant.energies else [points.mu]
    return train_committee(start, data, settings, executor=bench.executor).network


def by_lbfgs(points: Points, optimiser: LBFGS) -> IntegrableNetwork:
    """One net: how campaigns trained before."""
    network = IntegrableNetwork(FCC_L12, points.kelvin, NETWORK)
    batch = blocks(network, points.mu.with_floor(SETTINGS.discrepancy))

    def loss(model: IntegrableNetwork, batch: Any) -> Tensor:  # noqa: ANN401
        z = batch[0].residual(dict(model.named_parameters()), batch[0].rows)
        inside = z.abs().clamp_max(3.0)
        return (inside * (z.abs() - 0.5 * inside)).mean()

    fit(network, loss, batch, optimiser, weight_decay=1e-6)
    return network.requires_grad_(False)


def without(data: Data, f: FreeEnergy, ideal: IdealMixing) -> Data:
    """What is left for a network on top of f, which supplies ideal mixing itself."""
    if isinstance(data, Derivatives):
        return replace(data, mu=data.mu - gradient(f, data.eta) + ideal.gradient(data.eta))
    if isinstance(data, Hessians) and f is not ideal:
        return replace(data, hessian=data.hessian - hessian(f, data.eta) + ideal.hessian(data.eta))
    return data


def gradient(f: FreeEnergy, eta: Float[Tensor, "sample 4"]) -> Float[Tensor, "sample 4"]:
    """∂f/∂η, of site fractions that f is known for."""
    inside = FCC_L12.site_fractions(eta).clamp(1e-7, 1 - 1e-7)
    with torch.no_grad():
        return chemical_potential(f, FCC_L12.order_parameters(inside))


def residuals(slope: Slope, points: Points) -> Float[Tensor, "sample 4"]:
    """μ learned less μ sampled, along sublattice fractions."""
    data = points.mu
    with torch.no_grad():
        return data.along(slope(data.eta) - data.mu)


def judged(slope: Slope, test: Points) -> dict[str, Any]:
    """χ where f is convex, and elsewhere."""
    error, sigma, inside = residuals(slope, test), test.mu.sigma, test.convex
    regions = {"convex": inside, "elsewhere": ~inside, "all": torch.ones_like(inside)}
    return {name: summed(error[rows], sigma[rows]) for name, rows in regions.items() if rows.any()}


def summed(error: Tensor, sigma: Tensor) -> dict[str, float]:
    """χ, that which the median suggests, the share beyond 3σ, and what χ is made of."""
    z = (error / sigma).abs()
    return {
        "chi": float(z.square().mean().sqrt()),
        "chi_of_median": float(z.median()) / HALF_WITHIN,
        "beyond_3": float((z > 3).double().mean()),
        "error_meV": 1e3 * float(error.abs().median()) / HALF_WITHIN,
        "sigma_meV": 1e3 * float(sigma.median()),
        "points": len(z),
    }


def tested(bench: Bench, variant: Variant) -> dict[str, Any]:
    """Of every temperature, on both tests."""
    found: dict[str, Any] = {}
    for kelvin, slope in slopes(bench, variant):
        tests = found.setdefault(f"{kelvin:.0f}", {})
        for name, places in {"first": CHOSEN_ON, "second": JUDGED_ON}.items():
            test = bench.points(kelvin, places, cells=variant.cells)
            tests[name] = judged(slope, test)
    return found


def repeated(bench: Bench) -> dict[str, Any]:
    """χ of two samplings of the same biases, each less what the default learned at its own ⟨η⟩."""
    _, slope = next(slopes(bench, Variant(), (EXAMINED,)))
    one, two = (bench.points(EXAMINED, CHOSEN_ON, run) for run in (CHOSEN_ON, AGAIN))
    both = set(one.names) & set(two.names)
    one, two = (p.where(torch.tensor([n in both for n in p.names])) for p in (one, two))
    change = residuals(slope, one) - residuals(slope, two)
    quoted = torch.hypot(one.mu.sigma, two.mu.sigma)
    statistical = torch.hypot(one.statistical, two.statistical)
    alike = one.column("cells") == two.column("cells")
    inside, outside = one.convex & two.convex, alike & ~one.convex
    return {
        "convex": summed(change[inside], quoted[inside]),
        "elsewhere, statistical": summed(change[outside], statistical[outside]),
        "in boxes that differ": summed(change[~alike], quoted[~alike]),
    }


def filled(bench: Bench) -> dict[str, Any]:
    """The tie-line, for several ways to fill the region where no homogeneous state is stable."""
    points = bench.points(EXAMINED, LEARNED)
    inside = points.convex
    half = torch.arange(len(inside)) % 2 == 0
    outside = points.where(~inside).mu
    smooth = gradient(ClusterVariation(bench.expansion, EXAMINED), outside.eta)
    ways: dict[str, list[Data]] = {
        "all points": [points.mu],
        "every other of them": [points.where(inside | half).mu],
        "the others": [points.where(inside | ~half).mu],
        "their σ three times as large": [
            points.where(inside).mu, replace(outside, sigma=3 * outside.sigma)
        ],
        "256 sites instead of 108": [
            points.where(inside).mu, bench.points(EXAMINED, LEARNED, cells=(4,)).mu.with_floor(0.02)
        ],
        "CVM, σ = 20 meV": [
            points.where(inside).mu,
            replace(outside, mu=smooth, sigma=torch.full_like(outside.sigma, 0.02)),
        ],
        "nothing": [points.where(inside).mu],
    }  # fmt: skip
    return {
        name: tie_line(committee(data, EXAMINED, SETTINGS, bench.executor))
        for name, data in ways.items()
    }


def tie_line(network: IntegrableNetwork) -> dict[str, Any]:
    """Between the solution and L1₂: compositions and σ; null if there is none."""
    lines = tie_lines(network, FCC_L12, composition=SPAN)
    found = [t for t in lines if t.phases == ("A1", "L1_2")]
    if not found:
        return {"x": None, "sigma": None, "others": [t.phases for t in lines]}
    estimate = committee_tie_line(network, found[0])
    x, sigma = list(estimate.mean.compositions), list(estimate.sigma())
    return {"x": x, "sigma": sigma, "missing": estimate.missing}


def marks(report: dict[str, Any]) -> dict[str, Any]:
    """The last line: the worst temperature of the default, on the test it was not chosen on."""
    default = [each["second"] for each in report["variants"]["default"].values()]
    line: dict[str, Any] = {
        f"mc_chi_{region}": max(each[region]["chi"] for each in default if region in each)
        for region in ("convex", "elsewhere", "all")
    }
    line["mc_chi_repeated"] = report["repeated"][f"{EXAMINED:.0f}"]["convex"]["chi"]
    return line | {"tie_lines": report["tie_lines"]}


def main() -> None:
    """Sample, learn, store, draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("expansion", type=existing, help="expansion.json of a campaign")
    parser.add_argument(
        "--points", type=int, default=512, help="in each set; a quarter more about wells"
    )
    options = parser.parse_args()
    expansion = ClusterExpansion.from_json(options.expansion)
    report: dict[str, Any] = {"points": options.points}
    with one_torch_thread(), pool(2, preload="sampling.label") as executor:
        for part, name, found in parts(Bench(expansion, options.points, executor)):
            report.setdefault(part, {})[name] = found
            write_atomically(RESULTS, json.dumps(report, indent=1) + "\n")
            print(part, name, json.dumps(brief(found) if part == "variants" else found), flush=True)
    plot(report, RESULTS.with_suffix(".png"))
    print(json.dumps(marks(report)))


def parts(bench: Bench) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Everything, what matters most first: where it belongs, its name, and what was found."""
    first, *others = VARIANTS.items()

    def variant(name: str, of: Variant) -> tuple[str, str, dict[str, Any]]:
        return "variants", name, bench.kept(name, of, lambda: tested(bench, of))

    yield variant(*first)
    kelvin = f"{EXAMINED:.0f}"
    yield "tie_lines", kelvin, bench.kept(f"filled {EXAMINED}", SETTINGS, lambda: filled(bench))
    yield "repeated", kelvin, bench.kept("repeated", SETTINGS, lambda: repeated(bench))
    yield from (variant(name, of) for name, of in others)


def brief(tests: dict[str, Any]) -> dict[str, Any]:
    """χ of both tests, convex and elsewhere, by temperature."""
    return {
        kelvin: {
            region: [round(test[region]["chi"], 2) for test in found.values() if region in test]
            for region in ("convex", "elsewhere")
        }
        for kelvin, found in tests.items()
    }


if __name__ == "__main__":
    main()
