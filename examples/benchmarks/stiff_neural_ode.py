"""Right-hand sides learned from one trajectory of a stiff problem, beside published ones.

    python examples/benchmarks/stiff_neural_ode.py [PART ...] [--output DIRECTORY]

Parts: robertson, pollu; both if none is named. Data as published (Kim et al. 2021,
doi:10.1063/5.0060697): Robertson's problem at 50 times in ratio from 10⁻⁵ to 10⁵, POLLU at 20 from
0 to 60 minutes, errors in units of each species' largest value and of its range. Ours begins with
collocation (rates against the slope of an interpolant, by least squares) and ends with L-BFGS
through the solver. Then the published network and recipe, each of its keys left out in turn, for
some epochs; and starts that nobody was trained on. Each part is kept in `stiff_neural_ode.json` as
it ends; the last line printed is one JSON object.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from command_line import parts_and_output
from scipy.interpolate import CubicSpline, PchipInterpolator
from stiff_neural_ode_figure import plot
from torch import Tensor, nn
from torch.func import functional_call, jacrev

from idnn.files import write_atomically
from idnn.levenberg import LevenbergMarquardt, NotTrained, least_squares
from idnn.ode import Control, solve
from idnn.ode.learned import Balance, FluxNetwork, Perceptron, ProductionLoss, ScaledNetwork
from idnn.ode.problems import StiffProblem, pollu, robertson
from idnn.residuals import by_autodiff
from idnn.train import LBFGS, FirstOrder, fit

SEEDS = (0, 1, 2)
SIGMA = 1e-3
"""Error that a balance may have, in units of what it is compared with."""

BALANCES = (1.0, 0.1, 0.01)
"""Share of gain and loss which that unit has, from stage to stage."""

LEAST_SQUARES = LevenbergMarquardt(iterations=40, outlier=1e9, evidence=False, tolerance=1e-3)

PUBLISHED = {
    "robertson": {
        1: 0.3232, 100: 0.2209, 1000: 0.1432, 5000: 0.1108, 10000: 0.0855, 20000: 0.0380,
        25000: 0.0172, 30000: 0.0112, 40000: 0.00653, 48318: 0.004406, 50000: 0.00563,
    },
    "pollu": {
        1: 0.6623, 100: 0.1778, 1000: 0.0237, 5000: 0.00633, 10000: 0.00497, 20000: 0.00292,
        21952: 0.001855, 25000: 0.00550,
    },
}  # fmt: skip
"""Scaled MAE after epochs, from the published checkpoints; each holds the least there is."""


@dataclass(frozen=True, eq=False)
class Case:
    """A problem, its data, and what they say about sizes.

    Attributes:
        problem: the true one.
        t, y: the data.
        scale: of errors.
        points: time, state and slope of an interpolant, and the time that is short there.
        make: the right-hand side of a seed, given the sizes of u and of du/dt.
        hidden: layers of the published network.
        shallow: units of one layer with as many weights.
        epochs: of the published recipe that are run.
        spread: random starts.
    """

    problem: StiffProblem
    t: Tensor
    y: Tensor
    scale: Tensor
    points: dict[str, Tensor]
    make: Callable[[int, Tensor, Tensor], Balance]
    hidden: tuple[int, ...]
    shallow: int
    epochs: int
    spread: Callable[[torch.Generator], Tensor]

    @property
    def speed(self) -> Tensor:
        """The size of du/dt."""
        return self.points["slope"].abs().amax(0)

    def control(self, rtol: float) -> Control:
        """Tolerances in proportion to the sizes of species."""
        return Control(rtol=rtol, atol=rtol / 100 * self.scale, max_steps=5000)

    def solved(self, f: nn.Module, start: Tensor, rtol: float) -> Tensor:
        """The trajectory of a model; NaN from where it fails."""
        return solve(f, start, self.t, control=self.control(rtol), strict=False).y

    def errors(self, y: Tensor, exact: Tensor) -> Tensor:
        """At all times of the data but the start."""
        return ((y - exact) / self.scale)[..., 1:, :]

    def mae(self, f: nn.Module) -> float:
        """Of the trajectory that was learned."""
        with torch.no_grad():
            return float(self.errors(self.solved(f, self.y[0], 1e-6), self.y).abs().mean())


def truth(problem: StiffProblem, start: Tensor, t: Tensor) -> Tensor:
    """States of the true problem at the times of the data."""
    control = Control(rtol=1e-10, atol=1e-12 * problem.scale)
    k, jacobian = problem.parameters, problem.jacobian
    return solve(problem.f, start, t, k, jacobian=jacobian, control=control).y


def robertson_case() -> Case:
    """Over ten decades: a spline over log t, and pairwise fluxes."""
    problem, decades = robertson(), torch.logspace(-5, 5, 50, dtype=torch.float64)
    t = torch.cat([torch.zeros(1, dtype=torch.float64), decades])
    y = truth(problem, problem.y0, t)
    spline = CubicSpline(decades.log().numpy(), y[1:].numpy())
    at = torch.linspace(math.log(1e-5), math.log(1e5), 197, dtype=torch.float64)
    time_ = at.exp()
    slope = torch.from_numpy(spline(at.numpy(), 1)) / time_[:, None]
    points = {"u": torch.from_numpy(spline(at.numpy())), "slope": slope, "short": time_}

    def make(seed: int, scale: Tensor, speed: Tensor) -> FluxNetwork:
        return FluxNetwork(Perceptron((3, 8, 8, 6), seed=seed, linear=True), scale, speed)

    def spread(generator: torch.Generator) -> Tensor:
        first = 0.5 + 0.5 * torch.rand(16, generator=generator, dtype=torch.float64)
        return torch.stack([first, torch.zeros_like(first), 1 - first], -1)

    return Case(problem, t, y, y.amax(0), points, make, (5,) * 6, 26, 100, spread)


def pollu_case() -> Case:
    """An hour: a monotone interpolant, and production and loss."""
    problem = pollu()
    t = torch.linspace(0, 60, 20, dtype=torch.float64)
    y = truth(problem, problem.y0, t)
    curve = PchipInterpolator(t.numpy(), y.numpy())
    at = torch.linspace(0, 60, 77, dtype=torch.float64)
    points = {
        "u": torch.from_numpy(curve(at.numpy())).clamp_min(0),
        "slope": torch.from_numpy(curve(at.numpy(), 1)),
        "short": torch.full_like(at, 10.0),
    }

    def make(seed: int, scale: Tensor, speed: Tensor) -> ProductionLoss:
        return ProductionLoss(Perceptron((20, 5, 5, 40), seed=seed), scale, speed, floor=1e-2)

    def spread(generator: torch.Generator) -> Tensor:
        noise = 2 * torch.rand(16, 20, generator=generator, dtype=torch.float64) - 1
        return problem.y0 * (1 + 0.2 * noise)

    scale = y.amax(0) - y.amin(0)
    return Case(problem, t, y, scale, points, make, (10,) * 3, 15, 300, spread)


class Gains(nn.Module):
    """What a model gives and takes."""

    def __init__(self, model: Balance) -> None:
        super().__init__()
        self.model = model

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Of every species."""
        return self.model.gain_and_loss(u)


