"""The figure of `active_learning.py`."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from sampling.style import new_figure


def plot(report: dict[str, Any], path: Path) -> None:
    """Error against points by strategy, and what the stopping rule saw in twenty runs."""
    figure = new_figure(9.6, 4.0)
    left, right = figure.subplots(1, 2)
    if "strategies" in report:
        _strategies(left, report)
    if "stopping" in report:
        _stopping(right, report["stopping"])
    figure.savefig(path)


def _strategies(axes: Axes, report: dict[str, Any]) -> None:
    """Every run's larger error of both ends, and the median number of points needed."""
    for k, (name, found) in enumerate(report["strategies"].items()):
        runs = [v for key, v in report["histories"].items() if key.rsplit(" ", 1)[0] == name]
        for i, rows in enumerate(runs):
            x = [row["points"] for row in rows]
            y = [1e3 * max(map(abs, row["error"])) for row in rows]
            need = "more" if found["median"] is None else f"{found['median']:.0f}"
            label = f"{name}: {need}" if i == 0 else None
            axes.plot(x, y, color=f"C{k}", lw=0.8, alpha=0.7, label=label)
    axes.axhline(1.0, color="0.4", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="points", ylabel="error of the tie-line / 10⁻³")
    _plain_ticks(axes, (0.1, 1, 10, 100))
    axes.legend(frameon=False, title="median of points needed", fontsize="small")


def _stopping(axes: Axes, found: dict[str, Any]) -> None:
    """Errors and σ of both ends, root mean square over the runs; where they stopped."""
    for end, name in enumerate(("γ", "γ′")):
        for key, style in (("rms_error_in_1e-3", "-"), ("rms_sigma_in_1e-3", "--")):
            what = "error" if style == "-" else "calibrated σ"
            values = [row[end] for row in found[key]]
            axes.plot(found["points"], values, style, color=f"C{end}", label=f"{what} of {name}")
    rule = list(found["rules"].items())[-1]
    marks = {f"optimum for {rule[0]}": rule[1]["optimum"]} | {
        f"stop at {float(sure):g} σ ≤ {rule[0]}, {by['early']} early": by["median"]
        for sure, by in rule[1]["by"].items()
    }
    for k, (label, points) in enumerate(marks.items()):
        if points is not None:
            axes.axvline(points, color="0.5", lw=0.8, ls=":" if k == 0 else "-")
            side = (4, "left") if k == 0 else (-4, "right")
            axes.annotate(
                label, (points, 0.03), (side[0], 0), xycoords=("data", "axes fraction"),
                textcoords="offset points", rotation=90, ha=side[1], fontsize=8, color="0.3",
            )  # fmt: skip
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="points",
        ylabel="composition / 10⁻³",
        title="twenty runs, ours",
    )
    _plain_ticks(axes, (0.5, 1, 2, 5))
    axes.legend(frameon=False, fontsize="small")


def _plain_ticks(axes: Axes, levels: tuple[float, ...]) -> None:
    for axis, ticks in ((axes.xaxis, (50, 100, 200, 500, 1000, 2000)), (axes.yaxis, levels)):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
