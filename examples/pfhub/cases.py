"""Benchmarks 1, 2 and 7 of PFHub (pages.nist.gov/pfhub): grids, energies, equations and starts."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from phasefield.equation import Equation
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.models import GradientFlow, OrderField

SIZE = 200.0


def square(cells: int, *, walls: bool = False) -> Grid:
    """200 × 200, periodic or between walls without flux."""
    return Grid((cells, cells), SIZE / cells, ("no-flux",) * 2 if walls else ())


def places(grid: Grid, *, nodes: bool) -> tuple[Tensor, Tensor]:
    """Where the start is sampled: at the centres of the cells, or at their lower corners."""
    x, y = grid.cell_centres()
    shift = grid.spacing / 2 if nodes else 0.0
    return x - shift, y - shift


def composition(x: Tensor, y: Tensor, amplitude: float) -> Tensor:
    """The start of benchmarks 1 and 2."""
    waves = (
        torch.cos(0.105 * x) * torch.cos(0.11 * y)
        + (torch.cos(0.13 * x) * torch.cos(0.087 * y)).square()
        + torch.cos(0.025 * x - 0.15 * y) * torch.cos(0.07 * x - 0.02 * y)
    )
    return 0.5 + amplitude * waves


def spinodal(grid: Grid, *, nodes: bool = False) -> tuple[GradientFlow, Tensor]:
    """Benchmark 1 (Jokisaari et al. 2017, doi:10.1016/j.commatsci.2016.09.022)."""
    field = OrderField("c", True, 5.0, 2.0)
    return GradientFlow(grid, double_well(5.0, 0.3, 0.7, "c"), (field,)), composition(
        *places(grid, nodes=nodes), 0.01
    )[None]


ORDER = ("n1", "n2", "n3", "n4")
SHARE = " + ".join(f"{n}**3*(6*{n}**2 - 15*{n} + 10)" for n in ORDER)
BARRIER = " + ".join(f"{n}**2*(1 - {n})**2" for n in ORDER)
PAIRS = " + ".join(f"2*{a}**2*{b}**2" for i, a in enumerate(ORDER) for b in ORDER[i + 1 :])
RIPENING = Expression(
    f"2*(c - 0.3)**2 + 2*((0.7 - c)**2 - (c - 0.3)**2)*({SHARE}) + {BARRIER} + 5*({PAIRS})",
    ("c", *ORDER),
)


def ripening(grid: Grid) -> tuple[GradientFlow, Tensor]:
    """Benchmark 2: composition and four order parameters."""
    x, y = places(grid, nodes=False)
    fields = [composition(x, y, 0.05)]
    for i in range(1, 5):
        wave = torch.cos((0.046 + 0.001 * i) * x + (0.0405 + 0.001 * i) * y) * torch.cos(
            (0.031 + 0.001 * i) * x - (0.004 + 0.001 * i) * y
        )
        sum_ = (
            torch.cos(0.01 * i * x - 4) * torch.cos((0.007 + 0.01 * i) * y)
            + torch.cos((0.11 + 0.01 * i) * x) * torch.cos((0.11 + 0.01 * i) * y)
            + 1.5 * wave.square()
        )
        fields.append(0.1 * sum_.square())
    order = [OrderField(name, False, 5.0, 3.0) for name in ORDER]
    return GradientFlow(grid, RIPENING, (OrderField("c", True, 5.0, 3.0), *order)), torch.stack(
        fields
    )


@dataclass(frozen=True)
class Wave:
    """Benchmark 7: a front y = α(x, t) that Allen & Cahn's equation follows with a source.

    η = ½[1 − tanh((y − α)/√(2κ))], α = ¼ + A₁t sin B₁x + A₂ sin(B₂x + C₂t). The source is worked
    out by hand: ½ sech² q [(α_t − κα_xx)/√(2κ) − α_x² tanh q], q = (y − α)/√(2κ).
    """

    kappa: float = 4e-4
    turning: float = 0.0625 * math.pi

    def front(self, x: Tensor, time: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """α, α_t, α_x and α_xx."""
        b1, b2 = 8 * math.pi, 22 * math.pi
        first, second = b1 * x, b2 * x + self.turning * time
        return (
            0.25 + 0.0075 * time * first.sin() + 0.03 * second.sin(),
            0.0075 * first.sin() + 0.03 * self.turning * second.cos(),
            0.0075 * time * b1 * first.cos() + 0.03 * b2 * second.cos(),
            -0.0075 * time * b1**2 * first.sin() - 0.03 * b2**2 * second.sin(),
        )

    def solution(self, grid: Grid, time: float) -> Tensor:
        """η on the cells."""
        x, y = grid.cell_centres()
        q = (y - self.front(x, time)[0]) / math.sqrt(2 * self.kappa)
        return (0.5 * (1 - q.tanh()))[None]

    def equation(self, cells: int) -> Equation:
        """On [0, 1] × [0, ½]: periodic in x; no flux in y, where η is 0 or 1 to 10⁻⁷."""
        grid = Grid((cells, cells // 2), 1 / cells, ("periodic", "no-flux"))
        x, y = grid.cell_centres()
        width = math.sqrt(2 * self.kappa)

        def force(eta: Tensor, time: float) -> Tensor:
            front, rate, slope, bend = self.front(x, time)
            tanh = ((y - front) / width).tanh()
            pull = (rate - self.kappa * bend) / width - slope.square() * tanh
            return -4 * eta * (eta - 1) * (eta - 0.5) + 0.5 * (1 - tanh.square()) * pull

        return Equation(grid, ("eta",), -self.kappa * grid.k2[None], force)