def collocate(case: Case, model: Balance, balance: float) -> int:
    """Up to forty iterations towards gain − loss = slope.

    The difference counts in units of s/(short time) + b(gain + loss): a species that is at balance,
    fast against the data, is asked for its balance and not for its rate.
    """
    gains = Gains(model)

    def residual(weights: Any, row: dict[str, Tensor]) -> Tensor:  # noqa: ANN401
        gain, loss = functional_call(gains, dict(weights), (row["u"],))
        unit = case.scale / row["short"] + balance * (gain + loss)
        return (gain - loss - row["slope"]) / (SIGMA * unit)

    block = by_autodiff(residual, case.points, len(case.scale))
    start = {name: weight.detach()[None] for name, weight in gains.named_parameters()}
    found = least_squares(start, [block], LEAST_SQUARES)
    weights = {name: weight[0] for name, weight in found.parameters.items()}
    gains.load_state_dict(weights, strict=False)
    return int(found.iterations)


def squares(case: Case, model: nn.Module, start: Tensor) -> Tensor:
    """Of the errors of the whole trajectory; large where it fails."""
    errors = case.errors(case.solved(model, start, 1e-5), case.y)
    return 1e4 * errors.nan_to_num(1.0).square().mean()


def absolute(case: Case, unit: Tensor, model: nn.Module, start: Tensor) -> Tensor:
    """The published loss, at its tolerances."""
    control = Control(rtol=1e-3, atol=1e-6, max_steps=1000)
    y = solve(model, start, case.t, control=control, strict=False).y
    return ((y - case.y) / unit)[1:].abs().mean()


