"""Bodies with misfit, for both solvers of elasticity."""

import torch

from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.stiffness import COMPONENTS, PLANE_STRAIN, cubic

ONE = torch.eye(3, dtype=torch.float64)
LINEAR = Expression("u", ("u",))
SMOOTH = Expression("u**3*(6*u**2 - 15*u + 10)", ("u",))
NICKEL = cubic(206.6, 148.5, 93.5)
SHEARED = torch.tensor(
    [[0.01, 0.002, 0.0], [0.002, 0.005, -0.001], [0.0, -0.001, 0.003]], dtype=torch.float64
)
CONTROLS = {
    "free": ({}, {}),
    "mixed": ({"xx": 0.001, "yz": 0.002}, {"zz": 0.3, "xy": -0.1}),
    "held": (dict.fromkeys(COMPONENTS, 0.0), {}),
}


def random(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def both(grid, stiffness, strain, share=LINEAR, change=None, control="free", tolerance=1e-11):
    held, applied = CONTROLS.get(control, (PLANE_STRAIN, {}))
    misfits = (Misfit(share, strain),)
    change = torch.zeros(6, 6, dtype=torch.float64) if change is None else change
    one = HomogeneousElasticity(grid, stiffness, misfits, held, applied)
    contrasts = (Contrast(share, change),)
    return one, InhomogeneousElasticity(
        grid, stiffness, misfits, contrasts, held, applied, tolerance
    )
