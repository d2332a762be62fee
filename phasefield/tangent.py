"""How the force changes with the fields, for implicit steps."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from phasefield.fused import parts
from phasefield.grid import Grid


@dataclass(frozen=True, eq=False)
class Tangent:
    """v ↦ the change of a force with the fields along v, of which a part acts on cells.

    Attributes:
        grid: the cells.
        curvature: of the free energy on every cell, for a preconditioner; `local` and `rest` say
            what the change is.
        local: the part on cells; not given: none.
        rest: the part on modes; not given: none.
    """

    grid: Grid
    curvature: Float[Tensor, "field field *space"]
    local: Callable[[Tensor], Tensor] | None
    rest: Callable[[Tensor], Tensor] | None

    def __call__(self, v_hat: Tensor) -> Tensor:
        """The change, transformed, along v̂."""
        if self.local is None:
            assert self.rest is not None
            return self.rest(v_hat)
        change = self.grid.transform(self.local(self.grid.inverse(v_hat)))
        return change if self.rest is None else change.add_(self.rest(v_hat))

    def on_cells(self, v: Tensor, diagonal: Float[Tensor, "field *k"]) -> Tensor:
        """The change along v with `diagonal` times v̂, both on the cells."""
        v_hat = self.grid.transform(v)
        change = self.grid.combine((diagonal, 1.0, v_hat))
        if self.rest is not None:
            change += self.rest(v_hat)
        found = self.grid.inverse(change)
        return found if self.local is None else found.add_(self.local(v))


def product(
    matrix: Float[Tensor, "field field *space"], v: Float[Tensor, "field *space"]
) -> Float[Tensor, "field *space"]:
    """Σⱼ matrixᵢⱼ vⱼ."""
    rows, cells = matrix.flatten(2), v.flatten(1)
    out = torch.empty_like(cells)
    for part in parts(cells):
        for i, row in enumerate(rows):
            total = torch.mul(row[0, part], cells[0, part], out=out[i, part])
            for j in range(1, len(cells)):
                total.addcmul_(row[j, part], cells[j, part])
    return out.view_as(v)


def inverse(
    matrix: Float[Tensor, "field field *space"], floor: float
) -> Float[Tensor, "field field *space"]:
    """Of symmetric matrices, by sweeping one row and column after the other.

    Where a pivot is below `floor`, a multiple of the unit matrix is added first by which, after
    Gershgorin, no eigenvalue is: what is found is positive definite everywhere.
    """
    flat, unit = matrix.flatten(2), torch.eye(len(matrix)).to(matrix)[..., None]
    out = torch.empty_like(flat)
    for part in parts(flat):
        these = flat[..., part]
        found, least = _swept(these)
        bad = least < floor
        if bool(bad.any()):
            diagonal = torch.einsum("iic->ic", these)
            lowest = (diagonal - (these.abs().sum(1) - diagonal.abs())).amin(0)
            found, _ = _swept(these + unit * torch.where(bad, floor - lowest, 0.0))
        out[..., part] = found
    return out.view_as(matrix)


def _swept(
    matrix: Float[Tensor, "field field cell"],
) -> tuple[Float[Tensor, "field field cell"], Float[Tensor, " cell"]]:
    """The inverse and the least pivot."""
    ids = range(len(matrix))
    rows = [[matrix[i, j] for j in ids] for i in ids]
    least = torch.full_like(rows[0][0], torch.inf)
    for k in ids:
        least = torch.minimum(least, rows[k][k])
        pivot = 1 / rows[k][k]
        scaled = [row[k] * pivot for row in rows]
        for i in ids:
            for j in range(i + 1):
                if i != k and j != k:
                    rows[i][j] = rows[j][i] = rows[i][j] - scaled[i] * rows[k][j]
        for i in ids:
            rows[i][k] = rows[k][i] = scaled[i] if i != k else -pivot
    return -torch.stack([torch.stack(row) for row in rows]), least
