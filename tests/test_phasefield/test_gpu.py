"""The phase field on a GPU: the fields of the CPU, with and without recorded graphs."""

from copy import deepcopy

import pytest
import torch
from numpy.polynomial import Polynomial

from idnn.network import IntegrableNetwork, NetworkSettings
from idnn.order_parameters import FCC_L12
from phasefield import fused, replay
from phasefield.adaptive import StepControl
from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.implicit import implicit_bdf2
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.integrators import INTEGRATORS, etdrk4
from phasefield.models import GradientFlow, OrderField
from phasefield.noise import Noise
from phasefield.ordered_fcc import Interaction, Magnetism, OrderedFccEnergy
from phasefield.solve import solve
from phasefield.stiffness import PLANE_STRAIN, cubic

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own
]

LANDAU = Expression(
    "40*(c - 0.125)**2 + 20*(0.3 - c)*(x**2 + y**2) - 3*x*y + 4*(x**4 + y**4) + log(2 + x)",
    ("c", "x", "y"),
)

INTERACTION = Interaction(
    (0.27,), Polynomial([0.0, -0.05, 0.15, -0.1]), Polynomial([0.0, -1.2, -0.4, 1.6])
)
ORDERED_FCC = OrderedFccEnergy(
    600.0, INTERACTION, INTERACTION,
    Magnetism(600.0, Polynomial([633.0, -1745.0]), Polynomial([0.52, -0.52]), 0.28, -3.0),
    floor=2e-3,
)  # fmt: skip
"""About as Ni–Al at 600 K, with all pieces of its magnetism."""


def fields(names):
    return tuple(OrderField(name, name == "c", 1.0, 0.5) for name in names)


def start(grid, means):
    noise = torch.randn((len(means), *grid.shape), generator=torch.Generator().manual_seed(1))
    column = torch.tensor(means).reshape(-1, *[1] * len(grid.shape))
    return (column + 0.01 * noise).to(grid.device, grid.dtype)


CASES = {
    "double well": (double_well(5.0, 0.3, 0.7, "c"), "c", [0.5]),
    "three fields": (LANDAU, "cxy", [0.2, 0.1, -0.1]),
    "ordered fcc": (ORDERED_FCC, "cxyz", [0.16, 0.08, 0.08, 0.08]),
}


def both(case, shape, **settings):
    """The fields at t = 1 of the CPU and of the GPU."""
    f, names, means = CASES[case]
    control = settings.pop("control", StepControl(fixed_step=2.0**-5, tolerance=1e-5))
    ends = []
    for device in ("cpu", "cuda"):
        grid = Grid(shape, 1.0, settings.get("boundaries", ()), torch.device(device))
        rest = {key: value for key, value in settings.items() if key != "boundaries"}
        flow = GradientFlow(grid, f, fields(names), **rest)
        ends.append(solve(flow, start(grid, means), [1.0], control=control))
    return ends


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_gives_the_fields_of_the_cpu(case, integrator):
    control = StepControl(fixed_step=2.0**-5, integrator=INTEGRATORS[integrator])
    one, other = both(case, (48, 40), control=control)
    assert other.u.is_cuda
    torch.testing.assert_close(other.u.cpu(), one.u, rtol=0, atol=1e-11)
    assert other.state.energy.total == pytest.approx(one.state.energy.total, rel=1e-11)


@pytest.mark.parametrize("settings", [
    {"boundaries": ("no-flux", "periodic")}, {"dealias": 2.0},
    {"mobility": lambda u: 1 - 0.5 * u[0] ** 2}, {"noise": Noise(300.0, 4)},
], ids=["walls", "dealiased", "mobility", "noise"])  # fmt: skip
def test_whatever_the_model(settings):
    control = StepControl(fixed_step=2.0**-5, integrator=INTEGRATORS["exponential_euler"])
    one, other = both("double well", (32, 24), control=control, **settings)
    torch.testing.assert_close(other.u.cpu(), one.u, rtol=0, atol=1e-11)


STIFFNESS = cubic(1290.0, 927.0, 583.0)


def strained(kind, device, shape):
    """Landau fields whose first one strains the lattice."""
    grid = Grid(shape, 1.0, device=torch.device(device))
    share = Expression("(c - 0.1) / 0.2", ("c", "x", "y"))
    misfits = (Misfit(share, 0.004 * torch.eye(3, dtype=torch.float64)),)
    held = PLANE_STRAIN if len(shape) == 2 else {}
    if kind == "homogeneous":
        elastic = HomogeneousElasticity(grid, STIFFNESS, misfits, held)
    else:
        contrasts = (Contrast(share, cubic(1200.0, 900.0, 650.0) - STIFFNESS),)
        elastic = InhomogeneousElasticity(grid, STIFFNESS, misfits, contrasts, held)
    f, names, means = CASES["three fields"]
    flow = GradientFlow(grid, f, fields(names), 0.0118, elastic=elastic)
    return flow, start(grid, means)


