"""The free energy that the settings of a run describe, its domain, and where it comes from."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from idnn.free_energy import BraggWilliams, FreeEnergy, IdealMixing
from idnn.order_parameters import FCC_L12
from phasefield.expression import Expression, double_well
from phasefield.free_energies import Bounded, load_energy
from phasefield.settings import (
    BraggWilliamsSettings,
    CalphadSettings,
    DoubleWellSettings,
    EnergySettings,
    FormulaSettings,
    LearnedSettings,
)


@dataclass(frozen=True, eq=False)
class RunEnergy:
    """A free energy, eV/site.

    Attributes:
        f: of the fields of the run.
        domain: knows the fields for which it has a meaning; None: all.
        provenance: hashes of the files it was read from.
    """

    f: FreeEnergy
    domain: Bounded | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


def run_energy(settings: EnergySettings, names: Sequence[str], device: torch.device) -> RunEnergy:
    """The free energy that `settings` describe, of fields with these `names`.

    Raises:
        FileNotFoundError: there is no model or database file.
        ValueError: the file cannot be read, or lacks what the run needs of it.
    """
    match settings:
        case DoubleWellSettings() as e:
            return RunEnergy(double_well(e.height, e.low, e.high))
        case FormulaSettings() as e:
            f = Expression(e.formula, tuple(names), e.constants)
            return RunEnergy(f, FCC_L12 if len(names) == 4 else None)
        case BraggWilliamsSettings() as e:
            ideal = IdealMixing(FCC_L12.q, e.temperature, e.floor)
            v = [e.composition_interaction] + [e.order_interaction] * 3
            return RunEnergy(BraggWilliams(ideal, torch.tensor(v, dtype=torch.float64)), FCC_L12)
        case LearnedSettings() as e:
            return _learned(e, device)
        case CalphadSettings() as e:
            return _calphad(e)


def _learned(settings: LearnedSettings, device: torch.device) -> RunEnergy:
    learned = load_energy(
        settings.model, member=settings.member, floor=settings.floor, device=device
    )
    if learned.system.name != FCC_L12.name:
        raise ValueError(
            f"`energy.model` must be of system {FCC_L12.name!r}, whose order parameters "
            f"this run has; {settings.model} is of {learned.system.name!r}."
        )
    provenance = {"model_sha256": learned.sha256, "model_data_hash": learned.data_hash}
    return RunEnergy(learned.f, learned.system, provenance)


def _calphad(settings: CalphadSettings) -> RunEnergy:
    from phasefield.calphad import OrderedFcc, default_database  # pycalphad loads slowly
    from phasefield.phases import VACANCY, DatabasePhase

    path = settings.database or default_database()
    options = {"temperature": settings.temperature, "floor": settings.floor}
    if settings.orders:
        f = OrderedFcc.from_database(path, settings.elements).at(**options)
        domain = FCC_L12
    else:
        phase = DatabasePhase.from_database(path, settings.phase, settings.elements)
        occupied = [own for own in phase.sublattices if own != (VACANCY,)]
        if occupied != [settings.elements]:
            raise ValueError(
                "`energy.phase` must be FCC_L12, or have both elements on one sublattice and "
                f"nothing on the others, so that c says all of it; {settings.phase} has "
                f"{' : '.join(map(','.join, phase.sublattices))}."
            )
        f = domain = phase.at(**options)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return RunEnergy(f, domain, {"database_sha256": sha256})
