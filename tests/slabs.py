"""What a team and a process alone both compute, to be compared; torchrun runs this file.

    torchrun --nproc-per-node N tests/slabs.py OUT.npz RUN.toml

Two processes stop the run halfway, and end by losing one of them; four continue it.
"""

import sys
from dataclasses import replace

import numpy as np
import torch

from phasefield import __main__, initial, solve
from phasefield.adaptive import StepControl
from phasefield.dealiasing import FineGrid
from phasefield.elasticity import Misfit
from phasefield.expression import Expression, double_well
from phasefield.grid import Grid
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.initial import Nucleus, noisy, with_nuclei
from phasefield.integrators import INTEGRATORS
from phasefield.models import GradientFlow, OrderField
from phasefield.runs import execute, prepare
from phasefield.settings import read_settings
from phasefield.stiffness import cubic
from phasefield.team import ALONE, join

P, W = "periodic", "no-flux"
GRIDS = [
    ((9, 10), ()),
    ((8, 7), (W, P)),
    ((7, 9), (P, W)),
    ((6, 5), (W, W)),
    ((6, 5, 7), ()),
    ((5, 6, 4), (W, P, P)),
    ((6, 9, 5), (P, P, W)),
    ((5, 7, 4), (W, W, P)),
    ((6, 5, 4), (P, W, W)),
    ((5, 6, 7), (W, W, W)),
]
"""Most are cut unevenly by two and by four processes."""


class Stopped(Exception):
    """A run was ended by its observer."""


def whole(slabs, x, of):
    """On process 0 the field of all processes."""
    result = slabs.gather_cells(x) if of == "cells" else slabs.gather_modes(x)
    return torch.empty(0) if result is None else result


def on_grid(shape, boundaries, team):
    """Transforms and reductions of two random fields."""
    grid = Grid(shape, 0.7, boundaries, team=team)
    generator = torch.Generator().manual_seed(1)
    u = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    own = u[:, grid.slabs.planes].contiguous()
    u_hat = grid.transform(own)
    weight = grid.multiplicity.expand(u_hat.shape).contiguous()
    nothing = torch.zeros_like(grid.k2)
    fine = FineGrid(grid, 1.5)
    points = fine.inverse(u_hat)
    return {
        "u_hat": whole(grid.slabs, u_hat, "modes"),
        "u": whole(grid.slabs, grid.inverse(u_hat), "cells"),
        "points": whole(fine.slabs, points, "cells"),
        "squares_hat": whole(fine.slabs, fine.transform(points.square()), "modes"),
        "seen": whole(grid.slabs, fine.seen, "modes"),
        "k2": whole(grid.slabs, grid.k2, "modes"),
        "wave_numbers": whole(grid.slabs, sum(grid.wave_numbers, nothing), "modes"),
        "multiplicity": whole(grid.slabs, weight, "modes"),
        "centres": whole(grid.slabs, torch.stack(grid.cell_centres()), "cells"),
        "squares": torch.tensor(grid.mode_sum(weight, u_hat), dtype=torch.float64),
        "largest": torch.tensor(grid.largest(own), dtype=torch.float64),
        "mean": grid.mean(own),
        "sample": grid.total(grid.sample(own, 10).sum(1)),
    }


def well_of_two(eta):
    """A free energy of a composition and an order parameter."""
    c, order = eta.unbind(-1)
    return c**2 * (1 - c) ** 2 + (order**2 - c) ** 2 / 2


def with_noise(grid, generator):
    u = noisy(grid, [0.4], [0.05], generator)
    return with_nuclei(grid, u, [Nucleus((2.0, 5.0, 1.0), 1.7, (0.9,))])


def models(team):
    """Model, initial fields, integrator of short runs."""
    grid = Grid((11, 10, 9), 1.0, team=team)
    field = OrderField("c", True, 1.0, 0.4)
    generator = torch.Generator().manual_seed(2)
    yield (
        "wells",
        GradientFlow(grid, double_well(1.0, 0.0, 1.0), (field,)),
        with_noise(grid, generator),
        "etdrk4",
    )
    grid = Grid((14, 13), 1.0, (W, P), team=team)
    fields = (field, OrderField("eta", False, 1.0, 0.5))
    coupling = torch.tensor([[0.0, 0.1], [0.1, 0.0]], dtype=torch.float64)
    u = noisy(grid, [0.4, 0.1], [0.05, 0.1], generator)
    coupled = GradientFlow(grid, well_of_two, fields, coupling=coupling)
    yield "coupled", coupled, u, "sbdf2"
    yield "fine", replace(coupled, dealias=2.0), u, "etdrk4"
    grid = Grid((10, 8, 6), 1.0, team=team)
    share, one = Expression("c", ("c",)), torch.eye(3, dtype=torch.float64)
    crystal = cubic(30.0, 20.0, 12.0)
    solid = InhomogeneousElasticity(
        grid, crystal, (Misfit(share, 0.02 * one),), (Contrast(share, crystal),), {"xx": 0.001}
    )
    strained = GradientFlow(grid, double_well(1.0, 0.0, 1.0), (field,), elastic=solid)
    yield "strained", strained, noisy(grid, [0.4], [0.05], generator), "etdrk4"


