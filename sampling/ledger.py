"""Append-only SQLite files of one identity, to which a stopped command comes back."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from idnn.files import CannotWrite, DirectoryInUse

_META = "\nCREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
_APPEND_ONLY = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the store is append-only'); END;
"""


class BadStore(ValueError):
    """A file that is not a store of this campaign."""


@dataclass(frozen=True)
class Schema:
    """What a kind of file holds.

    Attributes:
        format: name that tells it from others and from its own older versions.
        tables: statements that create its tables, beside the one of its identity.
        append_only: tables whose rows can be neither changed nor deleted.
    """

    format: str
    tables: str
    append_only: tuple[str, ...]


class Ledger:
    """A file of one schema and one identity.

    A transaction is all or nothing (WAL, synchronous): a crash at any moment loses at most the
    rows it was about to add.
    """

    def __init__(
        self, path: Path, schema: Schema, identity: Mapping[str, Any] | None = None
    ) -> None:
        """Open the file at `path`, or create it for `identity`; without one, read it.

        Raises:
            BadStore: the file is damaged, or belongs to other settings.
            CannotWrite: the file cannot be opened or made.
            DirectoryInUse: another process has locked it.
        """
        self.path = path
        self._schema = schema
        try:
            self.connection = sqlite3.connect(path, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise CannotWrite(f"`store`: cannot open {path} ({error}).") from error
        try:
            self._open(identity)
        except sqlite3.OperationalError as error:
            self.close()
            if _code(error) == sqlite3.SQLITE_BUSY:
                raise DirectoryInUse(
                    f"`store`: {path} is in use by another process; wait for it to end."
                ) from error
            raise CannotWrite(
                f"`store`: cannot write {path} ({error}); free some space, or end what holds it."
            ) from error
        except sqlite3.DatabaseError as error:
            self.close()
            raise BadStore(
                f"`store`: {path} is not a SQLite file or is damaged ({error}); "
                "restore a copy, or choose another directory to start afresh."
            ) from error
        except BadStore:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def identity(self) -> dict[str, Any]:
        """What all commands that write to the file share."""
        return self._meta()["identity"]

    def _open(self, identity: Mapping[str, Any] | None) -> None:
        if identity is not None and not self._has_tables():
            self._create(identity)
        meta = self._meta()
        if meta.get("format") != self._schema.format:
            raise BadStore(
                f"`store`: {self.path} has format {meta.get('format')!r}; "
                f"this version reads {self._schema.format!r}; choose another directory."
            )
        self._require_whole()
        if identity is None:
            return
        difference = first_difference(meta["identity"], json.loads(json.dumps(identity)))
        if difference is not None:
            key, stored, given = difference
            raise BadStore(
                f"`{key}`: the store {self.path} was made with {stored!r}, not {given!r}; set it "
                "back, or choose another place for other settings."
            )
        # Only now: a file of something else must not be changed, not even its journal mode.
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = ON")

    def _has_tables(self) -> bool:
        return bool(self.connection.execute("SELECT name FROM sqlite_master").fetchall())

    def _require_whole(self) -> None:
        (verdict,) = self.connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _create(self, identity: Mapping[str, Any]) -> None:
        script = "".join(
            _APPEND_ONLY.format(table=table, verb=verb)
            for table in self._schema.append_only
            for verb in ("UPDATE", "DELETE")
        )
        rows = {"format": self._schema.format, "created": now(), "identity": dict(identity)}
        with self.transaction() as connection:
            for statement in (_META + self._schema.tables + script).split(";\n"):
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in rows.items()]
            )

    def _meta(self) -> dict[str, Any]:
        try:
            rows = self.connection.execute("SELECT key, value FROM meta").fetchall()
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_ERROR:  # that is, no such table or column
                raise
            raise BadStore(
                f"`store`: {self.path} is a SQLite file of something else ({error}); "
                "choose another directory."
            ) from error
        return {key: json.loads(value) for key, value in rows}

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """What is written within is written together, or not at all.

        Raises:
            CannotWrite: the disk is full or refuses, or another process holds the file.
        """
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            yield self.connection
            self.connection.execute("COMMIT")
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if not isinstance(error, sqlite3.OperationalError):
                raise
            raise CannotWrite(
                f"`store`: cannot write {self.path} ({error}); what was stored is intact: free "
                "some space, or end what holds it, and run the same command again."
            ) from error


def first_difference(
    stored: object, given: object, key: str = ""
) -> tuple[str, object, object] | None:
    """Dotted key, old and new value of the first leaf in which two settings differ."""
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        for name in sorted(stored.keys() | given.keys()):
            inner = f"{key}.{name}" if key else name
            found = first_difference(stored.get(name), given.get(name), inner)
            if found is not None:
                return found
        return None
    return None if stored == given else (key, stored, given)


def _code(error: sqlite3.OperationalError) -> int:
    """SQLite's primary result code; its generic one where Python itself raised."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def now() -> str:
    """The time of day, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
