"""Spinodal decomposition of PFHub benchmark 1a: F falls from 319 to 137 by t = 100."""

import torch

from phasefield.expression import double_well
from phasefield.grid import Grid
from phasefield.models import GradientFlow, OrderField
from phasefield.solve import InMemory, solve

grid = Grid(shape=(100, 100), spacing=2.0)
x, y = grid.cell_centres()
waves = (
    torch.cos(0.105 * x) * torch.cos(0.11 * y) + (torch.cos(0.13 * x) * torch.cos(0.087 * y)) ** 2
)
waves += torch.cos(0.025 * x - 0.15 * y) * torch.cos(0.07 * x - 0.02 * y)

f = double_well(height=5.0, low=0.3, high=0.7)
composition = OrderField("c", conserved=True, mobility=5.0, kappa=2.0)
model = GradientFlow(grid, f, (composition,))
records = InMemory()
u0 = 0.5 + 0.01 * waves[None]
solve(model, u0, [10, 20, 50, 100], recorder=records)
for record in records.records:
    print(f"t = {record.state.time:g} F = {record.state.energy.total:.2f}")
