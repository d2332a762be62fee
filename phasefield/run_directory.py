"""A run's directory: one writer at a time, one set of settings for good."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from idnn.checkpoint import write_atomically

SETTINGS_FILE = "settings.json"
LOCK_FILE = "run.lock"


class RunInUse(RuntimeError):
    """Another process is writing to the same run directory."""


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the directory's lock; the system frees it when the process ends, however it ends.

    Raises:
        RunInUse: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_FILE).open("a+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise RunInUse(
                f"{directory} is in use by process {stream.read().strip() or 'unknown'}; "
                "wait for it, or choose another --output."
            ) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def claim(directory: Path, settings: Mapping[str, Any]) -> None:
    """Write `settings` into a new run directory, or check that they are the ones it was begun with.

    Raises:
        ValueError: the directory holds a run of other settings, or files that are not a run.
    """
    path = directory / SETTINGS_FILE
    if path.exists():
        _require_same(directory, read_run_settings(directory), settings)
        return
    others = sorted(p.name for p in directory.iterdir() if p.name != LOCK_FILE)
    if others:
        raise ValueError(
            f"`output`: {directory} is not a run directory, and not empty (it holds {others[0]}); "
            "choose another --output."
        )
    write_atomically(path, (json.dumps(settings, indent=2) + "\n").encode())


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
