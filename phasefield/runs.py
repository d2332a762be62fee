"""A run from its settings: equations, initial state, recorder; and the summary of its result."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray
from torch import Tensor

from idnn.files import exclusive, write_atomically
from idnn.runtime import one_torch_thread, versions
from phasefield.adaptive import StepControl, StepTooSmall
from phasefield.elasticity import HomogeneousElasticity, Misfit
from phasefield.expression import Expression
from phasefield.files import open_history, open_trajectory
from phasefield.free_energies import require_admissible
from phasefield.gathering import Gathering
from phasefield.grid import Grid
from phasefield.implicit import implicit_bdf2
from phasefield.inhomogeneous import Contrast, InhomogeneousElasticity
from phasefield.initial import Nucleus, noisy, scattered, with_nuclei
from phasefield.integrators import INTEGRATORS
from phasefield.models import GradientFlow, OrderField
from phasefield.noise import Noise
from phasefield.observe import L12_SIGNS, AboveThreshold, L12Variants, PhaseMap, variants_present
from phasefield.recorder import RunRecorder
from phasefield.run_directory import claim
from phasefield.run_energy import run_energy
from phasefield.settings import (
    FieldSettings,
    NucleusSettings,
    Settings,
    TimeSettings,
)
from phasefield.solve import Event, Observer, solve
from phasefield.stiffness import GIGAPASCAL, cubic
from phasefield.team import ALONE, Team
from phasefield.terms import Elastic

SUMMARY = "summary.json"


@dataclass(frozen=True, eq=False)
class Run:
    """Everything `solve` needs, made from `Settings`."""

    model: GradientFlow
    u0: Tensor
    times: tuple[float, ...]
    phases: PhaseMap
    control: StepControl
    events: tuple[Event, ...]
    attributes: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Names of the fields."""
        return [field.name for field in self.model.fields]


