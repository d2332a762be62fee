"""What a round taught: errors on unseen points, calibrated uncertainty, the tie-line and its σ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.data import Derivatives
from idnn.equilibrium import TieLine, TieLineEstimate, committee_tie_line, tie_lines
from idnn.network import IntegrableNetwork

HALF_WITHIN = 0.6744897501960817
"""Standard deviations about its mean within which half of a normal law lies."""

MEDIAN_ERROR = 2.33
"""Relative standard error of the median of z² over n normal z, times √n: 1/(2 p(m) m), p(m) the
density of χ² with one degree of freedom at its median m."""

DOUBT = 2.0
"""Standard errors of that median by which errors must be too large to widen the spread."""

LARGEST_FACTOR = 1e3
"""Of a committee's spread; beyond it nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Figures of one round; energies in eV/site.

    Attributes:
        round: counted from 0.
        n_points: labelled so far.
        train_rmse: error of the committee's mean on the points it learned from.
        unseen_rmse: error of the previous committee on this round's points, before learning them;
            NaN, like every figure calibrated on it, where none of them could be estimated.
        calibration: factor on the committee's spread that makes it cover `unseen_rmse`, at least 1.
        sigma_mu: calibrated σ of μ, root mean square over the sampled range.
        phases: names of the two phases of the tie-line, empty if there is none.
        mu: their common exchange chemical potential.
        x: compositions of both ends.
        sigma_x: their calibrated σ, infinite while a member has no such tie-line.
        missing: members without the tie-line.
    """

    round: int
    n_points: int
    train_rmse: float
    unseen_rmse: float | None
    calibration: float
    sigma_mu: float
    phases: tuple[str, ...]
    mu: float | None
    x: tuple[float, ...]
    sigma_x: tuple[float, ...]
    missing: int

    @staticmethod
    def from_stored(content: Mapping[str, Any]) -> Judgement:
        """A judgement read back from JSON."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in content.items()
        }
        return Judgement(**fields)

    def within(self, *, composition: float, mu: float) -> bool:
        """Whether tie-line and μ are known to the tolerances, with the calibrated σ."""
        known = self.unseen_rmse is not None and len(self.sigma_x) == 2
        return known and all(s <= composition for s in self.sigma_x) and self.sigma_mu <= mu


def judge(
    network: IntegrableNetwork,
    previous: IntegrableNetwork | None,
    data: Derivatives,
    fresh: Derivatives,
    *,
    round_index: int,
    composition: tuple[float, float],
    pool: Float[Tensor, "sample d"],
) -> tuple[Judgement, TieLineEstimate | None]:
    """Judge `network`, trained on `data`, of which `fresh` was new to `previous`.

    Both with the σ they are learned with. Errors are weighted by 1/σ², as in training: of a nearly
    empty sublattice μ may be known to 0.1 eV, of a well to 0.1 meV.
    """
    with torch.no_grad():
        train_rmse = _weighted_rms(data, network.gradient(data.eta) - data.mu)
        spread = float(network.gradients(pool).var(0).mean().sqrt())
    unseen_rmse, calibration = None, 1.0
    if previous is not None:
        unseen_rmse, calibration = calibrate(previous, fresh)
    estimate = solution_tie_line(network, composition)
    line = None if estimate is None else estimate.mean
    sigma = () if estimate is None else estimate.sigma()
    judgement = Judgement(
        round=round_index,
        n_points=len(data),
        train_rmse=train_rmse,
        unseen_rmse=unseen_rmse,
        calibration=calibration,
        sigma_mu=calibration * spread,
        phases=() if line is None else (line.left.phase, line.right.phase),
        mu=None if line is None else line.mu,
        x=() if line is None else (float(line.left.eta[0]), float(line.right.eta[0])),
        sigma_x=tuple(calibration * s for s in sigma),
        missing=network.members if estimate is None else estimate.missing,
    )
    return judgement, estimate


def calibrate(network: IntegrableNetwork, fresh: Derivatives) -> tuple[float, float]:
    """Error on points the network has not seen, and the factor its spread needs to explain it.

    Of a normal law half of the errors lie within 0.674 √(σ² + s² spread²): a median, because where
    boxes part into domains a few errors are far beyond all σ. s is the least factor from 1 on with
    which the median of z² is not larger by more than `DOUBT` of its standard errors: where noise
    exceeds the spread, a few points say little about it. Both are NaN without points.
    """
    if len(fresh) == 0:
        return math.nan, math.nan
    with torch.no_grad():
        mu = network.gradients(fresh.eta)
    error = mu.mean(0) - fresh.mu
    along, spread = fresh.along(error).square(), fresh.along(mu).var(0)
    most = HALF_WITHIN**2 * (1 + DOUBT * MEDIAN_ERROR / along.numel() ** 0.5)

    def too_small(factor: float) -> bool:
        explained = fresh.sigma.square() + factor**2 * spread
        return float((along / explained).median()) > most

    low, high = 1.0, LARGEST_FACTOR
    if not too_small(low):
        high = low
    while high - low > 1e-6 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return _weighted_rms(fresh, error), high


def solution_tie_line(
    network: IntegrableNetwork, composition: tuple[float, float]
) -> TieLineEstimate | None:
    """The tie-line between the disordered solution and an ordered phase, in every member."""
    disordered = next(iter(network.system.prototypes))
    found: list[TieLine] = tie_lines(network, network.system, composition=composition)
    chosen = next(
        (t for t in found if t.left.phase == disordered and t.right.phase != disordered), None
    )
    return None if chosen is None else committee_tie_line(network, chosen)


def _weighted_rms(data: Derivatives, error: Float[Tensor, "sample d"]) -> float:
    weight = data.sigma.reciprocal().square()
    return float(((weight * data.along(error).square()).sum() / weight.sum()).sqrt())
