"""What determines transport through a membrane, checked and brought to rows of cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from idnn.checks import require_positive
from idnn.nanopore.activity import Davies
from idnn.nanopore.closures import Closure
from idnn.nanopore.hindrance import Hindrance
from idnn.nanopore.ions import Ions
from idnn.nanopore.membrane import (
    Membrane,
    Water,
    born_partition,
    size_ratio,
    steric_partition,
    water_permeability,
)
from idnn.nanopore.solutions import require_neutral


@dataclass(frozen=True, eq=False)
class Conditions:
    """What determines the permeate, a row a case.

    Attributes:
        feed: c in the bulk, mol/m³.
        charge: z.
        molar_mass: in kg/mol.
        diffusivity: D in m²/s.
        resistance: Δx/(K_d D) in s/m.
        convection: K_c.
        partition: Φ exp(−ΔW/kT).
        fixed: X in mol/m³.
        permeability: of the membrane to water, in m/(s Pa).
        thermal_energy: RT in J/mol.
        pressure: ΔP in Pa, or None where the flux is given.
        flux: J_v in m/s, or None where the pressure is given.
        transfer: k in m/s; None without a film.
        suction: whether k is corrected for flow through the wall.
        activity: of the ions; ideal if None.
    """

    feed: Float[Tensor, "row ion"]
    charge: Float[Tensor, " ion"]
    molar_mass: Float[Tensor, " ion"]
    diffusivity: Float[Tensor, "row ion"]
    resistance: Float[Tensor, "row ion"]
    convection: Float[Tensor, "row ion"]
    partition: Float[Tensor, "row ion"]
    fixed: Float[Tensor, " row"]
    permeability: Float[Tensor, " row"]
    thermal_energy: float
    pressure: Float[Tensor, " row"] | None
    flux: Float[Tensor, " row"] | None
    transfer: Float[Tensor, "row ion"] | None
    suction: bool
    activity: Davies | None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Conditions:
        """The same with all that has rows changed."""
        names = {f.name for f in fields(self)} - {"charge", "molar_mass"}
        given = {name: getattr(self, name) for name in names}
        rows = {name: x for name, x in given.items() if isinstance(x, Tensor)}
        return replace(self, **{name: change(x) for name, x in rows.items()})

    def at(self, rows: Tensor) -> Conditions:
        """Some rows only."""
        return self.mapped(lambda x: x[rows])


def conditions(
    ions: Ions,
    feed: Tensor,
    membrane: Membrane,
    *,
    pressure: Tensor | float | None,
    flux: Tensor | float | None,
    water: Water,
    hindrance: Hindrance,
    closure: Closure | None,
    mass_transfer: Tensor | None,
    suction: bool,
    activity: Davies | None,
) -> tuple[Conditions, torch.Size]:
    """Rows of cases, and the leading axes they came in."""
    _require_good(ions, feed, mass_transfer)
    driving = _driving(feed, pressure=pressure, flux=flux)
    ratio = size_ratio(membrane, ions)
    diffusion, convection = hindrance(ratio)
    resistance = membrane.thickness[..., None] / (diffusion * ions.diffusivity)
    partition = steric_partition(ratio) * born_partition(membrane, ions, water)
    fixed = membrane.charge
    if closure is not None:
        by = closure(ions, feed, membrane, ratio)
        resistance, convection = (
            resistance * (-by.diffusion).exp(),
            convection * by.convection.exp(),
        )
        partition, fixed = partition * by.partition.exp(), fixed * by.charge.exp()
    permeability = water_permeability(membrane, water)
    film = () if mass_transfer is None else (mass_transfer,)
    batch = torch.broadcast_shapes(
        *(x.shape[:-1] for x in (feed, resistance, partition, *film)),
        *(x.shape for x in (driving, fixed, permeability)),
    )

    def rows(x: Tensor) -> Tensor:
        return x.expand(batch).reshape(-1)

    def rows_of_ions(x: Tensor) -> Tensor:
        return x.expand(*batch, -1).reshape(-1, len(ions.names))

    given = Conditions(
        feed=rows_of_ions(feed),
        charge=ions.charge,
        molar_mass=ions.molar_mass,
        diffusivity=rows_of_ions(ions.diffusivity),
        resistance=rows_of_ions(resistance),
        convection=rows_of_ions(convection),
        partition=rows_of_ions(partition),
        fixed=rows(fixed),
        permeability=rows(permeability),
        thermal_energy=water.thermal_energy,
        pressure=None if pressure is None else rows(driving),
        flux=None if flux is None else rows(driving),
        transfer=None if mass_transfer is None else rows_of_ions(mass_transfer),
        suction=suction,
        activity=activity,
    )
    return given, batch


def _require_good(ions: Ions, feed: Tensor, mass_transfer: Tensor | None) -> None:
    given = {"feed": feed} | ({} if mass_transfer is None else {"mass_transfer": mass_transfer})
    for name, value in given.items():
        if value.shape[-1:] != ions.charge.shape:
            raise ValueError(
                f"`{name}` must end in an axis of the {len(ions.names)} ions "
                f"{', '.join(ions.names)}; its shape is {tuple(value.shape)}."
            )
        if value.dtype != torch.float64:
            raise ValueError(
                f"`{name}` must be of float64, which the accuracy needs; it is of {value.dtype}. "
                "Convert it by `.double()`."
            )
        require_positive(name, value.detach())
    require_neutral("feed", feed.detach(), ions)


def _driving(
    feed: Tensor, *, pressure: Tensor | float | None, flux: Tensor | float | None
) -> Tensor:
    """The pressure or the flux."""
    if (pressure is None) == (flux is None):
        raise ValueError(
            "`pressure`, `flux`: give one of them, in Pa or m/s; "
            f"{'neither' if pressure is None else 'both'} is given."
        )
    name, value = ("flux", flux) if pressure is None else ("pressure", pressure)
    tensor = torch.as_tensor(value, dtype=feed.dtype, device=feed.device)
    require_positive(name, tensor.detach())
    return tensor
