"""Files that survive a crash: atomic writes, and a lock that refuses a second writer."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DirectoryInUse(RuntimeError):
    """Another process writes to the directory."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary name on the same disk, flush, then rename: all or nothing."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the only right to write to `directory`; the lock ends with the process.

    Raises:
        DirectoryInUse: when another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DirectoryInUse(
                f"`directory`: {directory} is in use by another process; wait for it to end, "
                "or choose another directory."
            ) from error
        yield
