"""Membranes and learned closures fitted to measured rejections, by least squares with priors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from idnn.checks import require_shape
from idnn.levenberg import LeastSquaresFit, LevenbergMarquardt, least_squares, posterior_samples
from idnn.nanopore.closures import Learned, LearnedClosure
from idnn.nanopore.collocation import radau
from idnn.nanopore.ions import Ions
from idnn.nanopore.measurements import Measurements
from idnn.nanopore.membrane import Membrane
from idnn.nanopore.transport import Transport, transport
from idnn.ode import Control
from idnn.residuals import Block, Parameters, Rows

ROUGH = LevenbergMarquardt(iterations=15, tolerance=1e-2, precision=1.0, evidence=False)
FINE = LevenbergMarquardt(iterations=40, tolerance=1e-3, precision=1.0)
LEARNING = LevenbergMarquardt(iterations=30, tolerance=1e-3, precision=1.0, evidence=False)
"""Priors of one standard deviation; for plain fits the evidence then decides on them."""

MESH = radau(10, 1)
CONTROL = Control(rtol=1e-5, atol=1e-5)
"""While fitting, the latter with local closures; predictions are as accurate as `transport`'s."""

REDRAWN = 20
"""How often a start is drawn again at most."""

DEVIATION = 0.3
"""Standard deviation of weights' prior: corrections are within a factor of about two."""


def membrane_of(pores: Float[Tensor, "*batch pore"], ions: Ions) -> Membrane:
    """The membrane of four numbers u, whose prior is standard normal.

    r_p = r_s + 0.13 nm e^{0.6u}, r_s that of the largest ion; Δx = 1.5 µm eᵘ; X = 20 mol/m³
    sinh(1.5u); ε_p = 45 e^{0.25u}. Medians and spread are about those of published fits.
    """
    radius, thickness, charge, permittivity = pores.unbind(-1)
    return Membrane(
        ions.stokes_radius.max() + 0.13e-9 * (0.6 * radius).exp(),
        1.5e-6 * thickness.exp(),
        20 * (1.5 * charge).sinh(),
        45 * (0.25 * permittivity).exp(),
    )


class Fit(NamedTuple):
    """Membranes, one set a member, and what their members have learned.

    Attributes:
        ions: whose rejections were fitted.
        pores: the numbers u of `membrane_of`.
        closure: of every member; None where the closures are as they are.
        noise: by how much every σ had to be widened, at least 1.
    """

    ions: Ions
    pores: Float[Tensor, "member membrane pore"]
    closure: Learned | None
    noise: Float[Tensor, " member"]

    def membrane(self, number: int) -> Membrane:
        """A membrane, as every member has it."""
        return membrane_of(self.pores[:, number], self.ions)

    def predict(
        self,
        feed: Float[Tensor, "#case ion"],
        membrane: Int[Tensor, " case"],
        *,
        pressure: Float[Tensor, " case"] | None = None,
        flux: Float[Tensor, " case"] | None = None,
    ) -> Transport:
        """Transport of every member in every case, of membranes given by number, as [member, case].

        Pressure in Pa or flux in m/s. Raises what `transport` does.
        """
        closure = None
        if self.closure is not None:
            closure = type(self.closure)(*(weight[:, None] for weight in self.closure))
        pores = membrane_of(self.pores[:, membrane], self.ions)
        return transport(self.ions, feed, pores, pressure=pressure, flux=flux, closure=closure)


