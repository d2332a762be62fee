"""Where points may be sampled: draws over the polytope, along lines to order, about a tie-line."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.equilibrium import TieLine
from idnn.order_parameters import System, ordered_partly

MARGIN = 5e-5
"""Site fractions aimed at lie in [MARGIN, 1 − MARGIN]: nearer to 0 and 1 only f_ideal varies."""

LEAST_SEEN = 30
"""Atoms of either kind that the records of a point should show on every sublattice."""

SCATTER = (0.003, 0.03)
"""Standard deviation of arcsin √x around a line that is sampled on purpose, between these and each
point's own. In this measure an ideal solution fluctuates by the same amount at any site fractions;
the wells of a strongly ordered crystal are much narrower than the places where they might lie."""


def spread_over(
    system: System, composition: tuple[float, float], count: int, seed: int
) -> Float[Tensor, "sample d"]:
    """Sobol points in the admissible polytope cut to the range of composition."""
    sublattices = system.dimension
    sobol = torch.quasirandom.SobolEngine(sublattices, scramble=True, seed=seed)
    low, high = composition
    # No fraction can exceed `sublattices` times the composition: a smaller cube to draw from.
    least = max(MARGIN, 1 - sublattices * (1 - low))
    most = min(1 - MARGIN, sublattices * high)
    kept = torch.empty(0, sublattices, dtype=torch.float64)
    while len(kept) < count:
        x = least + (most - least) * sobol.draw(4096).double()
        kept = torch.cat([kept, x[(x.mean(-1) >= low) & (x.mean(-1) <= high)]])
    return system.order_parameters(kept[:count])


def along_prototypes(
    system: System, composition: tuple[float, float], count: int, seed: int
) -> Float[Tensor, "sample d"]:
    """Points scattered about the lines from disorder to each ordered prototype.

    Wells lie on these lines, and uniform draws almost never land there. The lines keep to the
    range of composition; the scatter may leave it, so that the fit is not one-sided at its ends.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = composition
    _, *ordered = system.prototypes.values()
    ideal = torch.tensor(ordered, dtype=torch.float64)
    ideal = ideal[ideal.mean(-1) <= high + 0.25]
    rows = torch.arange(count) % len(ideal)
    level = low + (high - low) * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    order = torch.rand(count, 1, generator=generator, dtype=torch.float64).sqrt()
    return _scattered(system, ordered_partly(ideal[rows], level, order), generator)


def near_tie_line(
    system: System, tie_line: TieLine, count: int, seed: int
) -> Float[Tensor, "sample d"]:
    """Points scattered about both ends of a tie-line, and a third of them on the way between."""
    generator = torch.Generator().manual_seed(seed)
    ends = system.site_fractions(torch.stack([tie_line.left.eta, tie_line.right.eta]))
    share = torch.rand(count, 1, generator=generator, dtype=torch.float64)
    share = torch.where(torch.arange(count)[:, None] % 3 == 0, share, share.round())
    return _scattered(system, (1 - share) * ends[0] + share * ends[1], generator)


def about_ends(
    system: System, tie_line: TieLine, count: int, seed: int
) -> Float[Tensor, "end sample d"]:
    """So many points scattered about each end of a tie-line."""
    generator = torch.Generator().manual_seed(seed)
    ends = system.site_fractions(torch.stack([tie_line.left.eta, tie_line.right.eta]))
    return torch.stack([_scattered(system, x.expand(count, -1), generator) for x in ends])


def with_something_to_see(
    system: System, eta: Float[Tensor, "sample d"], looks: int
) -> Float[Tensor, "sample d"]:
    """Site fractions moved to where `looks` at a site find `LEAST_SEEN` atoms of either kind.

    Of a sublattice that never changes nothing can be learned, nor of the point.
    """
    margin = min(LEAST_SEEN / looks, 0.5)
    return system.order_parameters(system.site_fractions(eta).clamp(margin, 1 - margin))


def _scattered(
    system: System, x: Float[Tensor, "sample d"], generator: torch.Generator
) -> Float[Tensor, "sample d"]:
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    least, most = SCATTER
    share = torch.rand(len(x), 1, generator=generator, dtype=x.dtype)
    width = least * (most / least) ** share
    scattered = (x.sqrt().arcsin() + width * noise).sin().square()
    return system.order_parameters(scattered.clamp(MARGIN, 1 - MARGIN))