def prepare(settings: Settings, team: Team = ALONE) -> Run:
    """The run that `settings` describe, as far as it is that of this process of `team`.

    Raises:
        ValueError: the initial state is not admissible, or the nuclei do not fit.
        FileNotFoundError: there is no model or database file.
    """
    device = _device(settings.device, team)
    threads = max(1, (os.cpu_count() or 1) // team.local_size)
    workers = ThreadPoolExecutor(threads) if device.type == "cpu" else None
    table = settings.grid
    dtype = torch.float64 if table.precision == "double" else torch.float32
    grid = Grid(
        table.shape, table.spacing, table.boundaries or (), device, dtype, workers, team=team
    )
    fields = _fields(settings)
    energy = run_energy(settings.energy, [field.name for field in fields], grid.device)
    u0 = _initial_state(settings, grid, fields).to(dtype)
    if energy.domain is not None:
        require_admissible(u0, energy.domain, team, grid.slabs.planes.start)
    noise = None
    if settings.noise is not None:
        noise = Noise(settings.noise.temperature, settings.seed, settings.noise.extent)
    model = GradientFlow(
        grid, energy.f, fields, settings.site_volume, noise=noise, dealias=table.dealias,
        elastic=_elastic(settings, grid),
    )  # fmt: skip
    threshold = settings.phases.threshold
    return Run(
        model=model,
        u0=u0,
        times=tuple(settings.time.output_times()),
        phases=L12Variants(threshold) if len(fields) == 4 else AboveThreshold(threshold),
        control=_control(settings.time),
        events=_events(settings, grid),
        attributes=_attributes(settings, grid, energy.provenance),
    )


def execute(
    settings: Settings, observers: Sequence[Observer] = (), team: Team = ALONE
) -> dict[str, Any]:
    """Run or continue what `settings` describe; of a team, only the first process writes.

    Returns:
        The summary, which is also written into the run directory.

    Raises:
        DirectoryInUse: another process writes to the run directory.
    """
    with one_torch_thread(), ExitStack() as stack:
        with team.together():
            if team.rank == 0:
                stack.enter_context(exclusive(settings.output))
        return _execute(settings, observers, team)


def _execute(settings: Settings, observers: Sequence[Observer], team: Team) -> dict[str, Any]:
    run = prepare(settings, team)
    with team.together():
        if team.rank == 0:
            claim(settings.output, run.attributes["settings"])
    recorder = RunRecorder(settings.output, run.model.grid, run.names, run.phases, run.attributes)
    try:
        solution = solve(
            run.model,
            run.u0,
            run.times,
            control=run.control,
            recorder=recorder if team.size == 1 else Gathering(recorder, run.model.grid),
            observers=observers,
            events=run.events,
        )
    except StepTooSmall as error:
        raise StepTooSmall(
            f"{error} The run up to its last frame is kept in {settings.output}."
        ) from error
    summary = None
    with team.together():
        if team.rank == 0:
            summary = _write_summary(run, settings, solution.wall_s)
    return team.tell(summary)


def _write_summary(run: Run, settings: Settings, wall_s: float) -> dict[str, Any]:
    history, frames = open_history(settings.output), open_trajectory(settings.output)
    summary = summarise(history, frames, run, settings) | {"wall_s": round(wall_s, 3)}
    content = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
    write_atomically(settings.output / SUMMARY, content)
    return summary


def summarise(
    history: xarray.Dataset, frames: xarray.Dataset, run: Run, settings: Settings
) -> dict[str, Any]:
    """The figures of a run: conservation, decay of F, phases, cost; settings and versions.

    Phases, interfaces and particles are those of the last frame; a length that does not exist, as
    without particles, is None.
    """
    last = {str(name): float(column[-1]) for name, column in history.items()}
    energy = history["free_energy"].to_numpy()
    end = frames.isel(time=-1)
    shares = tuple(end["share"].to_numpy().tolist())
    rounding = 1e-12 * np.abs(history["bulk"].to_numpy()).max()
    summary: dict[str, Any] = {
        "time": last["time"],
        "free_energy_start": float(energy[0]),
        "free_energy_end": float(energy[-1]),
        "free_energy_unit": history["free_energy"].attrs["units"],
        "energy_never_rose": bool((np.diff(energy) <= rounding).all()),
        "fraction_ordered": sum(shares[1:]),
        "phase_shares": dict(zip(run.phases.labels, shares, strict=True)),
        "interface_area": float(end["interface_area"]),
        "interface_area_unit": end["interface_area"].attrs["units"],
        "particles": int(end["particles"]),
        "mean_radius": _number_or_none(end["mean_radius"]),
        "characteristic_length": _number_or_none(end["characteristic_length"]),
        "length_unit": "nm",
        "steps": int(last["steps"]),
        "rejected": int(last["rejected"]),
        "energy_evaluations": int(last["evaluations"]),
    }
    if run.model.fields[0].conserved:
        mean = history[f"mean_{run.names[0]}"].to_numpy()
        summary["mass_drift"] = float(np.abs(mean - mean[0]).max())
    if len(shares) > 2:
        summary["variants"] = variants_present(shares, settings.phases.smallest_share)
    return summary | run.attributes


def _number_or_none(value: xarray.DataArray) -> float | None:
    """JSON knows no NaN."""
    return float(value) if np.isfinite(value) else None


def _control(time: TimeSettings) -> StepControl:
    return StepControl(
        tolerance=time.tolerance,
        first_step=time.first_step,
        largest_step=math.inf if time.largest_step is None else time.largest_step,
        fixed_step=time.fixed_step,
        integrator=INTEGRATORS[time.integrator],
        large_steps=implicit_bdf2 if time.large_steps else None,
        steady=time.steady,
    )


def _device(name: str, team: Team = ALONE) -> torch.device:
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if gpus >= team.local_size else "cpu"
    if name == "cuda" and not gpus:
        raise ValueError('`device` is "cuda", but torch sees no GPU; use "auto" or "cpu".')
    if name == "cuda" and gpus < team.local_size:
        raise ValueError(
            f'`device` is "cuda", but torch sees {gpus} GPUs for {team.local_size} processes of '
            f'one machine; start {gpus} there, or use "cpu".'
        )
    return torch.device(name, team.local_rank) if name == "cuda" else torch.device(name)


def _fields(settings: Settings) -> tuple[OrderField, ...]:
    def one(name: str, conserved: bool, table: FieldSettings) -> OrderField:
        return OrderField(name, conserved, table.mobility, table.kappa)

    fields = [] if settings.composition is None else [one("c", True, settings.composition)]
    if settings.order is not None:
        names = ["eta1", "eta2", "eta3"] if fields else ["eta"]
        fields += [one(name, False, settings.order) for name in names]
    return tuple(fields)


def _elastic(settings: Settings, grid: Grid) -> Elastic | None:
    table = settings.elasticity
    if table is None:
        return None
    share = Expression(table.share, tuple(field.name for field in _fields(settings)))
    strains = table.misfit if isinstance(table.misfit, tuple) else (table.misfit,) * 3
    misfits = (Misfit(share, torch.diag(torch.tensor(strains, dtype=torch.float64))),)
    c = GIGAPASCAL * cubic(*table.stiffness)
    stress = {name: GIGAPASCAL * value for name, value in table.mean_stress.items()}
    if table.other_stiffness is None:
        return HomogeneousElasticity(grid, c, misfits, table.mean_strain, stress)
    contrasts = (Contrast(share, GIGAPASCAL * cubic(*table.other_stiffness) - c),)
    return InhomogeneousElasticity(
        grid, c, misfits, contrasts, table.mean_strain, stress, table.tolerance
    )


def _initial_state(settings: Settings, grid: Grid, fields: Sequence[OrderField]) -> Tensor:
    tables = [settings.composition if field.conserved else settings.order for field in fields]
    means = [table.mean for table in tables if table]
    noise = [table.noise for table in tables if table]
    generator = torch.Generator().manual_seed(settings.seed)
    u = noisy(grid, means, noise, generator)
    return with_nuclei(grid, u, _nuclei(settings, grid, generator))


def _nucleus(table: NucleusSettings) -> Nucleus:
    return Nucleus(table.centre, table.radius, table.values, table.width)


def _events(settings: Settings, grid: Grid) -> tuple[Event, ...]:
    """Nuclei that are put in later."""

    def change(table: NucleusSettings) -> Event:
        return Event(table.time, lambda u: with_nuclei(grid, u, [_nucleus(table)]))

    return tuple(change(table) for table in settings.nucleus if table.time > 0)


def _nuclei(settings: Settings, grid: Grid, generator: torch.Generator) -> list[Nucleus]:
    nuclei = [_nucleus(n) for n in settings.nucleus if n.time == 0]
    if settings.nuclei is None:
        return nuclei
    many = settings.nuclei
    clearance = 2 * (many.radius + many.width)
    for i, centre in enumerate(scattered(grid, many.count, clearance, generator)):
        eta = (many.order * L12_SIGNS[i % len(L12_SIGNS)]).tolist()
        nuclei.append(Nucleus(centre, many.radius, (many.composition, *eta), many.width))
    return nuclei


def _attributes(settings: Settings, grid: Grid, provenance: Mapping[str, str]) -> dict[str, Any]:
    """What is kept with the results; paths are left out of the settings, files are their hashes."""
    files = {"model", "database"}
    plain = settings.model_dump(mode="json", exclude={"output": True, "energy": files})
    plain["device"] = grid.device.type
    plain["energy"] |= provenance
    return {
        "settings": plain,
        "seed": settings.seed,
        "versions": versions(("scalebridge", "torch", "numpy", "zarr")),
    }
