"""Benchmarks 1, 2, 4 and 7 of PFHub (pages.nist.gov/pfhub): models and starts."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.equation import Equation
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.models import GradientFlow, OrderField
from phasefield.stiffness import PLANE_STRAIN, cubic

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


WELL = (
    8.072789087, -81.24549382, 408.0297321, -1244.129167, 2444.046270, -3120.635139, 2506.663551,
    -1151.003178, 230.2006355,
)  # fmt: skip
"""a₂ … a₁₀ of the double well of benchmark 4."""


def precipitate(
    cells: int, *, radius: float = 20.0, matrix: float = 0.0065, stiffer: float = 1.0
) -> tuple[GradientFlow, Tensor]:
    """Benchmark 4 (Jokisaari et al. 2018, doi:10.1016/j.commatsci.2018.03.015), in aJ and nm.

    A circle in the middle of a box of 20 radii, in plane strain with the misfit along x and y. The
    benchmark has walls without flux or traction; here the box is periodic and its mean stress zero.
    """
    grid = Grid((cells, cells), 20 * radius / cells)
    x, y = (each - 10 * radius for each in grid.cell_centres())
    wall = torch.tanh(2 * math.atanh(0.9) * ((x**2 + y**2).sqrt() - radius) / 5)
    f = Expression(" + ".join(f"{0.1 * a}*n**{j}" for j, a in enumerate(WELL, 2)), ("n",))
    share = Expression("n**3*(6*n**2 - 15*n + 10)", ("n",))
    misfit = Misfit(share, torch.diag(torch.tensor([0.005, 0.005, 0.0], dtype=torch.float64)))
    c = cubic(250.0, 150.0, 100.0)
    if stiffer == 1:
        elastic = HomogeneousElasticity(grid, c, (misfit,), PLANE_STRAIN)
    else:
        contrasts = (Contrast(share, (stiffer - 1) * c),)
        elastic = InhomogeneousElasticity(grid, c, (misfit,), contrasts, PLANE_STRAIN)
    flow = GradientFlow(grid, f, (OrderField("n", True, 5.0, 0.29),), elastic=elastic)
    return flow, (matrix + (1 - matrix) * 0.5 * (1 - wall))[None]


def reach(grid: Grid, eta: Tensor) -> dict[str, float]:
    """From the middle of the box to η = ½ along [10], [01] and [11]; 0: the middle is outside."""
    n = grid.shape[0]
    found = {}
    for name, (a, b) in {"10": (1, 0), "01": (0, 1), "11": (1, 1)}.items():
        steps = torch.arange(n // 2)
        # The middle lies between cells: means of the two or four cells beside the ray.
        low, high = n // 2 - 1, n // 2
        cells = [eta[(i + a * steps) % n, (j + b * steps) % n] for i, j in _beside(low, high, a, b)]
        line = torch.stack(cells).mean(0).tolist()
        inside = next((k for k, value in enumerate(line) if value < 0.5), 0)
        if inside == 0:
            found[name] = 0.0
            continue
        share = (line[inside - 1] - 0.5) / (line[inside - 1] - line[inside])
        found[name] = (inside - 0.5 + share) * grid.spacing * math.hypot(a, b)
    return found


def _beside(low: int, high: int, a: int, b: int) -> list[tuple[int, int]]:
    if a and b:
        return [(high, high)]
    return [(high, low), (high, high)] if a else [(low, high), (high, high)]


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