def clocks(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """The result, and seconds that it took, by the clock and of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    return result, took


def learned(case: Case, seed: int) -> tuple[nn.Module, list[dict[str, float]]]:
    """A model, and its error from stage to stage; looking at it does not count in the seconds."""
    model = case.make(seed, case.scale, case.speed)
    history = [{"iteration": 0.0, "wall_s": 0.0, "cpu_s": 0.0, "mae": finite(case.mae(model))}]

    def stage(work: Callable[[], int]) -> None:
        done, took = clocks(work)
        took |= {"iteration": done}
        sums = {key: history[-1][key] + value for key, value in took.items()}
        history.append(sums | {"mae": finite(case.mae(model))})

    for balance in BALANCES:
        for _ in range(2):
            stage(partial(collocate, case, model, balance))
    loss = partial(squares, case)
    stage(lambda: fit(model, loss, case.y[0], LBFGS(iterations=16)).evaluations)
    return model, history


def published(case: Case, variant: str, seed: int = 0) -> tuple[nn.Module, dict[str, Any]]:
    """The published network and recipe, with one key left out."""
    n = len(case.scale)
    hidden = (case.shallow,) if variant == "shallow" else case.hidden
    activation = nn.Tanh if variant == "tanh" else partial(nn.GELU, approximate="tanh")
    network = Perceptron((n, *hidden, n), activation, seed=seed)
    one = torch.ones_like(case.scale)
    speed = one if variant == "no output scaling" else case.scale / case.t[-1]
    model = ScaledNetwork(network, speed)
    unit = one if variant == "no loss scaling" else case.scale
    recipe = FirstOrder(
        make=partial(torch.optim.AdamW, lr=0.005, weight_decay=1e-6), epochs=case.epochs
    )

    def train() -> float:
        try:
            fit(model, partial(absolute, case, unit), case.y[0], recipe)
        except NotTrained as error:
            print(f"{variant}: {error}", flush=True)
            return math.inf
        return finite(case.mae(model))

    mae, took = clocks(train)
    row = {"mae": mae, "epochs": case.epochs} | took
    print(f"published recipe, {variant}: {row}", flush=True)
    return model, row


VARIANTS = ("as published", "tanh", "shallow", "no output scaling", "no loss scaling")


def ours_without(case: Case) -> dict[str, float]:
    """Scaled MAE after collocation alone, with a key of ours left out."""
    by_duration = case.scale / case.t[-1]
    cases = {
        "collocation alone": (case.speed, BALANCES),
        "speeds s/T": (by_duration, BALANCES),
        "no balances": (case.speed, (0.0,) * len(BALANCES)),
    }
    found = {}
    for name, (speed, balances) in cases.items():
        model = case.make(SEEDS[0], case.scale, speed)
        for balance in balances:
            for _ in range(2):
                collocate(case, model, balance)
        found[name] = finite(case.mae(model))
    print(f"ours: {found}", flush=True)
    return found


def finite(x: float) -> float:
    """Infinite where a model cannot be solved."""
    return x if math.isfinite(x) else math.inf


def unseen(case: Case, models: dict[str, nn.Module]) -> dict[str, list[float]]:
    """Median, least and greatest scaled MAE over sixteen starts that nobody was trained on."""
    start = case.spread(torch.Generator().manual_seed(1))
    exact = truth(case.problem, start, case.t)
    found = {}
    for name, model in models.items():
        with torch.no_grad():
            y = case.solved(model, start, 1e-6)
        found[name] = spread([finite(x) for x in case.errors(y, exact).abs().mean((1, 2)).tolist()])
    return found


def spread(numbers: Sequence[float]) -> list[float]:
    """Median, least and greatest."""
    return [float(f"{x:.4g}") for x in (median(numbers), min(numbers), max(numbers))]


def fastest(f: Callable[[Tensor], Tensor], states: Tensor) -> list[float]:
    """The most negative real part of an eigenvalue of ∂f/∂u."""
    return [float(torch.linalg.eigvals(jacrev(f)(u).detach()).real.min()) for u in states]


def study(case: Case, name: str) -> dict[str, Any]:
    """All of one problem."""
    runs = []
    for seed in SEEDS:
        model, history = learned(case, seed)
        with torch.no_grad():
            y = case.solved(model, case.y[0], 1e-7)
        last = history[-1]
        drift = float((y.sum(1) - case.y.sum(1)).abs().max())
        runs.append((last["mae"], model, history, y, drift, last))
        print(f"{name}, seed {seed}: {last}, sum off by {drift:.2g}", flush=True)
    runs.sort(key=lambda run: run[0])
    _, model, history, y, _, _ = runs[len(runs) // 2]
    table, theirs = {}, {}
    for variant in VARIANTS:
        theirs[variant], table[variant] = published(case, variant)
    k, middle = case.problem.parameters, case.y[[1, len(case.t) // 2, -1]]
    true = partial(case.problem.f, None, k=k)
    return {
        "mae": spread([run[0] for run in runs]),
        "sum_drift": max(run[4] for run in runs),
        "least_value": float((y / case.scale).min()),
        "training_wall_s": spread([run[5]["wall_s"] for run in runs]),
        "training_cpu_s": spread([run[5]["cpu_s"] for run in runs]),
        "history": history,
        "published_recipe": table,
        "ours_without": ours_without(case),
        "unseen": unseen(case, {"ours": model, "published recipe": theirs["as published"]}),
        "fastest_rate": {
            "ours": fastest(partial(model, None), middle),
            "true": fastest(true, middle),
        },
        "published": PUBLISHED[name],
        "t": case.t.tolist(),
        "data": (case.y / case.scale).tolist(),
        "learned": (y / case.scale).tolist(),
    }


CASES = {"robertson": robertson_case, "pollu": pollu_case}


def summary(report: dict[str, Any]) -> dict[str, float]:
    """The figures that a reader asks for first, of the parts that were run."""
    line: dict[str, float] = {}
    for name in CASES:
        if part := report.get(name):
            line[f"{name}_mae"] = part["mae"][0]
            line[f"{name}_training_cpu_s"] = part["training_cpu_s"][0]
            line[f"{name}_unseen_mae"] = part["unseen"]["ours"][0]
    if part := report.get("robertson"):
        line["robertson_mass_drift"] = part["sum_drift"]
    line["wall_s"] = sum(report[name]["wall_s"] for name in CASES if name in report)
    return line


def main() -> None:
    """Run the parts; write `stiff_neural_ode.json` and `.png`; print the summary."""
    chosen, output = parts_and_output(__doc__, CASES)
    path = output / "stiff_neural_ode.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    for name in chosen:
        begin = time.perf_counter()
        report[name] = study(CASES[name](), name) | {"wall_s": time.perf_counter() - begin}
        report["summary"] = summary(report)
        plain = json.loads(json.dumps(report), parse_constant=lambda _: None)  # JSON has no ∞
        write_atomically(path, json.dumps(plain, indent=1) + "\n")
    plot(report, path.with_suffix(".png"))
    print(json.dumps(report["summary"]))


if __name__ == "__main__":
    main()
