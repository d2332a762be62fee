"""Concentrations of ions in solutions, which are neutral."""

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.nanopore.ions import Ions

NEUTRAL = 1e-6
"""Excess charge over all charges up to which a solution counts as neutral."""


def neutralised(
    feed: Float[Tensor, "*batch ion"], ions: Ions, by: str
) -> Float[Tensor, "*batch ion"]:
    """Concentrations with that of one ion set so that Σ z c = 0.

    Raises:
        ValueError: the ion is not there, or had to be of negative concentration.
    """
    if by not in ions.names:
        raise ValueError(f"`by` must be one of {', '.join(ions.names)}; it is {by!r}.")
    i = ions.names.index(by)
    here = torch.arange(len(ions.names), device=feed.device) == i
    wanted = -(feed * ions.charge).masked_fill(here, 0).sum(-1) / ions.charge[i]
    if not (wanted.detach() > 0).all():
        raise ValueError(
            f"`by` must be an ion whose charge is opposite to that of the others together; {by} "
            f"would need a concentration of {float(wanted.detach().min()):.6g}."
        )
    return torch.where(here, wanted[..., None], feed)


def require_neutral(name: str, concentration: Tensor, ions: Ions) -> None:
    """Raise `ValueError` unless |Σ z c| is below 10⁻⁶ of Σ |z| c everywhere."""
    charge = (concentration * ions.charge).sum(-1)
    relative = (charge / (concentration * ions.charge.abs()).sum(-1)).flatten()
    bad = ~(relative.abs() <= NEUTRAL)
    if bad.any():
        i = int(bad.nonzero()[0])
        raise ValueError(
            f"`{name}` must be neutral, Σ z c = 0: {int(bad.sum())} of {len(bad)} solutions are "
            f"not; in the first, at flat index {i}, a part {float(relative[i]):.3g} of all charges "
            "is in excess. Set one ion by `neutralised`."
        )
