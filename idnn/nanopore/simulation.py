"""Measurements simulated with other physics than the model's, which closures meet first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.nanopore.activity import Davies
from idnn.nanopore.closures import Corrections, LearnedClosure, untrained
from idnn.nanopore.fitting import closure_of_known, membrane_of
from idnn.nanopore.ions import Ions
from idnn.nanopore.measurements import Measurements
from idnn.nanopore.membrane import Membrane
from idnn.nanopore.transport import transport

STRENGTH = 100.0
"""Ionic strength in mol/m³ at which a membrane has the charge that it is given."""


def usual_error(rejection: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Standard error of a rejection, as parts of one: 1 point, and 5 % of what passes.

    Taken where a source does not state it.
    """
    return (0.05 * (1 - rejection)).hypot(torch.full_like(rejection, 0.01))


@dataclass(frozen=True, eq=False)
class SimulatedMembranes:
    """Membranes whose charge grows with ionic strength, X(I/100 mol/m³)^p (Freundlich's law).

    Activities are Davies', at both ends of the pore.

    Attributes:
        pores: numbers of `membrane_of`, which the model shares.
        power: p.
    """

    pores: Float[Tensor, "membrane pore"]
    power: Float[Tensor, " membrane"]

    @classmethod
    def drawn(cls, count: int, generator: torch.Generator) -> SimulatedMembranes:
        """Numbers of 0.7 of their prior's deviation, p between 0 and 0.7.

        Raises:
            ValueError: there are none.
        """
        if count < 1:
            raise ValueError(f"`count` must be at least 1; it is {count}.")
        pores = 0.7 * torch.randn(1, count, 4, dtype=torch.float64, generator=generator)
        power = 0.7 * torch.rand(count, dtype=torch.float64, generator=generator)
        return cls(pores[0], power)

    def measure(
        self,
        ions: Ions,
        feed: Float[Tensor, "case ion"],
        membrane: Int[Tensor, " case"],
        flux: Float[Tensor, " case"],
        noise: torch.Generator | None = None,
    ) -> Measurements:
        """Rejections of all ions but the last, with errors of `usual_error` if noise is given.

        Left out are cases that cannot be solved, as where ions in the pore are too many for Davies'
        equation, and those whose errors would make the last ion's concentration negative; let the
        last be one that passes well.

        Args:
            ions: of the feed.
            feed: c in mol/m³, neutral.
            membrane: the number of each case's.
            flux: J_v in m/s.
            noise: what to draw errors with.
        """
        power = self.power[membrane]

        def law(ions: Ions, feed: Tensor, membrane: Membrane, ratio: Tensor) -> Corrections:
            del membrane
            none = torch.zeros_like(ratio + feed)
            strength = 0.5 * (feed * ions.charge**2).sum(-1)
            return Corrections(none, none, none, power * (strength / STRENGTH).log())

        pore = membrane_of(self.pores[membrane], ions)
        found = transport(ions, feed, pore, flux=flux, closure=law, activity=Davies(), strict=False)
        rejection = found.rejection[:, :-1]
        sigma = usual_error(rejection)
        if noise is not None:
            drawn = torch.randn(rejection.shape, dtype=rejection.dtype, generator=noise)
            rejection = (rejection + sigma * drawn).clamp(max=1)
        z = ions.charge
        last = -((1 - rejection) * feed[:, :-1]) @ z[:-1] / z[-1]
        good = (found.converged & (last > 0)).nonzero()[:, 0]
        return Measurements(
            ions=ions,
            feed=feed[good],
            membrane=membrane[good],
            measured=ions.names[:-1],
            rejection=rejection[good],
            sigma=sigma[good],
            flux=flux[good],
        )


def mixtures(ions: Ions, count: int, generator: torch.Generator) -> Float[Tensor, "case ion"]:
    """Neutral feeds in mol/m³: equivalents of every ion within a factor of 30 of each other.

    The ionic strength, of all together, lies between 5 and 300 mol/m³.
    """
    shape = (count, len(ions.names))
    each = 30 ** torch.rand(shape, dtype=torch.float64, generator=generator) / ions.charge.abs()
    positive = ions.charge > 0
    charges = each * ions.charge.abs()
    up = charges[:, positive].sum(1, keepdim=True)
    down = charges[:, ~positive].sum(1, keepdim=True)
    feed = each * torch.where(positive, 1 / up, 1 / down)
    strength = 0.5 * (feed * ions.charge**2).sum(1, keepdim=True)
    wanted = 5 * 60 ** torch.rand(count, 1, dtype=torch.float64, generator=generator)
    return feed * wanted / strength


def pretrained(
    ions: Ions, *, membranes: int = 24, cases: int = 8, hidden: int = 8, seed: int = 0
) -> LearnedClosure:
    """A closure that met simulated membranes, whose own four numbers it was told.

    It has seen how activities and charges that grow with concentration change rejections, on
    average over membranes, feeds and fluxes (1.4 to 22 µm/s); `fit_closure` and `committee` start
    from it.

    Args:
        ions: of the feeds; the closure can be used for others too.
        membranes: to be met.
        cases: of each.
        hidden: units of the closure.
        seed: of weights, membranes, feeds, fluxes and errors.

    Raises:
        ValueError: there are no membranes, cases or units.
    """
    if cases < 1:
        raise ValueError(f"`cases` must be at least 1; it is {cases}.")
    generator = torch.Generator().manual_seed(1000 + seed)
    simulated = SimulatedMembranes.drawn(membranes, generator)
    number = torch.arange(membranes).repeat_interleave(cases)
    feed = mixtures(ions, len(number), generator)
    flux = 1.4e-6 * 16 ** torch.rand(len(number), dtype=torch.float64, generator=generator)
    data = simulated.measure(ions, feed, number, flux, generator)
    return closure_of_known(data, simulated.pores, untrained(seed, hidden=hidden))
