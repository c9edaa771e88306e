"""What the database itself refuses is told in a sentence, and nothing half-written stays."""

from __future__ import annotations

import sqlite3

import pytest

from playground.errors import UserError
from playground.store.connection import Connection
from playground.store.judgements import JudgementStore
from playground.store.votes import VoteStore
from tests.store.test_judgements import judgement


def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path, caplog):
    connection = Connection(tmp_path / "full.db")
    store = JudgementStore(connection)
    store.mark(judgement(answer="kept"))
    pages = connection.db.conn.execute("pragma page_count").fetchone()[0]
    connection.db.conn.execute(f"pragma max_page_count={pages}")
    with pytest.raises(UserError, match=r"Nothing was saved.*full.*Try again"):
        store.mark(judgement(answer="x" * 100_000))
    assert [row["answer"] for row in store.rows()] == ["kept"]
    assert "the database failed" in caplog.text, "the owner finds it in the log"
    connection.db.conn.execute(f"pragma max_page_count={pages + 100}")
    store.mark(judgement(answer="x" * 100_000))
    assert len(store.rows()) == 2


def test_a_database_that_cannot_be_written_is_told_and_can_be_read(tmp_path):
    connection = Connection(tmp_path / "fixed.db")
    connection.db.conn.execute("pragma query_only=on")
    with pytest.raises(UserError, match=r"Nothing was saved.*readonly"):
        VoteStore(connection).forget("somebody")
    assert JudgementStore(connection).rows() == []


def test_a_database_damaged_while_it_is_open_is_told(tmp_path):
    path = tmp_path / "damaged.db"
    connection = Connection(path, journal="delete")
    store = JudgementStore(connection)
    for number in range(200):
        store.mark(judgement(answer=f"{number} " * 200))
    connection.db.conn.execute("pragma cache_size=1")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    connection.db.conn.execute("pragma shrink_memory")
    with pytest.raises(UserError, match="Nothing could be read"):
        store.rows()


def test_a_locked_database_is_told(tmp_path):
    path = tmp_path / "locked.db"
    store = JudgementStore(Connection(path))
    store._db.conn.execute("pragma busy_timeout=50")
    other = sqlite3.connect(path)
    other.execute("begin immediate")
    with pytest.raises(UserError, match=r"Nothing was saved.*locked"):
        store.mark(judgement())
    other.rollback()
    store.mark(judgement())
    assert len(store.rows()) == 1
