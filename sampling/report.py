"""The campaign's report: one self-contained HTML page, and its figures as JSON."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from idnn.checkpoint import load, read_header
from idnn.data import Derivatives
from idnn.files import write_atomically
from idnn.network import IntegrableNetwork
from idnn.runtime import one_torch_thread
from idnn.spinodals import ordering_spinodal
from idnn.wells import Well, wells
from sampling import figures_learning as draw
from sampling.campaign import MODEL, STORE, is_known_twice, is_over
from sampling.energetics import FIGURES, SUMMARY
from sampling.judge import Judgement, solution_tie_line
from sampling.labels import derivatives, is_known
from sampling.store import Session, Store

logger = logging.getLogger(__name__)

REPORT = "report.html"
MICROSTRUCTURE = "microstructure"
"""Folder beside the store in which the report looks for a phase-field run."""


class Unfinished(RuntimeError):
    """There is nothing to report on yet."""


@dataclass(frozen=True, eq=False)
class Findings:
    """Everything the report shows, read back from the campaign's files."""

    directory: Path
    sessions: tuple[Session, ...]
    energetics: Mapping[str, Any]
    rounds: tuple[Judgement, ...]
    data: Derivatives
    reasons: tuple[str, ...]
    labels: tuple[Mapping[str, Any], ...]
    network: IntegrableNetwork
    model_hash: str
    seconds: Mapping[str, float]
    microstructure: Mapping[str, Any] | None

    @property
    def settings(self) -> Mapping[str, Any]:
        """As the campaign was last run."""
        return self.sessions[-1].settings

    @property
    def outcome(self) -> str:
        """Why the loop ended: its tolerances were met, or its budget of rounds was spent."""
        known = is_known_twice(self.rounds, self.settings["active_learning"])
        return "tolerance" if known else "budget"

    @property
    def composition(self) -> tuple[float, float]:
        """Range of composition that was sampled."""
        low, high = self.settings["ensemble"]["composition"]
        return low, high


def gather(directory: Path) -> Findings:
    """Read a campaign's files.

    Raises:
        Unfinished: the loop is not over yet, or there is no campaign.
        BadStore: the store is damaged.
        BadModelFile: the model is damaged.
    """
    if not (directory / STORE).is_file():
        raise Unfinished(f"`directory`: {directory} holds no campaign; run one first.")
    store = Store(directory / STORE)
    try:
        rounds = tuple(Judgement.from_stored(content) for content in store.rounds())
        points = [p for p in store.proposals() if p.round < len(rounds)]
        stored, sessions, seconds = store.labels(), tuple(store.sessions()), store.seconds()
    finally:
        store.close()
    if not rounds or not is_over(rounds, sessions[-1].settings["active_learning"]):
        raise Unfinished(
            f"`directory`: the campaign in {directory} is not finished "
            f"({len(rounds)} rounds done); run it again to continue it."
        )
    labels = tuple(stored[p.point] for p in points)
    model = directory / MODEL
    network = load(model)
    return Findings(
        directory=directory,
        sessions=sessions,
        energetics=json.loads((directory / SUMMARY).read_text()),
        rounds=rounds,
        data=derivatives(labels, network.system),
        reasons=tuple(p.reason for p in points if is_known(stored[p.point])),
        labels=labels,
        network=network,
        model_hash=read_header(model)["data_hash"],
        seconds=seconds,
        microstructure=_microstructure(directory / MICROSTRUCTURE, read_header(model)["data_hash"]),
    )


def figures_of_merit(found: Findings) -> dict[str, Any]:
    """The report's numbers for machines; not finite ones are null."""
    last, energetics = found.rounds[-1], found.energetics
    x = dict(zip(("x_gamma", "x_gamma_prime"), last.x, strict=False))
    sigma = dict(zip(("x_gamma_sigma", "x_gamma_prime_sigma"), last.sigma_x, strict=False))
    micro = found.microstructure or {}
    wall = dict(found.seconds)
    if "wall_s" in micro:
        wall["microstructure"] = micro["wall_s"]
    wall["total"] = sum(wall.values())
    numbers = {
        "energies": energetics["method"],
        "n_structures": energetics["n_structures"],
        "cv_rmse_meV": 1e3 * energetics["rmse_full"],
        "cv_rmse_focus_meV": 1e3 * energetics["rmse_focus"],
        "cv_rmse_nested_focus_meV": 1e3 * energetics["nested_rmse_focus"],
        "l12_on_hull": energetics["l12_on_hull"],
        "n_points": last.n_points,
        "rounds": len(found.rounds),
        "stopped_by": found.outcome,
        "phases": list(last.phases),
        "temperature_K": found.settings["ensemble"]["temperature"],
        "x_gamma": None,
        "x_gamma_prime": None,
        "x_gamma_sigma": None,
        "x_gamma_prime_sigma": None,
        **x,
        **sigma,
        "mu_rmse_unseen_meV": last.unseen_rmse and 1e3 * last.unseen_rmse,
        "mu_sigma_meV": 1e3 * last.sigma_mu,
        "calibration": last.calibration,
        "mass_drift": micro.get("mass_drift"),
        "energy_never_rose": micro.get("energy_never_rose"),
        "variants": micro.get("variants"),
        "fraction_ordered": micro.get("fraction_ordered"),
        "wall_s": {stage: round(seconds, 2) for stage, seconds in wall.items()},
        "seed": found.settings["seed"],
        "data_hash": found.model_hash,
        "sessions": len(found.sessions),
        "versions": _all_versions(found.sessions),
    }
    return {key: _finite(value) for key, value in numbers.items()}


