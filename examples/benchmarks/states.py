"""States to measure and to learn at."""

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.order_parameters import FCC_L12


def sobol_states(count: int, seed: int, margin: float = 1e-3) -> Float[Tensor, "sample 4"]:
    """η of sublattice fractions spread evenly over [margin, 1 − margin]⁴."""
    draw = torch.quasirandom.SobolEngine(4, scramble=True, seed=seed).draw(count).double()
    return FCC_L12.order_parameters(margin + (1 - 2 * margin) * draw)
