"""Files that survive a crash: atomic writes, and a lock that refuses a second writer."""

from __future__ import annotations

import argparse
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DirectoryInUse(RuntimeError):
    """Another process writes to the directory."""


class CannotWrite(RuntimeError):
    """The disk refused a write; what was written before is intact."""


def existing(path: str) -> Path:
    """The type of a command's argument that must be a file or directory.

    Raises:
        argparse.ArgumentTypeError: there is none.
    """
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"there is no {path}")
    return Path(path)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write to a temporary name on the same disk, flush, then rename: all or nothing.

    Raises:
        CannotWrite: the disk is full or refuses; a former file at `path` is untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CannotWrite(
            f"Cannot write {path} ({error.strerror}); what was there before is intact: free some "
            "space and run the same command again."
        ) from error


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the only right to write to `directory`; the lock ends with the process.

    Raises:
        DirectoryInUse: when another process holds it.
        CannotWrite: when the directory cannot be made or written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("a")
    except OSError as error:
        raise CannotWrite(
            f"`directory`: cannot write to {directory} ({error.strerror}); choose another one."
        ) from error
    with lock as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DirectoryInUse(
                f"`directory`: {directory} is in use by another process; wait for it to end, "
                "or choose another directory."
            ) from error
        yield
