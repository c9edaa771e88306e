"""Runs in SQLite come back as they went in."""

import json
import sqlite3
import uuid
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database

from playground.errors import UserError
from playground.store.connection import Connection
from playground.store.migrations import migrations
from playground.store.runs import RunStore

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
lanes = st.fixed_dictionaries(
    {
        "method": text,
        "status": st.sampled_from(["done", "stopped", "failed"]),
        "options": st.dictionaries(text, numbers | text | st.booleans(), max_size=3),
        "begin": st.lists(st.integers(0, 50_000), max_size=3),
        "models": st.dictionaries(text, text, max_size=2),
        "text": text,
        "token_ids": st.lists(st.integers(0, 50_000), max_size=5),
        "finish_reason": st.none() | text,
        "error": st.none() | text,
        "cost": st.fixed_dictionaries(
            {
                "generated_tokens": st.integers(0, 2**40),
                "forward_tokens": st.integers(0, 2**40),
                "forward_passes": st.integers(0, 2**40),
                "seconds": st.floats(0, 1e9),
            }
        ),
        "detail": st.dictionaries(text, st.lists(numbers | text, max_size=3), max_size=3),
    }
)
runs = st.fixed_dictionaries(
    {
        "created": st.datetimes().map(str),
        "origin": text,
        "prompt": text,
        "system": text,
        "seed": st.integers(0, 2**32 - 1),
        "max_new_tokens": st.integers(1, 4096),
        "stop": st.lists(text, max_size=2),
        "earlier": st.lists(st.lists(text, min_size=2, max_size=2), max_size=2),
        "status": st.sampled_from(["done", "stopped", "failed"]),
        "software": text,
        "lanes": st.lists(lanes, max_size=6),
    }
)


@pytest.fixture
def store(tmp_path):
    connection = Connection(tmp_path / "runs.db")
    yield RunStore(connection)
    connection.close()


@given(run=runs)
def test_a_run_comes_back_as_it_was_saved(store, run):
    run = run | {"id": str(uuid.uuid4())}  # one store sees all examples
    store.save(run)
    assert store.load(run["id"]) == run


def make(identifier, **changes):
    base = {
        "id": identifier,
        "created": "2026-01-01",
        "origin": "me",
        "prompt": "Hello 100%_",
        "system": "",
        "seed": 0,
        "max_new_tokens": 1,
        "stop": [],
        "earlier": [],
        "status": "done",
        "software": "x",
        "lanes": [
            {
                "method": m,
                "status": "done",
                "options": {},
                "begin": [],
                "models": {},
                "text": "",
                "token_ids": [],
                "finish_reason": "end",
                "error": None,
                "detail": {},
                "cost": {"generated_tokens": 0, "forward_tokens": 0, "forward_passes": 0, "seconds": 0.0},
            }
            for m in ("greedy", "dera")
        ],
    }
    return base | changes


def test_the_newest_runs_come_first_with_their_methods_in_order(store):
    store.save(make("a", created="2026-01-01"))
    store.save(make("b", created="2026-01-02"))
    assert [(r["id"], r["methods"]) for r in store.recent()] == [("b", "greedy, dera"), ("a", "greedy, dera")]


def test_runs_are_found_by_origin_and_by_what_their_prompt_holds(store):
    store.save(make("a"))
    store.save(make("b", origin="you", prompt="Bye"))
    assert [r["id"] for r in store.recent(origin="you")] == ["b"]
    assert [r["id"] for r in store.recent(search="hello")] == ["a"]
    assert [r["id"] for r in store.recent(search="%_")] == ["a"], "no wildcards"


def test_a_run_is_saved_whole_or_not_at_all(store):
    broken = make("a")
    broken["lanes"][1]["method"] = None
    with pytest.raises(sqlite3.IntegrityError):
        store.save(broken)
    with pytest.raises(UserError):
        store.load("a")


def test_the_journal_is_a_write_ahead_log_and_migrations_run_once(tmp_path):
    path = tmp_path / "deep" / "runs.db"
    Connection(path).close()
    Connection(path).close()
    db = Database(path)
    assert db.conn.execute("pragma journal_mode").fetchone()[0] == "wal"
    assert not list(migrations.pending(db))
    assert Connection(path).db.conn.execute("pragma synchronous").fetchone()[0] == 2, "FULL"


def test_reasons_reach_snapshots_of_a_database_that_wrote_some_before(tmp_path):
    db = Database(tmp_path / "runs.db")
    migrations.apply(db, stop_before="m010_prepared_battles")
    assert "outbox_explained" not in db.triggers_dict, "a database in use has applied that step: append another"
    migrations.apply(db)
    assert "outbox_explained" in db.triggers_dict


def test_on_a_network_mount_there_is_no_write_ahead_log(tmp_path, monkeypatch):
    mount = SimpleNamespace(mountpoint=str(tmp_path), fstype="fuse.hf-mount")
    monkeypatch.setattr("psutil.disk_partitions", lambda all: [SimpleNamespace(mountpoint="/", fstype="ext4"), mount])
    connection = Connection(tmp_path / "runs.db")
    assert connection.db.conn.execute("pragma journal_mode").fetchone()[0] == "delete"
    connection.close()


def test_a_backup_is_a_whole_copy_made_while_the_store_is_in_use(tmp_path):
    connection = Connection(tmp_path / "runs.db")
    RunStore(connection).save(make("a"))
    connection.backup(tmp_path / "copy.db")
    RunStore(connection).save(make("b"))
    copy = Connection(tmp_path / "copy.db")
    assert [r["id"] for r in RunStore(copy).recent()] == ["a"]
    copy.close()
    with pytest.raises(UserError, match="cannot be written"):
        connection.backup(tmp_path / "no" / "folder.db")
    connection.close()


def test_a_run_of_an_earlier_version_opens_as_one_of_this(store):
    """There a forced beginning stood among DeRa's options, and nothing was said of colours and dials."""
    store.save(make("old"))
    token = {"id": 5, "text": "a", "log_prob": -1.0, "lambda": 0.5, "kl_to_reference": 0.25, "top": []}
    with store._writing():
        store._db["lanes"].update(
            ("old", 0), {"begin": None, "detail": json.dumps({"tokens": [{"id": 5, "text": "a"}]})}
        )
        options = {"lambda_": 0.5, "begin": "5 6", "schedule": "1-2:1"}
        changed = {"begin": None, "options": json.dumps(options), "detail": json.dumps({"tokens": [token]})}
        store._db["lanes"].update(("old", 1), changed)
    plain, mixed = store.load("old")["lanes"]
    assert (plain["begin"], plain["detail"]["colour"]["number"]) == ([], "log_prob")
    assert (mixed["begin"], mixed["options"]) == ([5, 6], {"lambda_": 0.5, "schedule": "1-2:1"})
    assert mixed["detail"]["colour"]["number"] == "kl_to_reference"
    assert mixed["detail"]["dial"] == {"title": "λ", "low": -1.0, "high": 5.0, "value": 0.5, "scheduled": True}
    assert mixed["detail"]["tokens"] == [token]
