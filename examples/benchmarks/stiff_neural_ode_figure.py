"""The figure of `stiff_neural_ode.py`."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from sampling.style import COLOURS, new_figure

NAMES = {"robertson": "Robertson", "pollu": "POLLU"}
SHOWN = {
    "robertson": {0: "y₁", 1: "y₂", 2: "y₃"},
    "pollu": {0: "NO₂", 1: "NO", 3: "O₃", 12: "PAN", 18: "NO₃"},
}


def plot(report: dict[str, Any], path: Path) -> None:
    """A row for each problem that was run: error by iteration and by seconds, and trajectories."""
    names = [name for name in NAMES if name in report]
    figure = new_figure(11.0, 3.2 * len(names))
    for name, row in zip(names, figure.subplots(len(names), 3, squeeze=False), strict=True):
        part = report[name]
        _by_iteration(row[0], part, NAMES[name])
        _by_seconds(row[1], part)
        _trajectories(row[2], part, name)
    figure.savefig(path)


def _by_iteration(panel: Axes, part: dict[str, Any], title: str) -> None:
    epochs = [int(epoch) for epoch in part["published"]]
    panel.plot(epochs, part["published"].values(), "s-", color=COLOURS[0], label="published")
    history = part["history"]
    panel.plot(
        [max(h["iteration"], 1) for h in history], [h["mae"] for h in history],
        "o-", color=COLOURS[1], label="ours",
    )  # fmt: skip
    run = part["published_recipe"]["as published"]
    panel.plot(run["epochs"], run["mae"], "D", color=COLOURS[2], ls="", label="their recipe here")
    panel.set(xscale="log", yscale="log", xlabel="iteration or epoch", ylabel="scaled MAE")
    panel.set_title(title)
    panel.legend(fontsize=8)


def _by_seconds(panel: Axes, part: dict[str, Any]) -> None:
    history = part["history"][1:]
    panel.plot(
        [h["cpu_s"] for h in history], [h["mae"] for h in history],
        "o-", color=COLOURS[1], label="ours",
    )  # fmt: skip
    run = part["published_recipe"]["as published"]
    panel.plot(run["cpu_s"], run["mae"], "D", color=COLOURS[2], label="their recipe here")
    best = min(part["published"].values())
    panel.axhline(best, color=COLOURS[0], ls="--", label="published, at its best")
    panel.set(xscale="log", yscale="log", xlabel="CPU seconds, one core", ylabel="scaled MAE")
    panel.legend(fontsize=8)


def _trajectories(panel: Axes, part: dict[str, Any], name: str) -> None:
    first = 1 if name == "robertson" else 0
    times = part["t"][first:]
    for colour, (species, label) in zip(COLOURS, SHOWN[name].items(), strict=False):
        panel.plot(times, [u[species] for u in part["data"][first:]], "o", ms=3, color=colour)
        learned = [u[species] for u in part["learned"][first:]]
        panel.plot(times, learned, "-", color=colour, label=label)
    panel.set(xlabel="t, s" if name == "robertson" else "t, min", ylabel="u in units of its size")
    panel.set_xscale("log" if name == "robertson" else "linear")
    panel.set_title("dots: data; lines: learned")
    panel.legend(fontsize=8)
