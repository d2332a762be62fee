"""Figures of a learned free energy and of the campaign that learned it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from torch import Tensor

from idnn.data import Derivatives
from idnn.equilibrium import TieLineEstimate
from idnn.network import IntegrableNetwork
from sampling.judge import Judgement
from sampling.style import COLOURS, new_figure

MEV = 1000.0

SURFACE_LEVELS = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 40, 80, 160)
"""meV/site: fine where the wells are, coarse above."""


def tangent_figure(
    network: IntegrableNetwork, estimate: TieLineEstimate | None, composition: tuple[float, float]
) -> Figure:
    """f above the common tangent for the disordered and the best-ordered state, with 2σ bands."""
    figure = new_figure(6.4, 4.0)
    axes = figure.add_subplot()
    low, high = composition if estimate is None else _around(estimate, composition)
    grid = torch.linspace(max(low, 0.004), high, 120, dtype=torch.float64)
    left, slope = (0.0, 0.0) if estimate is None else _tangent(estimate)
    ordered = _best_order(network, grid)
    for eta, label, colour in (
        (_disordered(network, grid), "disordered (η₁ = η₂ = η₃ = 0)", COLOURS[0]),
        (ordered, "best L1₂ order at this composition", COLOURS[1]),
    ):
        with torch.no_grad():
            above = MEV * (network.values(eta) - left - slope * grid)
        mean, sigma = above.mean(0), above.std(0)
        axes.plot(grid, mean, color=colour, label=label)
        axes.fill_between(grid, mean - 2 * sigma, mean + 2 * sigma, color=colour, alpha=0.25, lw=0)
    axes.axhline(0, color="0.4", lw=0.8)
    if estimate is not None:
        for name, x in zip(("γ", "γ′"), _ends(estimate), strict=True):
            axes.plot([x], [0], "o", color="0.1", zorder=5)
            axes.annotate(
                f"{name}  {x:.4f}", (x, 0), (0, -16), textcoords="offset points", ha="center"
            )
        _frame(axes, grid, estimate)
    axes.set(xlabel="atomic fraction of Al", ylabel="f above the common tangent (meV/site)")
    axes.legend(frameon=False, loc="upper left")
    return figure


def surface_figure(
    network: IntegrableNetwork, estimate: TieLineEstimate | None, composition: tuple[float, float]
) -> Figure:
    """f above the tangent over composition and L1₂ order η₁ = η₂ = η₃, with its stable region."""
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    c = torch.linspace(0.004, composition[1], 161, dtype=torch.float64)
    order = torch.linspace(0, composition[1], 161, dtype=torch.float64)
    cc, oo = torch.meshgrid(c, order, indexing="xy")
    eta = torch.stack([cc, oo, oo, oo], -1)
    left, slope = (0.0, 0.0) if estimate is None else _tangent(estimate)
    with torch.no_grad():
        f = MEV * (network(eta) - left - slope * cc)
    f[~network.system.admissible(eta)] = torch.nan
    bands = BoundaryNorm(SURFACE_LEVELS, 256, extend="both")
    shown = axes.contourf(
        cc, oo, f, levels=SURFACE_LEVELS, norm=bands, cmap="viridis", extend="both"
    )
    axes.contour(cc, oo, f, levels=SURFACE_LEVELS, colors="white", linewidths=0.3)
    figure.colorbar(
        shown,
        ax=axes,
        label="f above the common tangent (meV/site)",
        ticks=SURFACE_LEVELS,
        format="%g",
    )
    if estimate is not None:
        for name, well in (("γ", estimate.mean.left), ("γ′", estimate.mean.right)):
            point = float(well.eta[0]), float(well.eta[1].abs())
            axes.plot(*point, "o", color="white", mec="black", clip_on=False, zorder=5)
            axes.annotate(
                name,
                point,
                (-6, 6),
                textcoords="offset points",
                ha="right",
                weight="bold",
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.8},
            )
    axes.set(xlabel="atomic fraction of Al, η₀", ylabel="L1₂ order, η₁ = η₂ = η₃")
    return figure


def rounds_figure(rounds: Sequence[Judgement]) -> Figure:
    """Tie-line, its σ and the error on unseen points, round by round."""
    figure = new_figure(8.6, 3.2)
    ends, errors = figure.subplots(1, 2)
    number = [r.n_points for r in rounds if len(r.x) == 2]
    for k, (name, colour) in enumerate((("γ", COLOURS[0]), ("γ′", COLOURS[1]))):
        x = [r.x[k] for r in rounds if len(r.x) == 2]
        sigma = [min(r.sigma_x[k], 0.5) for r in rounds if len(r.x) == 2]
        ends.errorbar(
            number, x, [2 * s for s in sigma], fmt="o-", ms=4, capsize=3, color=colour, label=name
        )
    ends.set(xlabel="sampled points", ylabel="Al fraction of the tie-line (± 2σ)")
    ends.set_ylim(bottom=0)
    ends.legend(frameon=False)
    judged = [(r.n_points, r.unseen_rmse) for r in rounds if r.unseen_rmse is not None]
    errors.plot(
        [n for n, _ in judged],
        [MEV * rmse for _, rmse in judged],
        "s-",
        ms=4,
        color=COLOURS[2],
        label="error on unseen points",
    )
    errors.plot(
        [r.n_points for r in rounds],
        [MEV * r.sigma_mu for r in rounds],
        "o-",
        ms=4,
        color=COLOURS[3],
        label="calibrated σ over the range",
    )
    errors.plot(
        [r.n_points for r in rounds],
        [MEV * r.train_rmse for r in rounds],
        "^--",
        ms=4,
        color="0.5",
        label="error on learned points",
    )
    errors.set(xlabel="sampled points", ylabel="μ (meV/site)")
    errors.set_ylim(bottom=0)
    errors.legend(frameon=False)
    return figure


def parity_figure(network: IntegrableNetwork, data: Derivatives) -> Figure:
    """Learned against sampled μ, and the difference in units of meV."""
    figure = new_figure(8.6, 3.4)
    parity, histogram = figure.subplots(1, 2)
    with torch.no_grad():
        mu = network.gradient(data.eta)
    names = ["μ₀ (composition)", "μ₁..μ₃ (order)"]
    for name, columns, colour in zip(names, (slice(0, 1), slice(1, None)), COLOURS, strict=False):
        sampled, learned = data.mu[:, columns].flatten(), mu[:, columns].flatten()
        parity.plot(sampled, learned, ".", ms=2.5, color=colour, label=name)
        difference = MEV * (learned - sampled)
        histogram.hist(
            difference.numpy(),
            bins=60,
            range=(-20, 20),
            histtype="step",
            color=colour,
            label=f"{name}: RMS {float(difference.square().mean().sqrt()):.2f} meV",
        )
    low, high = float(data.mu.min()), float(data.mu.max())
    parity.plot([low, high], [low, high], color="0.4", lw=0.8)
    parity.set(xlabel="sampled μ (eV/site)", ylabel="learned μ (eV/site)")
    parity.legend(frameon=False, markerscale=3)
    histogram.set(xlabel="learned − sampled μ (meV/site)", ylabel="points")
    histogram.set_ylim(top=1.3 * histogram.get_ylim()[1])
    histogram.legend(frameon=False, fontsize=8)
    return figure


def points_figure(data: Derivatives, reasons: Sequence[str]) -> Figure:
    """Where the campaign sampled: composition against degree of order, by reason."""
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    order = data.eta[:, 1:].square().sum(-1).sqrt()
    for colour, reason in zip(COLOURS, dict.fromkeys(reasons), strict=False):
        mine = torch.tensor([r == reason for r in reasons])
        axes.plot(data.eta[mine, 0], order[mine], ".", ms=4, color=colour, label=reason)
    axes.set(xlabel="sampled Al fraction ⟨η₀⟩", ylabel="degree of order |⟨η₁..η₃⟩|")
    axes.legend(frameon=False, markerscale=2, title="chosen for")
    return figure


def _disordered(network: IntegrableNetwork, grid: Tensor) -> Float[Tensor, "sample d"]:
    eta = torch.zeros(len(grid), network.system.dimension, dtype=grid.dtype)
    eta[:, 0] = grid
    return eta


def _best_order(network: IntegrableNetwork, grid: Tensor) -> Float[Tensor, "sample d"]:
    """The L1₂ state of lowest f at each composition, off disorder."""
    share = torch.linspace(0.25, 0.999, 200, dtype=grid.dtype)
    largest = torch.minimum(grid, (1 - grid) / 3)
    order = largest[:, None] * share
    eta = torch.stack([grid[:, None].expand_as(order), order, order, order], -1)
    with torch.no_grad():
        best = network(eta).argmin(1)
    return eta[torch.arange(len(grid)), best]


def _tangent(estimate: TieLineEstimate) -> tuple[float, float]:
    """Value at pure solvent and slope of the common tangent."""
    return estimate.mean.left.omega, estimate.mean.mu


def _ends(estimate: TieLineEstimate) -> tuple[float, float]:
    return float(estimate.mean.left.eta[0]), float(estimate.mean.right.eta[0])


def _around(estimate: TieLineEstimate, composition: tuple[float, float]) -> tuple[float, float]:
    """Both ends of the tie-line with a third of their distance around, within the range."""
    low, high = _ends(estimate)
    margin = (high - low) / 3
    return max(composition[0], low - margin), min(composition[1], high + margin)


def _frame(axes: Axes, grid: Tensor, estimate: TieLineEstimate) -> None:
    """Limits that show the wells and the lower part of the barrier between them."""
    low, high = _ends(estimate)
    axes.set_xlim(float(grid[0]), float(grid[-1]))
    inside = (grid > low) & (grid < high)
    curves = [torch.as_tensor(line.get_ydata()) for line in axes.lines]
    top = max(float(y[inside].median()) for y in curves if y.shape == grid.shape)
    axes.set_ylim(-0.25 * top, 2 * top)
