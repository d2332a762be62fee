"""The campaign's store: one append-only SQLite file from which a stopped campaign resumes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from idnn.files import CannotWrite, DirectoryInUse

FORMAT = "scalebridge-campaign-3"

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE proposal (
  point INTEGER PRIMARY KEY, round INTEGER NOT NULL, reason TEXT NOT NULL,
  target TEXT NOT NULL, kappa TEXT NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE label (
  point INTEGER PRIMARY KEY REFERENCES proposal (point),
  content TEXT NOT NULL, version TEXT NOT NULL, date TEXT NOT NULL);
CREATE TABLE round (round INTEGER PRIMARY KEY, content TEXT NOT NULL);
CREATE TABLE session (started TEXT NOT NULL, settings TEXT NOT NULL, versions TEXT NOT NULL);
CREATE TABLE stage (stage TEXT NOT NULL, seconds REAL NOT NULL, date TEXT NOT NULL);
"""
_APPEND_ONLY = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the store is append-only'); END;
"""


class BadStore(ValueError):
    """A file that is not a store of this campaign."""


@dataclass(frozen=True)
class Proposal:
    """A point to sample: the η aimed at, the centre κ of the bias, and why it was chosen."""

    point: int
    round: int
    reason: str
    target: tuple[float, ...]
    kappa: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class Session:
    """One run of a campaign's command: when it began, its settings and the versions it ran on."""

    started: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]


class Store:
    """Sessions, proposals, labels, rounds and stage times of one campaign; rows are only added.

    Every method that writes is one transaction (WAL, synchronous): a crash at any moment loses
    at most the rows it was about to add.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any] | None = None) -> None:
        """Open the store at `path`, or create it for the campaign `identity`; without one, read it.

        Raises:
            BadStore: the file is damaged, or belongs to a campaign of other settings.
            CannotWrite: the file cannot be opened or made.
            DirectoryInUse: another process has locked it.
        """
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
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
        self._connection.close()

    def add_session(self, settings: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Append the settings and versions with which the campaign goes on."""
        row = (_now(), json.dumps(settings), json.dumps(versions))
        with self._transaction() as connection:
            connection.execute("INSERT INTO session VALUES (?, ?, ?)", row)

    def add_proposals(self, proposals: Iterable[Proposal]) -> None:
        """Append proposals, all or none."""
        rows = [
            (p.point, p.round, p.reason, json.dumps(p.target), json.dumps(p.kappa), p.seed)
            for p in proposals
        ]
        with self._transaction() as connection:
            connection.executemany("INSERT INTO proposal VALUES (?, ?, ?, ?, ?, ?)", rows)

    def add_labels(self, labels: Mapping[int, Mapping[str, Any]]) -> None:
        """Append the labels of some points, all or none."""
        stamp = (version("scalebridge"), _now())
        rows = [(point, json.dumps(content), *stamp) for point, content in labels.items()]
        with self._transaction() as connection:
            connection.executemany("INSERT INTO label VALUES (?, ?, ?, ?)", rows)

    def add_round(self, index: int, content: Mapping[str, Any]) -> None:
        """Append what was learned in a round."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO round VALUES (?, ?)", (index, json.dumps(content)))

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Append wall time spent in a stage."""
        with self._transaction() as connection:
            connection.execute("INSERT INTO stage VALUES (?, ?, ?)", (stage, seconds, _now()))

    def proposals(self, round_index: int | None = None) -> list[Proposal]:
        """Proposals of one round, or all, by point."""
        return [
            Proposal(
                point, index, reason, tuple(json.loads(target)), tuple(json.loads(kappa)), seed
            )
            for point, index, reason, target, kappa, seed in self._connection.execute(
                "SELECT * FROM proposal WHERE ?1 IS NULL OR round = ?1 ORDER BY point",
                (round_index,),
            )
        ]

    def labels(self) -> dict[int, dict[str, Any]]:
        """Label of every labelled point, by point."""
        rows = self._connection.execute("SELECT point, content FROM label ORDER BY point")
        return {point: json.loads(content) for point, content in rows}

    def rounds(self) -> list[dict[str, Any]]:
        """What was learned in each finished round."""
        rows = self._connection.execute("SELECT content FROM round ORDER BY round")
        return [json.loads(content) for (content,) in rows]

    def seconds(self) -> dict[str, float]:
        """Wall time per stage, over all sessions."""
        rows = self._connection.execute("SELECT stage, SUM(seconds) FROM stage GROUP BY stage")
        return dict(rows)

    def sessions(self) -> list[Session]:
        """All sessions, oldest first."""
        rows = self._connection.execute("SELECT * FROM session ORDER BY rowid")
        return [Session(when, json.loads(s), json.loads(v)) for when, s, v in rows]

    def identity(self) -> dict[str, Any]:
        """What all sessions share."""
        return self._meta()["identity"]

    def _open(self, identity: Mapping[str, Any] | None) -> None:
        if identity is not None and not self._has_tables():
            self._create(identity)
        meta = self._meta()
        if meta.get("format") != FORMAT:
            raise BadStore(
                f"`store`: {self.path} has format {meta.get('format')!r}; "
                f"this version reads {FORMAT!r}; choose another directory."
            )
        self._require_whole()
        if identity is None:
            return
        difference = first_difference(meta["identity"], json.loads(json.dumps(identity)))
        if difference is not None:
            key, stored, given = difference
            raise BadStore(
                f"`{key}`: the store {self.path} was made with {stored!r}, not {given!r}; set it "
                "back, or choose another directory for another campaign."
            )
        # Only now: a file of something else must not be changed, not even its journal mode.
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")

    def _has_tables(self) -> bool:
        return bool(self._connection.execute("SELECT name FROM sqlite_master").fetchall())

    def _require_whole(self) -> None:
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)

    def _create(self, identity: Mapping[str, Any]) -> None:
        script = "".join(
            _APPEND_ONLY.format(table=table, verb=verb)
            for table in ("meta", "session", "proposal", "label", "round", "stage")
            for verb in ("UPDATE", "DELETE")
        )
        rows = {"format": FORMAT, "created": _now(), "identity": dict(identity)}
        with self._transaction() as connection:
            for statement in (_TABLES + script).split(";\n"):
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in rows.items()]
            )

    def _meta(self) -> dict[str, Any]:
        try:
            rows = self._connection.execute("SELECT key, value FROM meta").fetchall()
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_ERROR:  # that is, no such table or column
                raise
            raise BadStore(
                f"`store`: {self.path} is a SQLite file of something else ({error}); "
                "choose another directory."
            ) from error
        return {key: json.loads(value) for key, value in rows}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
