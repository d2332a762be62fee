"""The store: append-only, atomic, exact, and it refuses what is not its own."""

import json
import math
import os
import sqlite3
import subprocess
import sys
from functools import partial

import pytest
import torch

from idnn.files import CannotWrite, DirectoryInUse
from sampling.store import BadStore, Proposal, Session, Store, first_difference

IDENTITY = {
    "seed": 7,
    "ensemble": {"system": "fcc-L12", "temperature": 1000.0, "stiffness": (3.0, 2.0)},
}
TABLES = ("meta", "session", "proposal", "label", "round", "stage")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "campaign.sqlite"


@pytest.fixture
def store(path):
    opened = Store(path, IDENTITY)
    opened.add_session({"rounds": 4}, {"torch": "2.4"})
    opened.add_proposals([proposal(i) for i in range(4)])
    opened.add_labels({i: {"mu": [0.1 * i]} for i in range(2)})
    opened.add_round(0, {"x": (0.1, 0.2), "sigma_x": math.inf})
    opened.add_seconds("sampling", 1.5)
    yield opened
    opened.close()


def proposal(point, index=0):
    return Proposal(point, index, "spread", (0.1, 0.2), (0.3, 0.4), seed=point)


def changed(**ensemble):
    return IDENTITY | {"ensemble": IDENTITY["ensemble"] | ensemble}


def test_what_was_written_is_read_back(store):
    assert store.proposals() == [proposal(i) for i in range(4)]
    store.add_proposals([proposal(4, index=1)])
    assert store.proposals(1) == [proposal(4, index=1)]
    assert store.labels() == {0: {"mu": [0.0]}, 1: {"mu": [0.1]}}
    assert store.rounds() == [{"x": [0.1, 0.2], "sigma_x": math.inf}]
    store.add_seconds("sampling", 0.25)
    store.add_seconds("training", 2.0)
    assert store.seconds() == {"sampling": 1.75, "training": 2.0}
    assert store.identity() == json.loads(json.dumps(IDENTITY))


def test_sessions_are_kept_in_order_with_their_settings_and_versions(store):
    store.add_session({"rounds": 6}, {"torch": "2.11"})
    first, second = store.sessions()
    assert first == Session(first.started, {"rounds": 4}, {"torch": "2.4"})
    assert second == Session(second.started, {"rounds": 6}, {"torch": "2.11"})
    assert first.started <= second.started


def test_floats_come_back_bit_for_bit(path):
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(500, generator=generator, dtype=torch.float64).mul(40).exp().tolist()
    numbers = [*drawn, 0.1, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3]
    store = Store(path, IDENTITY)
    store.add_proposals([Proposal(0, 0, "spread", tuple(numbers), (0.1 + 0.2,), seed=0)])
    store.add_labels({0: {"mu": numbers, "tau": None}})
    store.close()
    again = Store(path)
    expected = [x.hex() for x in numbers]
    assert [x.hex() for x in again.labels()[0]["mu"]] == expected
    assert [x.hex() for x in again.proposals()[0].target] == expected
    assert again.proposals()[0].kappa[0].hex() == (0.1 + 0.2).hex()
    again.close()


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("statement", ["DELETE FROM {0}", "UPDATE {0} SET rowid = rowid + 100"])
def test_rows_can_be_added_but_not_changed_or_deleted(store, path, table, statement):
    other = sqlite3.connect(path)
    before = other.execute(f"SELECT * FROM {table}").fetchall()
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        other.execute(statement.format(table))
    other.rollback()
    assert before
    assert other.execute(f"SELECT * FROM {table}").fetchall() == before
    other.close()


def test_labels_are_added_all_or_none(store):
    before = store.labels()
    with pytest.raises(sqlite3.IntegrityError):
        store.add_labels({2: {"mu": [1.0]}, 1: {"mu": [2.0]}})
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        store.add_labels({2: {"mu": [1.0]}, 99: {"mu": [2.0]}})
    assert store.labels() == before
    store.add_labels({2: {"mu": [1.0]}})
    assert sorted(store.labels()) == [0, 1, 2]


def test_proposals_are_added_all_or_none(store):
    with pytest.raises(sqlite3.IntegrityError):
        store.add_proposals([proposal(5), proposal(6), proposal(5)])
    assert len(store.proposals()) == 4


