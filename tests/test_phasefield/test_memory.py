"""How many numbers per cell live at once in a run: no copies but those that README states."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from phasefield.adaptive import StepControl
from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.integrators import etdrk2, etdrk4, sbdf2, semi_implicit_euler
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import solve

CELLS = 512


class Last:
    """Keeps the last record alone, as files in a folder do."""

    def restore(self):
        return None

    def append(self, record):
        self.record = record


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside; `peak` is their most at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.sizes = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(each, torch.Tensor):
                self.count(each.untyped_storage())
        return out

    def count(self, storage):
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, key)

    def forget(self, key):
        self.now -= self.sizes.pop(key)


def test_live_bytes_are_counted_and_forgotten():
    with LiveBytes() as memory:
        a = torch.zeros(100, dtype=torch.float64)
        b = a + 1
        del a
        c = b.view(10, 10)
        del b
        assert (memory.now, memory.peak) == (800, 1600)
        del c
    assert memory.now == 0


@pytest.mark.parametrize(
    ("integrator", "double", "single"),
    [
        (semi_implicit_euler, 17, 21),
        (sbdf2, 21, 24),
        (etdrk2, 20, 27),
        (etdrk4, 27, 35),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_fields_that_live_at_once(integrator, double, single, dtype):
    """In units of one field of the run's type; wave numbers stay in float64."""
    control = StepControl(integrator=integrator, first_step=0.01, large_steps=None)
    with LiveBytes() as memory:
        grid = Grid((CELLS, CELLS), 200 / CELLS, dtype=dtype)
        u = grid.field(lambda x, y: 0.5 + 0.01 * torch.cos(0.2 * x) * torch.cos(0.11 * y))
        flow = GradientFlow(grid, double_well(5.0, 0.3, 0.7), (OrderField("c", True, 5.0, 2.0),))
        end = solve(flow, u[None], [0.03, 0.07, 0.2], control=control, recorder=Last())
    assert end.state.steps > 5
    fields = memory.peak / (CELLS**2 * u.element_size())
    assert fields < (double if dtype == torch.float64 else single)
