"""Labels as they are stored, and as training data."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from idnn.data import Derivatives
from idnn.order_parameters import System
from sampling.labelled_point import LabelledPoint


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
        "octant_excess": point.octant_excess,
        "size_error": point.size_error,
        "sublattice_stderr": point.sublattice_stderr,
        "second_opinion": point.second_opinion.value,
        "second_opinion_stderr": point.second_opinion.stderr,
    }
    content: dict[str, Any] = {
        name: np.where(np.isfinite(v), np.asarray(v, object), np.array(None)).tolist()
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
        "cells": point.cells,
        "sites": point.sites,
        "length": point.length,
        "homogeneous": point.homogeneous,
        **asdict(point.schedule),
        "kernel": point.kernel,
        "flips": point.flips,
        "wall_s": point.wall_s,
    }


def derivatives(labels: Iterable[Mapping[str, Any]], system: System) -> Derivatives:
    """The known of the stored labels as training data.

    What μ still depends on the size of the box joins its standard error in quadrature.
    """
    chosen = [label for label in labels if is_known(label)]
    eta, mu, stderr, size = (
        torch.tensor([c[name] for c in chosen], dtype=torch.float64).reshape(-1, system.dimension)
        for name in ("eta", "mu", "sublattice_stderr", "size_error")
    )
    return Derivatives(eta, mu, torch.hypot(stderr, size), system.directions)


def is_known(label: Mapping[str, Any]) -> bool:
    """Whether μ and its errors could be estimated; not where a sublattice never changed."""
    return not any(None in label[name] for name in ("mu", "sublattice_stderr", "size_error"))