def fit_membranes(data: Measurements, *, starts: int = 6, seed: int = 0) -> Fit:
    """Four numbers a membrane, closures as they are; the best of several starts for each.

    Minimises Σρ(R − R_measured)/(sσ)² + αΣu², ρ of Huber, with s ≥ 1 and α from the evidence; see
    `idnn.levenberg.least_squares`. One member, the plain DSPM-DE.

    Args:
        data: to be met.
        starts: drawn from the prior, again where they cannot be solved.
        seed: of the starts.

    Raises:
        ValueError: fewer than one start.
        NotTrained: a start of some membrane cannot be solved, however often it is drawn.
    """
    if starts < 1:
        raise ValueError(f"`starts` must be at least 1; it is {starts}.")
    generator = torch.Generator().manual_seed(seed)
    block = _block(data, None)

    def squares(pores: Tensor) -> Tensor:
        by_case = block.residual({"pores": pores}, block.rows).square().sum(2)
        return by_case.new_zeros(pores.shape[:2]).index_add(1, data.membrane, by_case)

    pores = _solvable((starts, data.membranes, 4), squares, generator)
    first = least_squares({"pores": pores}, [block], ROUGH).parameters
    objective = squares(first["pores"]) + first["pores"].square().sum(2)
    best = first["pores"][objective.argmin(0), torch.arange(data.membranes)]
    found = least_squares({"pores": best[None]}, [block], FINE)
    return Fit(data.ions, found.parameters["pores"], None, found.noise)


def _solvable(
    shape: tuple[int, int, int], squares: Callable[[Tensor], Tensor], generator: torch.Generator
) -> Tensor:
    """Starts from the prior, drawn again where they cannot be solved, `REDRAWN` times at most."""
    pores = torch.randn(shape, dtype=torch.float64, generator=generator)
    for _ in range(REDRAWN):
        solved = squares(pores).isfinite()
        if solved.all():
            break
        drawn = torch.randn(shape, dtype=torch.float64, generator=generator)
        pores = torch.where(solved[..., None], pores, drawn)
    return pores


def fit_closure(data: Measurements, start: Fit, closure: Learned | None) -> Fit:
    """Membranes, and a closure that they share: the most probable, one member.

    Minimises Σρ(R − R_measured)/(sσ)² + Σu² + Σ(w − w₀)²/0.3², with s of the plain fit: what that
    does not explain may all be noise, so that only deviations which the data insist on are learned.

    Args:
        data: to be met.
        start: of `fit_membranes` to the same data.
        closure: w₀, `untrained` or trained on other data, without an axis of members; its type says
            whether it is local, and the fit's has the same. With None membranes alone are fitted,
            which differs from `fit_membranes` by the prior of u.

    Raises:
        ValueError: `start` is of other ions or of another number of membranes.
    """
    return _learned(start, closure, _most_probable(data, start, closure)[1])


def closure_of_known(
    data: Measurements, pores: Float[Tensor, "membrane pore"], closure: LearnedClosure
) -> LearnedClosure:
    """The closure alone, of membranes whose numbers u are known, as those of simulations are.

    Minimises Σρ(R − R_measured)/σ² + Σ(w − w₀)²/0.3².

    Args:
        data: to be met.
        pores: u of `membrane_of`.
        closure: w₀, without an axis of members.
    """
    require_shape("pores", pores, (data.membranes, 4))
    weights = {name: torch.zeros_like(w)[None] for name, w in closure._asdict().items()}
    found = least_squares(weights, [_block(data, closure, pores)], LEARNING).parameters
    return LearnedClosure(*(w + DEVIATION * found[n][0] for n, w in closure._asdict().items()))


def committee(
    data: Measurements,
    start: Fit,
    closure: Learned | None,
    *,
    members: int = 8,
    seed: int = 0,
) -> Fit:
    """`fit_closure` again for each member, to R + sσN(0, 1) and to priors moved likewise.

    Members are then samples of the posterior (randomise, then optimise; Bardsley et al. 2014,
    doi:10.1137/140964023).

    Args:
        data: to be met.
        start: of `fit_membranes` to the same data.
        closure: as in `fit_closure`.
        members: of the committee.
        seed: of the noise.

    Raises:
        ValueError: there are no members, or as `fit_closure`.
    """
    if members < 1:
        raise ValueError(f"`members` must be at least 1; it is {members}.")
    widened, found = _most_probable(data, start, closure)

    def repeated(x: Tensor) -> Tensor:
        return x.expand(members, *x.shape[1:]).clone()

    generator = torch.Generator().manual_seed(seed)
    noise = partial(torch.randn, dtype=torch.float64, generator=generator)
    every = LeastSquaresFit(
        parameters={name: repeated(value) for name, value in found.parameters.items()},
        objective=repeated(found.objective),
        iterations=repeated(found.iterations),
        effective=repeated(found.effective),
        noise=repeated(found.noise),
        precision=repeated(found.precision),
    )
    sampled = posterior_samples(
        every,
        [_block(widened, closure)],
        LEARNING,
        data_noise=[noise((members, *data.rejection.shape))],
        prior_noise=noise(every.precision.shape),
    )
    return _learned(start, closure, sampled)