def test_a_process_killed_within_a_transaction_leaves_nothing(store, path):
    script = (
        "import os, sqlite3, sys\n"
        "own = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "own.execute('BEGIN IMMEDIATE')\n"
        "own.execute(\"INSERT INTO label VALUES (3, '{}', '0', 'now')\")\n"
        "os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert killed.returncode == -9
    assert sorted(store.labels()) == [0, 1]
    store.add_labels({3: {"mu": [3.0]}})
    assert sorted(store.labels()) == [0, 1, 3]


def test_the_same_settings_open_the_store_again(store, path):
    again = Store(path, json.loads(json.dumps(IDENTITY)))
    assert len(again.labels()) == 2
    again.close()


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (changed(temperature=900.0), r"`ensemble.temperature`: .* 1000.0, not 900.0; set it back"),
        (changed(system="bcc-B2"), r"`ensemble.system`: .* 'fcc-L12', not 'bcc-B2'"),
        (changed(stiffness=(3.0, 1.0)), r"`ensemble.stiffness`: .* \[3.0, 2.0\], not \[3.0, 1.0\]"),
        (changed(cells=4), r"`ensemble.cells`: .* made with None, not 4"),
        (IDENTITY | {"seed": 8}, "`seed`: .* 7, not 8"),
    ],
)
def test_other_settings_are_refused_by_key_and_both_values(store, path, identity, message):
    with pytest.raises(BadStore, match=message):
        Store(path, identity)


def test_the_first_difference_is_none_for_equal_settings():
    assert first_difference({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}) is None
    assert first_difference({"a": {"b": 1}}, {"a": {"c": 1}}) == ("a.b", 1, None)


@pytest.mark.parametrize("identity", [IDENTITY, None])
def test_a_database_of_something_else_is_refused_and_left_as_it_is(path, identity):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE holiday (place TEXT)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(BadStore, match="SQLite file of something else"):
        Store(path, identity)
    assert path.read_bytes() == before


@pytest.mark.parametrize("identity", [IDENTITY, None])
def test_garbage_is_refused_and_left_as_it_is(path, identity):
    path.write_bytes(b"not a database, but long enough to be taken for one" * 40)
    before = path.read_bytes()
    with pytest.raises(BadStore, match=r"not a SQLite file or is damaged.*restore a copy"):
        Store(path, identity)
    assert path.read_bytes() == before


def test_a_store_of_another_format_is_refused(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    other.execute("INSERT INTO meta VALUES ('format', '\"scalebridge-campaign-0\"')")
    other.commit()
    other.close()
    with pytest.raises(BadStore, match="has format 'scalebridge-campaign-0'; this version reads"):
        Store(path, IDENTITY)


@pytest.fixture
def large(store, path):
    """A closed store of many pages."""
    store.add_proposals([proposal(i) for i in range(4, 400)])
    store.add_labels({i: {"mu": [0.1 * i] * 20} for i in range(4, 400)})
    store.close()
    return path


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_store_is_refused(large, share):
    os.truncate(large, int(share * large.stat().st_size))
    with pytest.raises(BadStore, match="damaged"):
        Store(large, IDENTITY)


def test_a_store_with_a_damaged_page_is_refused(large):
    content = bytearray(large.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = os.urandom(4096)
    large.write_bytes(content)
    with pytest.raises(BadStore, match="damaged"):
        Store(large)


def test_a_full_disk_is_reported_and_loses_nothing(store):
    before = store.labels()
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CannotWrite, match=r"full.*what was stored is intact: free some space"):
        store.add_labels({2: {"mu": [0.1] * 10_000}, 3: {"mu": [0.1]}})
    assert store.labels() == before
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.add_labels({2: {"mu": [0.1] * 10_000}})
    assert len(store.labels()) == len(before) + 1


def test_a_store_held_by_another_program_is_reported(store, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store._connection.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(CannotWrite, match="locked"):
        store.add_seconds("sampling", 1.0)
    other.rollback()
    other.close()
    store.add_seconds("sampling", 1.0)


@pytest.mark.parametrize("identity", [IDENTITY, None])
def test_a_locked_store_is_in_use_and_not_something_else(store, path, identity, monkeypatch):
    store.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, timeout=0.01))
    with pytest.raises(DirectoryInUse, match="in use by another process; wait for it"):
        Store(path, identity)
    other.close()
    Store(path, identity).close()


def test_a_store_that_cannot_be_created_is_reported(tmp_path):
    with pytest.raises(CannotWrite, match="unable to open"):
        Store(tmp_path / "absent" / "campaign.sqlite", IDENTITY)
