"""Matrices on the cells: products, inverses, and what they do for implicit steps."""

import pytest
import torch

from idnn.free_energy import BraggWilliams, IdealMixing, hessian
from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from phasefield import implicit
from phasefield.fused import CELLS_PER_PART
from phasefield.grid import Grid
from phasefield.implicit import implicit_bdf2
from phasefield.integrators import Point
from phasefield.models import GradientFlow, OrderField
from phasefield.sums import Sum, curvature
from phasefield.tangent import Preconditioner, inverse, product

L12 = torch.tensor([0.22, 0.2185, 0.2185, 0.2185], dtype=torch.float64)
"""Near Ni₃Al: aluminium fills 0.0015 of the nickel sites."""


def matrices(fields, cells):
    """Positive definite ones."""
    generator = torch.Generator().manual_seed(fields)
    half = torch.randn(fields, 2 * fields, cells, generator=generator, dtype=torch.float64)
    return torch.einsum("ikc,jkc->ijc", half, half)


@pytest.mark.parametrize("fields", [1, 2, 4])
def test_products_and_inverses_are_those_of_matrices(fields):
    cells = CELLS_PER_PART + 3  # two parts
    matrix = matrices(fields, cells)
    v = torch.randn(fields, cells, dtype=torch.float64)
    torch.testing.assert_close(product(matrix, v), torch.einsum("ijc,jc->ic", matrix, v))
    expected = torch.linalg.inv(matrix.movedim(-1, 0)).movedim(0, -1)
    torch.testing.assert_close(inverse(matrix, 1e-9), expected, rtol=1e-8, atol=1e-10)


def test_where_eigenvalues_are_not_positive_they_are_made_so():
    """By one number for all, so that eigenvectors stay."""
    indefinite, floor = matrices(4, 50) - 6 * torch.eye(4, dtype=torch.float64)[..., None], 0.1
    found = torch.linalg.inv(inverse(indefinite, floor).movedim(-1, 0))
    values = torch.linalg.eigvalsh(found)
    assert float(values.min()) > floor * (1 - 1e-9)
    shift = found - indefinite.movedim(-1, 0)
    one = shift[:, :1, :1] * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(shift, one, rtol=1e-7, atol=1e-7)
    lowest = torch.linalg.eigvalsh(indefinite.movedim(-1, 0))[:, 0]
    assert bool((shift[lowest < 0, 0, 0] > 0).all())
    assert bool((shift[lowest > 1, 0, 0].abs() < 1e-7).all())


def nearly_pure():
    """γ′ with waves: site fractions reach 10⁻³, curvatures 30 eV."""
    interaction = torch.tensor([0.35, -0.35, -0.35, -0.35], dtype=torch.float64)
    f = BraggWilliams(IdealMixing(FCC_L12.q, 1000.0, 1e-4), interaction)
    order = [OrderField(f"eta{i}", False, 1.0, 0.2) for i in (1, 2, 3)]
    grid = Grid((24, 20), 2.0)
    model = GradientFlow(grid, f, (OrderField("c", True, 1.0, 0.2), *order), 0.01128)
    x, y = grid.cell_centres()
    u = L12.reshape(4, 1, 1).repeat(1, *grid.shape)
    u[0] += 3e-4 * torch.cos(2 * torch.pi * x / 48) + 2e-4 * torch.cos(2 * torch.pi * y / 40)
    return model.stabilised(u), grid.transform(u)


@pytest.mark.parametrize("dt", [0.03, 3.0])
def test_both_ways_to_precondition_solve_the_same_step(dt, monkeypatch):
    model, u_hat = nearly_pure()
    at = Point(0.0, u_hat, model.evaluate(u_hat).force_hat)
    found = {}
    for on_cells in (False, True):
        monkeypatch.setattr(implicit._Spread, "is_less_than_of", lambda *_, answer=on_cells: answer)
        found[on_cells] = implicit_bdf2.prepare(model, dt)(at)
    one, other = (model.grid.inverse(found[key].u_hat) for key in (False, True))
    torch.testing.assert_close(other, one, rtol=0, atol=1e-7)
    assert float((one - model.grid.inverse(u_hat)).abs().max()) > 1e-4
    assert float((model.grid.mean(other[0]) - model.grid.mean(one[0])).abs()) < 1e-15


@pytest.mark.parametrize("on_cells", [[1, 2, 3], [0, 1, 2, 3], [0, 2]])
def test_fields_alike_in_all_cells_are_solved_for_exactly(on_cells):
    """H the same everywhere, D a number on the fields of the cells and anything on the others.

    With two fields on modes, which H must not couple once the others follow them.
    """
    grid = Grid((8, 6), 0.5)
    generator = torch.Generator().manual_seed(3)
    root = torch.randn((4, 4), generator=generator, dtype=torch.float64)
    h = root @ root.T + torch.eye(4, dtype=torch.float64)
    diagonal = (1 + torch.arange(4.0, dtype=torch.float64))[:, None, None] + 0 * grid.k2
    modes = [i for i in range(4) if i not in on_cells]
    diagonal[modes] += 5 * grid.k2
    if len(modes) == 2:
        inner = torch.linalg.inv((h + torch.diag(diagonal[:, 0, 0]))[on_cells][:, on_cells])
        taken = h[modes[0], on_cells] @ inner @ h[on_cells, modes[1]]
        h[modes[0], modes[1]] = h[modes[1], modes[0]] = taken
    x = torch.randn((4, 8, 6), generator=generator, dtype=torch.float64)
    spread = grid.inverse(grid.coefficients(diagonal) * grid.transform(x))
    matrix = h[..., None, None].expand(4, 4, 8, 6).clone()
    typical = diagonal.flatten(1).mean(1)
    found = Preconditioner(grid, matrix, diagonal, typical, on_cells)
    torch.testing.assert_close(found(product(matrix, x) + spread), x, rtol=1e-10, atol=1e-10)


def test_the_way_that_takes_less_work_is_taken():
    model, u_hat = nearly_pure()
    at = Point(0.0, u_hat, model.evaluate(u_hat).force_hat)
    work = {}
    for dt in (1e-4, 3.0):
        work[dt] = {None: implicit_bdf2.prepare(model, dt)(at).evaluations}
        for on_cells in (False, True):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    implicit._Spread, "is_less_than_of", lambda *_, answer=on_cells: answer
                )
                work[dt][on_cells] = implicit_bdf2.prepare(model, dt)(at).evaluations
    assert work[3.0][None] == work[3.0][True] < work[3.0][False] / 1.5
    assert work[1e-4][None] == work[1e-4][False] <= work[1e-4][True]


def test_second_derivatives_of_a_network_by_differences():
    network = IntegrableNetwork(FCC_L12, 1000.0, NetworkSettings(widths=(8, 8), floor=1e-4))
    network = network.requires_grad_(False)
    generator = torch.Generator().manual_seed(2)
    noise = 1e-3 * torch.randn(4, 500, generator=generator, dtype=torch.float64)
    u = torch.cat([L12[:, None] + 0.3 * noise, 0.1 + noise], 1)
    exact = hessian(network, u.T).movedim(0, -1)
    assert float(exact.abs().max()) > 50
    before = u.clone()
    largest = exact.abs().amax((0, 1))
    assert bool(((curvature(network, u) - exact).abs() < 1e-4 * largest).all())
    assert torch.equal(u, before)
    twice = curvature(Sum((network, network)), u)
    assert bool(((twice - 2 * exact).abs() < 2e-4 * largest).all())