def _most_probable(
    data: Measurements, start: Fit, closure: Learned | None
) -> tuple[Measurements, LeastSquaresFit]:
    """The data with all σ widened, and the fit to them."""
    if start.ions.names != data.ions.names:
        raise ValueError(
            f"`start` must be of the ions {', '.join(data.ions.names)}; it is of "
            f"{', '.join(start.ions.names)}."
        )
    require_shape("start.pores", start.pores, (1, data.membranes, 4))
    centre = {} if closure is None else closure._asdict()
    weights = {name: torch.zeros_like(w)[None] for name, w in centre.items()}
    widened = replace(data, sigma=data.sigma * start.noise)
    parameters = {"pores": start.pores} | weights
    return widened, least_squares(parameters, [_block(widened, closure)], LEARNING)


def _learned(start: Fit, closure: Learned | None, found: LeastSquaresFit) -> Fit:
    pores, *moved = found.parameters.values()
    learned = None
    if closure is not None:
        learned = type(closure)(*(c + DEVIATION * w for c, w in zip(closure, moved, strict=True)))
    return Fit(start.ions, pores, learned, start.noise.expand(len(pores)))


def _block(data: Measurements, centre: Learned | None, known: Tensor | None = None) -> Block:
    """Residuals (R − R_measured)/σ; weights are differences from `centre`, in units of 0.3.

    Membranes are parameters unless `known`. Every case is given a copy of its own of all
    parameters: one backward pass an ion then gives all derivatives.
    """
    measured = [data.ions.names.index(name) for name in data.measured]

    def copies(parameters: Parameters, rows: Rows) -> dict[str, Tensor]:
        count = len(rows["membrane"])
        weights = {
            name: value[:, None].expand(-1, count, *value.shape[1:])
            for name, value in parameters.items()
            if name != "pores"
        }
        if known is not None:
            return weights
        return {"pores": parameters["pores"][:, rows["membrane"]]} | weights

    def residual_of(own: dict[str, Tensor], rows: Rows) -> Tensor:
        closure, pores = None, own["pores"] if known is None else known[rows["membrane"]]
        if centre is not None:
            weights = (c + DEVIATION * own[n] for n, c in centre._asdict().items())
            closure = type(centre)(*weights)
        found = transport(
            data.ions,
            rows["feed"],
            membrane_of(pores, data.ions),
            closure=closure,
            mesh=MESH,
            control=CONTROL,
            strict=False,
            flux=rows["driven"] if data.driving == "flux" else None,
            pressure=rows["driven"] if data.driving == "pressure" else None,
        )
        return (found.rejection[..., measured] - rows["rejection"]) / rows["sigma"]

    def residual(parameters: Parameters, rows: Rows) -> Tensor:
        with torch.no_grad():
            return residual_of(copies(parameters, rows), rows)

    def linearised(parameters: Parameters, rows: Rows) -> tuple[Tensor, Tensor]:
        own = {
            name: copy.detach().clone().requires_grad_()
            for name, copy in copies(parameters, rows).items()
        }
        value = residual_of(own, rows)
        columns = [
            torch.autograd.grad(value[..., i].sum(), list(own.values()), retain_graph=True)
            for i in range(len(measured))
        ]
        at = torch.nn.functional.one_hot(rows["membrane"], data.membranes).to(value)
        jacobian = []
        for name, slopes in zip(own, zip(*columns, strict=True), strict=True):
            slope = torch.stack(slopes, 2)
            if name == "pores":
                slope = slope[..., None, :] * at[:, None, :, None]
            jacobian.append(slope.flatten(3))
        return value.detach(), torch.cat(jacobian, 3)

    return Block(residual, linearised, data.rows, len(measured))
