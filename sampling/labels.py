"""Labels as they are stored, and as training data."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from idnn.data import Derivatives
from sampling.label import LabelledPoint


def to_json(point: LabelledPoint) -> dict[str, Any]:
    """A label as JSON; what could not be estimated is null."""
    numbers = {
        "eta": point.eta.value,
        "eta_stderr": point.eta.stderr,
        "mu": point.mu.value,
        "mu_stderr": point.mu.stderr,
        "mu_raw": point.mu_raw,
        "correction": point.correction,
        "hessian": point.hessian.value,
        "hessian_stderr": point.hessian.stderr,
        "energy": point.energy.value,
        "energy_stderr": point.energy.stderr,
        "tau": point.tau,
        "effective": point.effective,
    }
    content: dict[str, Any] = {
        name: np.where(np.isfinite(v), v.astype(object), np.array(None)).tolist()
        for name, v in numbers.items()
    }
    return content | {
        "acceptance": point.acceptance,
        "ergodic": point.ergodic,
        "equilibrated": point.equilibrated,
        "dropped": point.dropped,
        "stiff": point.stiff,
        "seed": point.seed,
        "point_seed": point.point_seed,
        "sites": point.sites,
        **asdict(point.schedule),
        "kernel": point.kernel,
        "wall_s": point.wall_s,
    }


def derivatives(labels: Iterable[Mapping[str, Any]], dimension: int) -> Derivatives:
    """The known of the stored labels as training data of `dimension` order parameters."""
    chosen = [label for label in labels if is_known(label)]
    return Derivatives(
        *(
            torch.tensor([c[name] for c in chosen], dtype=torch.float64).reshape(-1, dimension)
            for name in ("eta", "mu", "mu_stderr")
        )
    )


def is_known(label: Mapping[str, Any]) -> bool:
    """Whether μ could be estimated; not where a sublattice never changed."""
    return None not in label["mu"] and None not in label["mu_stderr"]
