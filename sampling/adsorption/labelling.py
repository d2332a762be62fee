"""Labels of many structures at many pressures, kept in a file from which a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np

from idnn.adsorption.field import HostField, host_field, interpolation_error
from idnn.adsorption.forcefield import ForceField, require_atoms
from idnn.adsorption.guests import Guest
from idnn.adsorption.structures import Crystal
from idnn.checks import require_positive
from sampling.adsorption.henry import dilute
from sampling.adsorption.isotherm import Schedule, uptake
from sampling.estimate import Estimate
from sampling.ledger import Ledger, Schema, now

DILUTE = 0.0
"""The pressure (Pa) under which the dilute limit is kept."""

_CHECKED = 1000
"""Points at which a grid is compared with the exact energy."""

_SCHEMA = Schema(
    format="scalebridge-adsorption-1",
    tables="""
CREATE TABLE label (
  structure TEXT NOT NULL, pressure REAL NOT NULL, name TEXT NOT NULL,
  content TEXT NOT NULL, version TEXT NOT NULL, date TEXT NOT NULL,
  PRIMARY KEY (structure, pressure));
""",
    append_only=("meta", "label"),
)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What is asked of every structure.

    Attributes:
        guest: the molecule.
        force: parameters of the hosts.
        temperature: K.
        pressures: Pa; the dilute limit is always asked.
        spacing: of the grid (Å).
        schedule: of the chains.
        seed: of everything random; each label's own follows from it and from what it is of.
    """

    guest: Guest
    force: ForceField
    temperature: float
    pressures: tuple[float, ...] = ()
    spacing: float = 0.2
    schedule: Schedule = field(default_factory=lambda: Schedule(precision=0.02))
    seed: int = 0

    def __post_init__(self) -> None:
        """Check.

        Raises:
            ValueError: a temperature or a pressure that is not positive.
        """
        require_positive("temperature", self.temperature)
        for pressure in self.pressures:
            require_positive("pressures", pressure)

    def identity(self) -> dict[str, Any]:
        """What all labels of a file share; pressures and structures may be added later."""
        return {
            "guest": asdict(self.guest),
            "force_field": self.force.settings(),
            "temperature": self.temperature,
            "spacing": self.spacing,
            "schedule": asdict(self.schedule),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Label:
    """What was found for one structure at one pressure.

    Attributes:
        name: of the structure.
        pressure: Pa, zero for the dilute limit.
        numbers: by name, their units in `sampling.adsorption.isotherm.Uptake` and
            `sampling.adsorption.henry.Dilute`; None where there is none.
    """

    name: str
    pressure: float
    numbers: Mapping[str, Any]


def label(
    crystals: Mapping[str, Crystal],
    conditions: Conditions,
    path: Path,
    *,
    threads: int = 1,
    observe: Callable[[str, int, int], None] | None = None,
) -> list[Label]:
    """Label all structures at all pressures, those that the file at `path` lacks.

    Every finished label is written at once: a stopped run loses those it was working on, and the
    same call goes on. What a label says depends on neither order nor threads.

    Args:
        crystals: by name.
        conditions: what is asked.
        path: of the file; made where there is none.
        threads: structures and pressures worked on at the same time.
        observe: told "labels", how many are done, and of how many.

    Raises:
        ValueError: a crystal holds elements without parameters, or the file is of others.
    """
    for crystal in crystals.values():
        require_atoms(conditions.force, crystal)
    keys = {name: digest(crystal) for name, crystal in crystals.items()}
    with _open(path, conditions) as ledger:
        wanted = [(key, p) for key in set(keys.values()) for p in (DILUTE, *conditions.pressures)]
        done = _stored(ledger)
        total, count = len(wanted), sum(pair in done for pair in wanted)
        tell = observe or (lambda *_: None)
        tell("labels", count, total)
        for name, pressure, numbers in _work(crystals, keys, done, conditions, threads):
            stamp = (version("scalebridge"), now())
            row = (keys[name], pressure, name, json.dumps(numbers), *stamp)
            with ledger.transaction() as connection:
                connection.execute("INSERT INTO label VALUES (?, ?, ?, ?, ?, ?)", row)
            count += 1
            tell("labels", count, total)
        done = _stored(ledger)
    return [
        Label(name, pressure, done[key, pressure])
        for name, key in keys.items()
        for pressure in (DILUTE, *conditions.pressures)
    ]


def digest(crystal: Crystal) -> str:
    """A short name of what the crystal is made of, the same for the same lattice and atoms."""
    parts = [crystal.lattice, crystal.fractional, crystal.numbers.astype(float)]
    parts += [] if crystal.charges is None else [crystal.charges]
    # Rounded, as another reader of the same file may differ in the last digit.
    content = b"".join((np.round(part, 6) + 0.0).tobytes() for part in parts)
    return hashlib.sha256(content).hexdigest()[:24]


@contextmanager
def _open(path: Path, conditions: Conditions) -> Iterator[Ledger]:
    ledger = Ledger(path, _SCHEMA, conditions.identity())
    try:
        yield ledger
    finally:
        ledger.close()


def _stored(ledger: Ledger) -> dict[tuple[str, float], dict[str, Any]]:
    rows = ledger.connection.execute("SELECT structure, pressure, content FROM label")
    return {(structure, pressure): json.loads(content) for structure, pressure, content in rows}


def _work(
    crystals: Mapping[str, Crystal],
    keys: Mapping[str, str],
    done: Mapping[tuple[str, float], object],
    conditions: Conditions,
    threads: int,
) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Missing labels as they are finished; each thread holds the field of one structure."""
    first: dict[str, str] = {}
    for name, key in keys.items():
        first.setdefault(key, name)
    missing = {
        name: [p for p in (DILUTE, *conditions.pressures) if (key, p) not in done]
        for key, name in first.items()
    }
    finished: SimpleQueue[tuple[str, float, dict[str, Any]] | BaseException] = SimpleQueue()

    def work(name: str, pressures: list[float]) -> None:
        try:
            host, seconds = _field(crystals[name], conditions)
            for pressure in pressures:
                if stopped.is_set():
                    return
                found = _numbers(host, seconds, keys[name], pressure, conditions)
                finished.put((name, pressure, found))
        except BaseException as error:
            finished.put(error)

    stopped = Event()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for name, pressures in missing.items():
                if pressures:
                    pool.submit(work, name, pressures)
            for _ in range(sum(map(len, missing.values()))):
                found = finished.get()
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def _field(crystal: Crystal, conditions: Conditions) -> tuple[HostField, float]:
    began = time.perf_counter()
    host = host_field(crystal, conditions.force, conditions.guest, spacing=conditions.spacing)
    return host, time.perf_counter() - began


def _numbers(
    host: HostField, seconds: float, key: str, pressure: float, conditions: Conditions
) -> dict[str, Any]:
    began = time.perf_counter()
    seed = int(hashlib.sha256(f"{conditions.seed} {key} {pressure}".encode()).hexdigest()[:8], 16)
    temperature = conditions.temperature
    if pressure == DILUTE:
        errors = interpolation_error(host, temperature=temperature, points=_CHECKED)
        found: dict[str, Any] = vars(dilute(host, temperature=temperature, seed=seed)) | {
            "interpolation_rms": [error.rms for error in errors],
            "interpolation_bias": [error.bias for error in errors],
            "grid_seconds": seconds,
        }
    else:
        found = vars(
            uptake(
                host,
                temperature=temperature,
                pressure=pressure,
                schedule=conditions.schedule,
                seed=seed,
            )
        )
    return _plain(found) | {"seconds": time.perf_counter() - began}


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """Estimates as two numbers each; None for what is not finite."""
    numbers: dict[str, Any] = {}
    for name, value in found.items():
        if isinstance(value, Estimate):
            numbers |= {name: float(value.value), f"{name}_stderr": float(value.stderr)}
        else:
            numbers[name] = value
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
