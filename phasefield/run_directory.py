"""A run's directory belongs to one set of settings for good."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from idnn.files import write_atomically

SETTINGS_FILE = "settings.json"


def claim(directory: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings` into a new run directory, or check that they are the ones it was begun with.

    The caller holds `idnn.files.exclusive`: what a killed process left half-written is removed.

    Raises:
        ValueError: the directory holds a run of other settings, or files that are not a run.
    """
    path = directory / SETTINGS_FILE
    if path.exists():
        _require_same(directory, read_run_settings(directory), settings)
        for leftover in directory.glob("*.tmp"):
            leftover.unlink()
        return
    for leftover in directory.glob(f"{SETTINGS_FILE}.*.tmp"):
        leftover.unlink()
    others = sorted(p.name for p in directory.iterdir() if not p.name.startswith("."))
    if others:
        raise ValueError(
            f"`output`: {directory} is not a run directory, and not empty (it holds {others[0]}); "
            "choose another --output."
        )
    write_atomically(path, json.dumps(settings, indent=2) + "\n")


def read_run_settings(directory: Path) -> dict[str, Any]:
    """The settings a run was begun with.

    Raises:
        FileNotFoundError: `directory` is not a run directory.
        ValueError: the file is damaged.
    """
    path = directory / SETTINGS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{directory} is not a run directory: it has no {SETTINGS_FILE}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}); restore it, or start anew in another --output."
        ) from error


def _require_same(directory: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, now = dict(_flat(old)), dict(_flat(new))
    for key in [*now, *before]:
        was, is_now = before.get(key, "not set"), now.get(key, "not set")
        if was != is_now:
            raise ValueError(
                f"`{key}` is {is_now!r}, but the run in {directory} was begun with {was!r}; "
                "choose another --output."
            )


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