def _all_versions(sessions: Iterable[Session]) -> dict[str, str]:
    """Of each package the versions that the sessions ran on, in the order of their use."""
    used: dict[str, dict[str, None]] = {}
    for session in sessions:
        for name, version in session.versions.items():
            used.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in used.items()}


def write_report(directory: Path) -> Path:
    """Write report.html into a finished campaign's directory; returns its path.

    Raises:
        Unfinished: the campaign has not finished a round.
    """
    with one_torch_thread():
        return _write(gather(directory))


def _write(found: Findings) -> Path:
    environment = Environment(
        loader=PackageLoader("sampling"), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = _number
    environment.filters["name"] = _subscripts
    page = environment.get_template("report.html.j2").render(
        found=found,
        numbers=figures_of_merit(found),
        figures=_figures(found),
        stable=_stable_wells(found),
        spinodal=ordering_spinodal(
            found.network, composition=found.composition, dimension=found.network.system.dimension
        ),
        settings=json.dumps(found.settings, indent=2, ensure_ascii=False),
        sampling=_sampling(found),
        files=[p for p in _FILES if (found.directory / p).exists()],
    )
    path = found.directory / REPORT
    write_atomically(path, page)
    return path


_FILES = (
    STORE,
    MODEL,
    "expansion.json",
    SUMMARY,
    "microstructure/fields.zarr",
    "microstructure/summary.json",
    "microstructure/animation.gif",
)


def _figures(found: Findings) -> dict[str, str]:
    """Every figure as a data URI, by name."""
    estimate = solution_tie_line(found.network, found.composition)
    drawn = {
        "tangent": draw.tangent_figure(found.network, estimate, found.composition),
        "surface": draw.surface_figure(found.network, estimate, found.composition),
        "rounds": draw.rounds_figure(found.rounds),
        "parity": draw.parity_figure(found.network, found.data),
        "points": draw.points_figure(found.data, found.reasons),
    }
    images = {name: _png(figure) for name, figure in drawn.items()}
    for path in sorted((found.directory / FIGURES).glob("*.png")):
        images[path.stem] = _data_uri(path)
    for name in ("microstructure.png", "history.png", "structure.png", "animation.gif"):
        path = found.directory / MICROSTRUCTURE / name
        if path.is_file():
            images[path.stem] = _data_uri(path)
    return images


def _stable_wells(found: Findings) -> list[Well]:
    """Wells at the tie-line's chemical potential, lowest grand potential first."""
    mu = found.rounds[-1].mu
    if mu is None:
        return []
    return wells(found.network, found.network.system, mu, composition=found.composition)


def _sampling(found: Findings) -> dict[str, Any]:
    """Monte Carlo in numbers."""
    labels = found.labels
    boxes = Counter(label["sites"] for label in labels)
    opinions = [label for label in labels if None not in label["second_opinion_stderr"]]
    return {
        "boxes": sorted(boxes.items()),
        "homogeneous": sum(label["homogeneous"] for label in labels),
        "second_opinions": [len(opinions), sum(map(_disagrees, opinions))],
        "flips": sum(label["flips"] for label in labels),
        "sigma": 1e3 * float(found.data.sigma.median()),
        "not_ergodic": sum(not label["ergodic"] for label in labels),
        "unknown": sum(not is_known(label) for label in labels),
        "acceptance": sum(label["acceptance"] for label in labels) / len(labels),
    }


def _disagrees(label: Mapping[str, Any]) -> bool:
    """Whether the balance of flips puts some μ beyond 4σ from where the umbrella does."""
    pairs = zip(label["second_opinion"], label["second_opinion_stderr"], strict=True)
    return any(abs(difference) > 4 * stderr for difference, stderr in pairs)


def _microstructure(directory: Path, data_hash: str) -> dict[str, Any] | None:
    """Summary of the phase-field run, if it used this very model."""
    path = directory / "summary.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text())
    used = summary.get("settings", {}).get("energy", {}).get("model_data_hash", data_hash)
    if used != data_hash:
        logger.warning("%s used another model and is left out; run it again", directory)
        return None
    return summary


def _png(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _data_uri(path: Path) -> str:
    kind = path.suffix.removeprefix(".")
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def _subscripts(name: str) -> str:
    """L1_2 Ni3Al → L1₂ Ni₃Al."""
    return re.sub(r"_(\d)|(?<=[a-z])(\d)", lambda m: _SUBSCRIPT[m[1] or m[2]], name)


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    if value != 0 and not 10.0**-digits <= abs(value) < 1e5:
        mantissa, exponent = f"{value:.{max(digits - 1, 0)}e}".split("e")
        return f"{mantissa}×10{''.join(_SUPERSCRIPT[c] for c in str(int(exponent)))}"
    return f"{value:.{digits}f}"


_SUBSCRIPT = dict(zip("0123456789", "₀₁₂₃₄₅₆₇₈₉", strict=True))
_SUPERSCRIPT = dict(zip("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹", strict=True))
