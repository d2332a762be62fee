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
        curvature: of the free energy on every cell, of which there is more if `local` is another
            map; a preconditioner asks no more.
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
    matrix: Float[Tensor, "field field *space"], floor: Float[Tensor, " field"]
) -> Float[Tensor, "field field *space"]:
    """Of symmetric matrices, by sweeping one row and column after the other.

    A pivot below its `floor` is replaced by it, so that what is found is positive definite, and the
    inverse of the matrix wherever that is so definite itself.
    """
    flat = matrix.flatten(2)
    out = torch.empty_like(flat)
    ids = range(len(flat))
    for part in parts(flat):
        rows = [[flat[i, j, part] for j in ids] for i in ids]
        for k in ids:
            pivot = 1 / rows[k][k].clamp_min(floor[k])
            scaled = [row[k] * pivot for row in rows]
            for i in ids:
                for j in range(i + 1):
                    if i != k and j != k:
                        rows[i][j] = rows[j][i] = rows[i][j] - scaled[i] * rows[k][j]
            for i in ids:
                rows[i][k] = rows[k][i] = scaled[i] if i != k else -pivot
        for i in ids:
            for j in ids:
                torch.neg(rows[i][j], out=out[i, j, part])
    return out.view_as(matrix)
