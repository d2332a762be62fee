"""How well and how fast a free energy is learned from its derivatives; the assessed Ni–Al is exact.

    python examples/benchmarks/learning.py [PART ...] [--output DIRECTORY]

Parts: fit, literature, temperature, evaluation, bad_data; all of them if none is named. Each is
kept in `learning.json` as it ends, those not run as they were; `learning.png` shows what there is.
The last line printed is one JSON object. Numbers are medians of five seeds, in brackets the least
and the greatest; errors are root mean squares of ∂f/∂η in J/mol at 4,000 states never seen.
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import literature
import torch
from command_line import parts_and_output
from evaluation import evaluation
from learning_figure import plot
from llvmlite.binding import get_host_cpu_name
from oracle import JOULE_PER_MOL, derivatives, energies, free_energy
from states import sobol_states

from idnn.data import Data, Derivatives
from idnn.ensemble import CommitteeSettings, train_committee
from idnn.equilibrium import TieLine, committee_tie_line, tie_lines
from idnn.files import write_atomically
from idnn.free_energy import FreeEnergy
from idnn.levenberg import LevenbergMarquardt, least_squares
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from idnn.residuals import blocks
from idnn.thermal import ThermalNetwork
from sampling.candidates import along_prototypes, spread_over
from sampling.workers import pool

KELVIN, NOISE, SEEDS = 1273.0, 500.0, range(11, 16)

COMMITTEE = CommitteeSettings(
    network=NetworkSettings(widths=(6, 6)), fit=LevenbergMarquardt(iterations=60), discrepancy=0.0
)
"""One setting for all data at one temperature."""

ALONE = NetworkSettings(widths=(8, 8))
"""Of one network, timed beside the published one: few weights suffice for exact data as well."""

CASES = {"200_exact": (200, 0.0), "1000_exact": (1000, 0.0), "1000_noisy": (1000, NOISE)}
"""Points and noise, J/mol."""

STUDENT = {1: 0.649, 2: 0.914}
"""Share within so many σ that a committee of eight can have: σ itself is known from eight members
(Student's t with seven degrees of freedom), not the 0.683 and 0.954 of a normal law."""

TEMPERATURES, UNSEEN = (600.0, 730.0, 900.0, 1130.0, 1473.0), (660.0, 810.0, 1010.0, 1290.0)
THERMAL = replace(COMMITTEE, network=NetworkSettings(widths=(8, 8), floor=5e-5))
ENERGY_NOISE, EACH, COMPOSITION = 200.0, 500, (0.0, 0.35)


def spread(numbers: Sequence[float]) -> list[float]:
    """Median, least and greatest."""
    return [float(f"{x:.4g}") for x in (median(numbers), min(numbers), max(numbers))]


def clocks(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """The result, wall seconds and CPU seconds of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def unseen() -> Derivatives:
    """States to test with."""
    return derivatives(KELVIN, sobol_states(4000, seed=999), 0.0, seed=0)


def learned(
    data: Derivatives, settings: CommitteeSettings, executor: Executor | None = None
) -> IntegrableNetwork:
    """A committee."""
    network = IntegrableNetwork(FCC_L12, KELVIN, settings.network, settings.seeds)
    return train_committee(network, data, settings, executor=executor).network


def rmse(network: IntegrableNetwork, test: Derivatives) -> float:
    """Error of the mean, J/mol."""
    with torch.no_grad():
        error = network.gradient(test.eta) - test.mu
    return float(error.square().mean().sqrt()) / JOULE_PER_MOL


def judged(network: IntegrableNetwork, test: Derivatives) -> dict[str, float]:
    """Error of the mean, J/mol, and the share of errors within one and two σ."""
    with torch.no_grad():
        members = network.gradients(test.eta)
    error = members.mean(0) - test.mu
    z = (error / members.std(0)).abs()
    return {"rmse": rmse(network, test)} | {
        f"within_{k}": float((z < k).double().mean()) for k in STUDENT
    }


def fit(executor: Executor) -> dict[str, Any]:
    """Committees of eight on 200 and 1,000 points, exact and noisy; two worker processes."""
    test, report = unseen(), {}
    learned(derivatives(KELVIN, sobol_states(50, 0), 0.0, 0), COMMITTEE, executor)  # warm up
    for name, (count, noise) in CASES.items():
        runs = []
        for seed in SEEDS:
            data = derivatives(KELVIN, sobol_states(count, seed), noise, seed)
            settings = replace(COMMITTEE, seed=seed)
            network, wall, _ = clocks(partial(learned, data, settings, executor))
            runs.append(judged(network, test) | {"wall_s": wall})
        report[name] = {key: spread([run[key] for run in runs]) for key in runs[0]}
        print(f"{name}: {report[name]}", flush=True)
    data = derivatives(KELVIN, sobol_states(1000, SEEDS[0]), NOISE, SEEDS[0])
    *_, cpu = clocks(partial(learned, data, replace(COMMITTEE, seed=SEEDS[0])))
    return report | {"cpu_s_1000_noisy": round(cpu, 2), "expected_within": STUDENT}


def published() -> dict[str, Any]:
    """The published recipe, and one network of ours at several numbers of iterations.

    The learning rate with the least error on the *test* data of one seed is taken, which favours
    the recipe. All in this process on one thread, CPU seconds beside each other.
    """
    test = unseen()
    report: dict[str, Any] = {"rates": {}}
    sets = {seed: derivatives(KELVIN, sobol_states(1000, seed), 0.0, seed) for seed in SEEDS}
    for rate in literature.RATES:
        network = literature.train(sets[SEEDS[0]], rate, seed=0)
        report["rates"][rate] = literature.rmse(network, test) / JOULE_PER_MOL
        print(f"published recipe, rate {rate}: {report['rates'][rate]:.0f} J/mol", flush=True)
    best = min(report["rates"], key=report["rates"].get)
    theirs, ours = [], {steps: [] for steps in (5, 10, 20, 40)}
    for seed, data in sets.items():
        network, wall, cpu = clocks(partial(literature.train, data, best, seed))
        theirs.append((literature.rmse(network, test) / JOULE_PER_MOL, cpu, wall))
        for steps, found in ours.items():
            settings = replace(COMMITTEE.fit, iterations=steps)
            network, wall, cpu = clocks(partial(alone, data, settings, seed))
            found.append((rmse(network, test), cpu, wall))
        print(f"seed {seed}: published {theirs[-1]}", {k: v[-1] for k, v in ours.items()})
    report["rate"] = best
    columns = ("rmse", "cpu_s", "wall_s")
    report["runs"] = {
        str(name): {
            key: spread(of) for key, of in zip(columns, zip(*runs, strict=True), strict=True)
        }
        for name, runs in ({"published": theirs} | ours).items()
    }
    worst = min(error for error, *_ in theirs)
    enough = next(s for s, found in ours.items() if max(e for e, *_ in found) < worst)
    report["iterations_to_lower_error"] = enough
    ratios = [a[1] / b[1] for a, b in zip(theirs, ours[enough], strict=True)]
    walls = [a[2] / b[2] for a, b in zip(theirs, ours[enough], strict=True)]
    return report | {"speedup": spread(ratios), "speedup_wall": spread(walls)}


def alone(data: Derivatives, settings: LevenbergMarquardt, seed: int) -> IntegrableNetwork:
    """One network, trained once."""
    network = IntegrableNetwork(FCC_L12, KELVIN, ALONE, (seed,))
    start = {name: p.detach() for name, p in network.named_parameters()}
    last = f"weights.{len(ALONE.widths)}"
    found = least_squares(start, blocks(network, data), settings, linear=last)
    network.load_state_dict(found.parameters)
    return network


def temperature(executor: Executor) -> dict[str, Any]:
    """One f(η, T) from 2,500 noisy points at five temperatures; tie-lines at others, ±σ."""
    report: dict[str, Any] = {}
    found = {kelvin: gamma_prime(free_energy(kelvin)) for kelvin in UNSEEN}
    exact = {kelvin: line for kelvin, line in found.items() if line is not None}
    for name, take in {"with_energies": True, "without_energies": False}.items():
        lines, walls = [], []
        for seed in SEEDS:
            settings = replace(THERMAL, seed=seed)
            network = ThermalNetwork(
                FCC_L12, (TEMPERATURES[0], TEMPERATURES[-1]), settings.network, settings.seeds
            )
            data = campaign(seed, with_energies=take)
            train = partial(train_committee, network, data, settings, executor=executor)
            committee, wall, _ = clocks(train)
            walls.append(wall)
            for kelvin, line in exact.items():
                errors = compared(committee.network.at(kelvin), line)
                lines.append({"seed": seed, "kelvin": kelvin} | errors)
            print(f"{name}, seed {seed}, {wall:.0f} s: {lines[-len(UNSEEN) :]}", flush=True)
        report[name] = {"lines": lines, "wall_s": spread(walls)} | summed(lines)
    return report | {"exact": {k: line.compositions for k, line in exact.items()}}


def campaign(seed: int, *, with_energies: bool) -> list[Data]:
    """Points as a campaign would choose them: half evenly, half near lines to ordered states."""
    data: list[Data] = []
    for i, kelvin in enumerate(TEMPERATURES):
        own, half = 100 * seed + i, EACH // 2
        eta = torch.cat(
            [way(FCC_L12, COMPOSITION, half, own) for way in (spread_over, along_prototypes)]
        )
        data.append(derivatives(kelvin, eta, NOISE, own))
        if with_energies:
            data.append(energies(kelvin, eta, ENERGY_NOISE, own + 50))
    return data


def gamma_prime(f: FreeEnergy) -> TieLine | None:
    """The stable tie-line between the disordered phase and L1₂."""
    lines = tie_lines(f, FCC_L12, composition=COMPOSITION)
    return next((line for line in lines if line.phases == ("A1", "L1_2")), None)


def compared(network: IntegrableNetwork, exact: TieLine) -> dict[str, Any]:
    """Errors of both ends, and σ of both; infinite where the line is missing."""
    line = gamma_prime(network)
    if line is None:
        return {"error": [math.inf] * 2, "sigma": [math.inf] * 2}
    pairs = zip(line.compositions, exact.compositions, strict=True)
    sigma = committee_tie_line(network, line).sigma()
    return {"error": [a - b for a, b in pairs], "sigma": list(sigma)}


def summed(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The greatest error of each end, and shares within 0.002 and within 1 and 2 σ."""
    error = torch.tensor([line["error"] for line in lines]).abs()
    z = error / torch.tensor([line["sigma"] for line in lines])
    return {
        "largest_error": error.max(0).values.tolist(),
        "rms_error": error.square().mean(0).sqrt().tolist(),
        "within_0.002": float((error <= 0.002).double().mean()),
        "within_1": float((z <= 1).double().mean()),
        "within_2": float((z <= 2).double().mean()),
        "cases": error.numel(),
    }


def bad_data(executor: Executor) -> dict[str, str]:
    """What becomes of data that no one should trust: a message, or a wide σ."""
    good = derivatives(KELVIN, sobol_states(200, 1), NOISE, 1)
    test = unseen()
    shifted = replace(good, mu=good.mu + 5000 * JOULE_PER_MOL)
    one = torch.zeros(200, dtype=torch.int64)
    cases: dict[str, Callable[[], Derivatives]] = {
        "good": lambda: good,
        "a NaN": lambda: replace(good, mu=good.mu.index_fill(0, one[:1], math.nan)),
        "zero σ": lambda: replace(good, sigma=0 * good.sigma),
        "outside the domain": lambda: replace(good, eta=2 * good.eta),
        "every point twice": lambda: joined(good, good),
        "contradictory by 5 kJ/mol": lambda: joined(good, shifted),
        "all the same point": lambda: good[one],
        "five points": lambda: good[torch.arange(5)],
    }
    return {name: outcome(make, test, executor) for name, make in cases.items()}


def joined(a: Derivatives, b: Derivatives) -> Derivatives:
    """Both."""
    both = ((getattr(a, name), getattr(b, name)) for name in ("eta", "mu", "sigma"))
    return Derivatives(*(torch.cat(each) for each in both))


def outcome(make: Callable[[], Derivatives], test: Derivatives, executor: Executor) -> str:
    """One line."""
    try:
        network = learned(make(), COMMITTEE, executor)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    with torch.no_grad():
        sigma = network.gradients(test.eta).std(0).square().mean().sqrt() / JOULE_PER_MOL
    found = judged(network, test)
    return (
        f"error {found['rmse']:.0f} J/mol, σ {float(sigma):.0f} J/mol; within 2σ "
        f"{100 * found['within_2']:.0f} %"
    )


PARTS: dict[str, Callable[[Executor], dict[str, Any]]] = {
    "fit": fit,
    "literature": lambda _: published(),
    "temperature": temperature,
    "evaluation": lambda _: evaluation(),
    "bad_data": bad_data,
}


def summary(report: dict[str, Any]) -> dict[str, float]:
    """The figures that a reader asks for first, of the parts that were run."""
    line: dict[str, float] = {}
    if part := report.get("fit"):
        line |= {f"rmse_{name}": part[name]["rmse"][0] for name in CASES}
        line["committee_s"] = part["1000_noisy"]["wall_s"][0]
    if part := report.get("literature"):
        line["speedup_over_literature"] = part["speedup"][0]
    if part := report.get("temperature"):
        line["tie_line_unseen_T_max_error"] = max(part["with_energies"]["largest_error"])
    if part := report.get("evaluation"):
        line["eval_speedup"] = part["gelu float64"]["times_closed_form"]["autograd"][0]
    return line


def main() -> None:
    """Run the parts; write `learning.json` and `learning.png`; print the summary."""
    chosen, output = parts_and_output(__doc__, PARTS)
    path = output / "learning.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    with pool(2, "idnn.ensemble") as executor:
        for name in chosen:
            before = os.getloadavg()[0]
            part = PARTS[name](executor)
            load = [round(x, 1) for x in (before, os.getloadavg()[0])]
            report[name] = part | {"load": load}
            report |= {"processor": get_host_cpu_name(), "summary": summary(report)}
            write_atomically(path, json.dumps(report, indent=1) + "\n")
    plot(report, path.with_suffix(".png"))
    print(json.dumps(report["summary"]))


if __name__ == "__main__":
    main()
