"""The campaign's store: one append-only SQLite file from which a stopped campaign resumes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sampling.ledger import BadStore, Ledger, Schema, first_difference, now

__all__ = ["FORMAT", "BadStore", "Proposal", "Session", "Store", "first_difference"]

FORMAT = "scalebridge-campaign-3"

_TABLES = """
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
_SCHEMA = Schema(
    format=FORMAT,
    tables=_TABLES,
    append_only=("meta", "session", "proposal", "label", "round", "stage"),
)


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
        self._ledger = Ledger(path, _SCHEMA, identity)
        self._connection = self._ledger.connection

    def close(self) -> None:
        """Close the file."""
        self._ledger.close()

    def add_session(self, settings: Mapping[str, Any], versions: Mapping[str, str]) -> None:
        """Append the settings and versions with which the campaign goes on."""
        row = (now(), json.dumps(settings), json.dumps(versions))
        with self._ledger.transaction() as connection:
            connection.execute("INSERT INTO session VALUES (?, ?, ?)", row)

    def add_proposals(self, proposals: Iterable[Proposal]) -> None:
        """Append proposals, all or none."""
        rows = [
            (p.point, p.round, p.reason, json.dumps(p.target), json.dumps(p.kappa), p.seed)
            for p in proposals
        ]
        with self._ledger.transaction() as connection:
            connection.executemany("INSERT INTO proposal VALUES (?, ?, ?, ?, ?, ?)", rows)

    def add_labels(self, labels: Mapping[int, Mapping[str, Any]]) -> None:
        """Append the labels of some points, all or none."""
        stamp = (version("scalebridge"), now())
        rows = [(point, json.dumps(content), *stamp) for point, content in labels.items()]
        with self._ledger.transaction() as connection:
            connection.executemany("INSERT INTO label VALUES (?, ?, ?, ?)", rows)

    def add_round(self, index: int, content: Mapping[str, Any]) -> None:
        """Append what was learned in a round."""
        with self._ledger.transaction() as connection:
            connection.execute("INSERT INTO round VALUES (?, ?)", (index, json.dumps(content)))

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Append wall time spent in a stage."""
        with self._ledger.transaction() as connection:
            connection.execute("INSERT INTO stage VALUES (?, ?, ?)", (stage, seconds, now()))

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
        return self._ledger.identity()