@pytest.mark.parametrize("shape", [(32, 24), (16, 12, 10)])
@pytest.mark.parametrize("kind", ["homogeneous", "inhomogeneous"])
@pytest.mark.parametrize("integrator", [etdrk4, implicit_bdf2])
def test_strained_fields_are_those_of_the_cpu(kind, shape, integrator):
    control = StepControl(fixed_step=2.0**-5, integrator=integrator)
    ends = []
    for device in ("cpu", "cuda"):
        flow, u0 = strained(kind, device, shape)
        ends.append(solve(flow, u0, [1.0], control=control))
    one, other = ends
    torch.testing.assert_close(other.u.cpu(), one.u, rtol=0, atol=1e-9)
    assert one.state.energy.elastic > 0
    assert other.state.energy.elastic == pytest.approx(one.state.energy.elastic, rel=1e-8)


def test_implicit_steps_of_a_network_are_those_of_the_cpu():
    """Preconditioned on the cells, with differences of slopes for its second derivatives."""
    settings = NetworkSettings(widths=(8, 8), floor=2e-3)
    network = IntegrableNetwork(FCC_L12, 1000.0, settings).requires_grad_(False)
    control = StepControl(fixed_step=4.0, integrator=implicit_bdf2)
    ends = []
    for device in ("cpu", "cuda"):
        grid = Grid((32, 24), 1.0, device=torch.device(device))
        flow = GradientFlow(grid, deepcopy(network).to(device), fields("cxyz"))
        ends.append(solve(flow, start(grid, [0.2, 0.15, 0.15, 0.15]), [16.0], control=control).u)
    torch.testing.assert_close(ends[1].cpu(), ends[0], rtol=0, atol=1e-8)


@pytest.mark.parametrize("shape", [(64,), (32, 24), (16, 12, 10)])
def test_adaptive_steps_are_those_of_the_cpu(shape):
    one, other = both("three fields", shape, control=StepControl(tolerance=1e-5))
    assert other.state.steps == one.state.steps
    torch.testing.assert_close(other.u.cpu(), one.u, rtol=0, atol=1e-10)


@pytest.mark.parametrize("integrator", ["semi_implicit_euler", "etdrk2", "etdrk4"])
@pytest.mark.parametrize("kind", ["formula", "learned", "strained"])
def test_recorded_steps_keep_their_bits(integrator, kind, monkeypatch):
    f, names, means = CASES["three fields"]
    if kind == "learned":
        settings = NetworkSettings(widths=(8, 8), floor=2e-3)
        f = IntegrableNetwork(FCC_L12, 1000.0, settings).requires_grad_(False).to("cuda")
        names, means = "cxyz", [0.2, 0.1, 0.1, 0.1]
    grid = Grid((32, 32), 1.0, device=torch.device("cuda"))
    flow = GradientFlow(grid, f, fields(names))
    if kind == "strained":
        flow, _ = strained("homogeneous", "cuda", (32, 32))
        grid = flow.grid
    control = StepControl(
        first_step=2.0**-8, largest_step=2.0**-5, tolerance=1e-4,
        integrator=INTEGRATORS[integrator],
    )  # fmt: skip
    recorded = []
    monkeypatch.setattr(replay.Replayed, "_record", counted(replay.Replayed._record, recorded))
    ends = []
    for cells in (0, 2**20):
        monkeypatch.setattr(replay, "CELLS_TO_REPLAY", cells)
        ends.append(solve(flow, start(grid, means), [0.5, 1.0], control=control))
        assert bool(recorded) == bool(cells)
    assert ends[0].state.steps == ends[1].state.steps > 8
    assert torch.equal(ends[0].u, ends[1].u)
    assert ends[0].state.energy == ends[1].state.energy


def counted(function, calls):
    def wrapped(*arguments):
        calls.append(1)
        return function(*arguments)

    return wrapped


def test_a_rejected_replay_leaves_the_state_it_started_from():
    f, names, means = CASES["double well"]
    grid = Grid((32, 32), 1.0, device=torch.device("cuda"))
    flow = GradientFlow(grid, f, fields(names))
    control = StepControl(first_step=4.0, tolerance=1e-6, large_steps=None)
    end = solve(flow, start(grid, means), [5.0], control=control).state
    assert end.rejected_by_error > 0
    assert float(grid.mean(grid.inverse(end.u_hat))[0]) == pytest.approx(
        float(start(grid, means).mean()), abs=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.complex128, torch.float32])
def test_compiled_passes_are_sums(dtype):
    generator = torch.Generator("cuda").manual_seed(1)
    real = torch.empty(0, dtype=dtype).real.dtype
    x, y = (torch.randn(999, generator=generator, device="cuda", dtype=dtype) for _ in "xy")
    c = torch.randn(999, generator=generator, device="cuda", dtype=real)
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(fused.combine([(c, 0.3, x), (c, -2.0, y)]), c * (0.3 * x - 2 * y))
    product = (c * (x.conj() * y).real).double().sum()
    torch.testing.assert_close(fused.dot(c, x, y), product, **close)
    x.view(real)[5] = torch.nan
    assert fused.largest(x.view(real)).isnan()
