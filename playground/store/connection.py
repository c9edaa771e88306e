"""The database file: one connection under one lock, with the settings that keep what was acknowledged."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlite_utils import Database

from playground.errors import UserError
from playground.store.migrations import migrations

log = logging.getLogger(__name__)

_NETWORK = ("nfs", "cifs", "smb", "fuse", "9p", "s3")
"""File systems on which a write-ahead log, which needs shared memory, is not safe."""


class Connection:
    """`db` is read inside `reading` only, and written to inside `writing`. `path` may be ":memory:".

    Both raise UserError where the database itself fails (full or read-only disk, damaged file), and let
    `sqlite3.IntegrityError` through, which tells of the row."""

    def __init__(self, path: Path | str, journal: str | None = None):
        """journal: "wal" or "delete"; by default WAL, but on a network mount DELETE. Raises UserError."""
        self.path, self.lock = path, threading.Lock()
        try:
            if path != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self.db = Database(sqlite3.connect(path, check_same_thread=False, timeout=10))
            self.db.conn.execute(f"PRAGMA journal_mode={journal or _journal_for(path)}")
            self.db.conn.execute("PRAGMA synchronous=FULL")  # what was acknowledged survives a loss of power
            self.db.conn.execute("PRAGMA foreign_keys=ON")
            migrations.apply(self.db)
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"The database {path} cannot be opened ({error}); set PLAYGROUND_DATABASE to a file on a writable disk."
            ) from None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What is written to `db` inside is kept whole, or not at all. Other writers, of other processes too, are
        waited for at the start: a transaction that begins by reading is refused once another one has written."""
        with self.lock, _told("Nothing was saved"):
            self.db.execute("begin immediate")
            try:
                yield
                self.db.commit()
            except BaseException:
                self.db.rollback()
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """No other thread reads or writes meanwhile."""
        with self.lock, _told("Nothing could be read"):
            yield

    def backup(self, target: Path) -> None:
        """Write a whole copy while the server runs. Raises UserError if it cannot be written."""
        try:
            with self.lock, sqlite3.connect(target) as copy:
                self.db.conn.backup(copy)
            copy.close()
        except (sqlite3.Error, OSError) as error:
            raise UserError(
                f"The backup {target} cannot be written ({error}); name a file on a writable disk."
            ) from None

    @property
    def secret(self) -> str:
        """Random, made with the database, and the same as long as it lives."""
        with self.reading():
            return self.db["server"].get("secret")["value"]

    def close(self) -> None:
        with self.lock:
            self.db.conn.close()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turns errors of the database itself into a sentence, and logs them for the owner."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        log.exception("the database failed")
        raise UserError(
            f"{what}: the database does not work ({error}). Try again; if that does not help, the owner of this "
            "server has to look at its disk."
        ) from None


def _journal_for(path: Path | str) -> str:
    if path == ":memory:":
        return "memory"
    there = Path(path).resolve()
    mounts = [m for m in psutil.disk_partitions(all=True) if there.is_relative_to(m.mountpoint)]
    kind = max(mounts, key=lambda m: len(m.mountpoint)).fstype.lower() if mounts else ""
    return "delete" if kind.startswith(_NETWORK) else "wal"
