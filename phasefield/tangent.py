"""How the force changes with the fields, for implicit steps."""

from collections.abc import Callable, Sequence
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


class Preconditioner:
    """An approximate inverse of D(k) + H(x), D diagonal in the fields, symmetric and definite.

    Some fields are solved for on every cell, with the mean of their D. What H leaves of the others
    once these follow them, H₁₁ − H₁₀H₀₀⁻¹H₀₁, differs far less from cell to cell: near a pure
    sublattice compositions and order parameters are stiff together, but along with its order a
    composition is as soft as elsewhere. Its mean, a number per field, joins their D on the modes.
    """

    def __init__(
        self,
        grid: Grid,
        matrix: Float[Tensor, "field field *space"],
        diagonal: Float[Tensor, "field *k"],
        typical: Float[Tensor, " field"],
        on_cells: Sequence[int],
    ) -> None:
        """For H = `matrix`, D = `diagonal` on all modes that move, of mean `typical`."""
        self._grid, self._cells = grid, list(on_cells)
        self._modes = [i for i in range(len(matrix)) if i not in on_cells]
        own = matrix[self._cells][:, self._cells]
        numbers = typical[self._cells].tolist()
        for i, number in enumerate(numbers):
            own[i, i] += number
        self._near = inverse(own, min(numbers) / 2)
        if not self._modes:
            return
        across = matrix[self._cells][:, self._modes]
        self._follow = torch.stack([product(self._near, row) for row in across.unbind(1)])
        taken = torch.einsum("jc...,cj...->j...", self._follow, across)
        left = torch.stack([matrix[i, i] for i in self._modes]) - taken
        number = torch.stack([grid.mean(row.abs()) for row in left]).to(diagonal)
        shape = (-1, *[1] * len(grid.shape))
        self._by = grid.coefficients(1 / (diagonal[self._modes] + number.view(shape)))

    def __call__(self, r: Float[Tensor, "field *space"]) -> Float[Tensor, "field *space"]:
        """Applied to r."""
        if not self._modes:
            return product(self._near, r)
        z = torch.empty_like(r)
        rest = r[self._modes] - product(self._follow, r[self._cells])
        rest = self._grid.inverse(self._grid.combine((self._by, 1.0, self._grid.transform(rest))))
        z[self._modes] = rest
        z[self._cells] = product(self._near, r[self._cells]) - product(
            self._follow.transpose(0, 1), rest
        )
        return z


def product(
    matrix: Float[Tensor, "row field *space"], v: Float[Tensor, "field *space"]
) -> Float[Tensor, "row *space"]:
    """Σⱼ matrixᵢⱼ vⱼ."""
    rows, cells = matrix.flatten(2), v.flatten(1)
    out = cells.new_empty(len(rows), cells.shape[1])
    for part in parts(cells):
        for i, row in enumerate(rows):
            total = torch.mul(row[0, part], cells[0, part], out=out[i, part])
            for j in range(1, len(cells)):
                total.addcmul_(row[j, part], cells[j, part])
    return out.view(len(rows), *v.shape[1:])


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