def run(model, u, integrator):
    """The initial and final fields, and what was observed last."""
    recorder = solve.InMemory()
    control = StepControl(integrator=INTEGRATORS[integrator], first_step=2.0**-6)
    end = solve.solve(model, u, [1.0, 4.0], control=control, recorder=recorder)
    row = recorder.records[-1].observations[-1].row([field.name for field in model.fields])
    slabs = model.grid.slabs
    return {
        "start": whole(slabs, u, "cells"),
        "end": whole(slabs, end.u, "cells"),
        "row": torch.tensor(list(row.values()), dtype=torch.float64),
    }


def everything(team):
    """All results under their names; whole fields on process 0 alone."""
    found = {}
    for i, (shape, boundaries) in enumerate(GRIDS):
        found |= {f"grid{i}.{k}": v for k, v in on_grid(shape, boundaries, team).items()}
    for name, model, u, integrator in models(team):
        found |= {f"{name}.{k}": v for k, v in run(model, u, integrator).items()}
    return {name: x.numpy() for name, x in found.items()}


def refusals(team, settings):
    """Messages of errors of which only one process knows the cause, or all do."""

    def message(function):
        try:
            function()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    def fails_on_the_last():
        with team.together():
            if team.rank == team.size - 1:
                raise ValueError("the last one has no file")

    outside = settings.nucleus[0].model_copy(update={"values": (0.16, 0.25, 0.25, 0.25)})
    bad = settings.model_copy(update={"nucleus": (outside,)})
    lost = torch.tensor([float("nan"), 1.0] if team.rank == 0 else [2.0, float("inf")])
    grid, u = Grid((8, 8), 1.0, team=team), torch.zeros(1, 8, 8, dtype=torch.float64)
    model = GradientFlow(grid, double_well(1.0, 0.0, 1.0), (OrderField("c", True, 1.0, 1.0),))
    whole_field = torch.full((1, 8, 8), 0.5, dtype=torch.float64)
    whole_field[0, 6, 3], whole_field[0, 7, 1] = -0.2, -0.3
    logarithm = replace(model, f=Expression("c*log(c)", ("c",)))
    cut = whole_field[:, grid.slabs.planes]
    return {
        "domain": message(lambda: solve.solve(logarithm, cut, [1.0])),
        "line": message(lambda: Grid((64,), 1.0, team=team)),
        "planes": message(lambda: Grid((64, 4), 1.0, team=replaced(team, 9))),
        "last": message(fails_on_the_last),
        "outside": message(lambda: prepare(bad, team)),
        "shape": message(lambda: solve.solve(model, u, [1.0])),
        "nan": str(team.max(lost).tolist()),
    }


def replaced(team, size):
    return type(team)(team.rank, size)


def check(team, out, path):
    settings = read_settings(path)

    def stop(now):
        if now.time > settings.time.end / 2 and team.size == 2:
            raise Stopped

    found = everything(team)
    said = refusals(team, settings)
    stopped = False
    try:
        execute(settings, [stop], team)
    except Stopped:
        stopped = True
    said["stopped"] = int(team.sum(torch.tensor(int(stopped))))
    assert team.tell(said) == said, f"process {team.rank} was told otherwise: {said}"
    if team.rank == 0:
        np.savez(out, **found, **said)


def lose(team, path):
    """The command line, on whose second process something fails that the first never hears of."""

    def broken(*_):
        raise RuntimeError("lost on the second")

    if team.rank == 1:
        solve.observe = broken
    __main__.join = lambda: team
    return __main__.main([path, "--quiet"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    initial.BLOCK = 64  # so that noise is drawn in several
    team = join()
    assert team is not ALONE
    check(team, *sys.argv[1:])
    if team.size == 2:
        sys.exit(lose(team, sys.argv[2]))
    team.leave()
