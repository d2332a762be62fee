"""Where fields stand, for messages: between what, and in which cell something is wrong."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from phasefield.grid import Grid
from phasefield.team import ALONE, Team


def whereabouts(
    grid: Grid,
    names: Sequence[str],
    u: Float[Tensor, "field *space"],
    force: Float[Tensor, "field *space"],
) -> str:
    """Between what each field lies, and the cell where `force` is not finite or else largest.

    Forces count from their means: a constant in that of a conserved field moves nothing.
    """
    cells = u.flatten(1)
    low, high = grid.team.max(torch.stack([-cells.amin(1), cells.amax(1)])).tolist()
    ranges = ", ".join(
        f"{name} from {-a:.4g} to {b:.4g}" for name, a, b in zip(names, low, high, strict=True)
    )
    level = grid.mean(force.nan_to_num(0, 0, 0)).reshape(-1, *[1] * len(grid.shape))
    size = (force - level).abs().amax(0).nan_to_num(math.inf)
    return f"{ranges}; worst, {cell_of_largest(size, u, grid.team, grid.slabs.planes.start)}"


def cell_of_largest(
    size: Shaped[Tensor, "*space"],
    u: Float[Tensor, "field *space"],
    team: Team = ALONE,
    first_plane: int = 0,
) -> str:
    """The first cell of the whole grid in which `size` is largest, and the fields there.

    Args:
        size: of whatever is wrong, not NaN; a mask will do.
        u: fields, those of one process where a team shares them.
        team: shares the fields along x.
        first_plane: index along x of the first cells of `u`.
    """
    size = size.double()
    mine = bool(size.max() == team.max(size.max()))
    owner = -int(team.max(torch.tensor(-team.rank if mine else -team.size)))
    x, *others = (int(i) for i in torch.unravel_index(size.argmax(), size.shape))
    values = ", ".join(f"{v:.4g}" for v in u[(slice(None), x, *others)].tolist())
    index = ", ".join(map(str, (first_plane + x, *others)))
    return team.tell(f"cell ({index}) holds ({values})", owner)
