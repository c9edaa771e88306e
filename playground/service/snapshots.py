"""Snapshots of votes: a thread keeps a place outside in step with the database, so that a lost disk loses little."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from playground.errors import UserError
from playground.settings import Settings
from playground.store.connection import Connection
from playground.store.places import Place, place_of
from playground.store.snapshots import LARGEST, Damaged, Part, SnapshotStore, unpack

log = logging.getLogger(__name__)

MANY = 50
"""From so many votes and acts on nobody waits for the clock."""
_LOOK = 5.0
"""Seconds between looks at how many there are."""
_FIRST_WAIT, _LONGEST_WAIT = 5.0, 900.0
"""Seconds after a failure; each further one doubles the wait."""
_AT_ONCE = 8
"""Parts that are read at the same time."""
_AT_START, _AT_END = 30.0, 15.0
"""Seconds that the server waits at most for earlier votes when it starts, and for the last part when it ends."""


class Snapshots:
    """Reads what others and earlier starts wrote to the place, and writes what is new here. Nothing happens before
    `start`, nor if the settings name no place."""

    def __init__(self, database: Connection, settings: Settings):
        """Raises UserError if the setting names no place."""
        self.store, self._every = SnapshotStore(database), settings.snapshot_seconds
        self.place: Place | None = place_of(settings.snapshots) if settings.snapshots else None
        self.skipped: dict[tuple[str, int], str] = {}
        """What is wrong with a part, by its name and size."""
        self._name = secrets.token_hex(4)  # two servers never write the same part
        self._written = 0
        self._begun: tuple[str, Part] | None = None
        self._failures, self._error, self._retry_at = 0, "", 0.0
        self._saved_at: float | None = None
        self._imported = False
        self._busy, self._wake, self._tried = threading.Lock(), threading.Event(), threading.Event()
        self._ends_at: float | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; returns when the votes of before are here, or after a while if the place does not answer."""
        if self.place:
            self.store.begin(self.place.name)
            self._thread = threading.Thread(target=self._work, name="snapshots", daemon=True)
            self._thread.start()
            self._tried.wait(_AT_START)
            log.warning("Snapshots in %s: %s", self.place.name, self.said())

    def save(self) -> None:
        """Save what is new soon; returns at once."""
        self._wake.set()

    def attempt(self) -> None:
        """Save now, and wait for it; `said` tells how it went."""
        if not self.place:
            return
        with self._busy:
            try:
                self._sync()
            except Exception as error:  # the thread must not end
                if not isinstance(error, UserError):
                    log.exception("a snapshot failed")
                self._failures += 1
                self._error = str(error) if isinstance(error, UserError) else f"Something went wrong ({error})."
                log.warning("A snapshot failed. %s", self._error)
            else:
                self._failures, self._error, self._imported = 0, "", True

    def close(self) -> None:
        """Save the last votes, for which the server waits some seconds."""
        if self._thread:
            self._ends_at = time.monotonic() + _AT_END
            self._wake.set()
            self._thread.join(_AT_END)
            if self._thread.is_alive():
                log.warning("The server ends before its last votes are saved outside: the place does not answer.")

    def compact(self) -> None:
        """Write all that is here as new parts and remove those that are in it, with the texts that were deleted since.
        Raises UserError."""
        if not self.place:
            raise UserError("There are no snapshots; set PLAYGROUND_SNAPSHOTS to a folder or a data set.")
        with self._busy:
            self._sync()
            there, known = self.place.parts(), self.store.known()
            self.store.refill()
            parts, until = {}, 0
            while part := self.store.next_part(until):
                until = part.until
                if part.content:
                    parts[self._new_name()] = part.content
            self.place.write(parts, tuple(name for name in there if name in known))
            self.store.saved(list(parts), until)
            if parts:
                self._saved_at = time.monotonic()

    def said(self) -> str:
        """How it stands, in sentences."""
        if not self.place:
            return (
                "Votes are on this server's disk only. Where that does not last, set PLAYGROUND_SNAPSHOTS to a folder "
                "or a data set."
            )
        unsaved = self.store.unsaved()
        votes, others = unsaved.pop("votes", 0), sum(unsaved.values())
        counted = [
            f"{n:,} {what}{'' if n == 1 else 's'}" for n, what in ((votes, "vote"), (others, "other change")) if n
        ]
        are = "is" if votes + others == 1 else "are"
        told = f"{' and '.join(counted)} {are} not yet saved outside" if counted else "Everything is saved outside"
        last = (
            f"last saved {_ago(time.monotonic() - self._saved_at)}"
            if self._saved_at
            else "nothing saved since the start"
        )
        sentences = [f"{told}; {last}."]
        if self._error:
            wait = max(0, round(self._retry_at - time.monotonic()))
            sentences.append(f"The last try failed: {self._error} The next one is in {wait:,} seconds.")
        if not self._imported:
            sentences.append("Earlier votes are not all here yet.")
        sentences += [f"The part {name} is skipped: {why}." for (name, _), why in list(self.skipped.items())[:5]]
        if len(self.skipped) > 5:
            sentences.append(f"{len(self.skipped) - 5} more parts are skipped.")
        return " ".join(sentences)

    def _work(self) -> None:
        while True:
            ends_at = self._ends_at  # looked at before: a vote of meanwhile needs another try
            self.attempt()
            self._tried.set()
            if ends_at and (not self._failures or time.monotonic() > ends_at):
                return
            self._wait()

    def _wait(self) -> None:
        """Until the clock says so, there is much to save, or somebody asks for it."""
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (self._failures - 1)) if self._failures else self._every
        wait = wait if self._ends_at is None else 1.0
        self._retry_at = until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0 and not self._wake.wait(min(left, _LOOK)):
            if not self._failures and self._many():
                break
        self._wake.clear()

    def _many(self) -> bool:
        try:
            return sum(self.store.unsaved().values()) >= MANY
        except UserError:  # the next try tells of it
            return False

    def _sync(self) -> None:
        """Take what is new there, then write what is new here, even if a part could not be read. Raises UserError."""
        unread = self._read()
        while True:
            # A part stays as it is until it is written: the place may have it although its answer was lost.
            if not self._begun and (part := self.store.next_part()):
                self._begun = self._new_name(), part
            if not self._begun:
                break
            name, part = self._begun
            if part.content:
                self.place.write({name: part.content})
                self._saved_at = time.monotonic()
            self.store.saved([name] if part.content else [], part.until)
            self._begun = None
        if unread:
            raise UserError(unread)

    def _read(self) -> str:
        """Take all parts that are not here yet. Returns why one could not be read now; empty if all could. One that is
        damaged is skipped."""
        known, unread = self.store.known(), ""
        there = self.place.parts()
        if known and not there:
            log.warning("The snapshots in %s have gone; all is written anew.", self.place.name)
            self._begun = None
            self.store.refill()
        fresh = sorted(name for name, size in there.items() if name not in known and (name, size) not in self.skipped)
        if large := [name for name in fresh if there[name] > LARGEST]:
            self._skip({name: f"it has {there[name]:,} bytes; at most {LARGEST:,} are read" for name in large}, there)
            fresh = [name for name in fresh if name not in large]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(fresh), _AT_ONCE):
                names = fresh[first : first + _AT_ONCE]
                for name, content in zip(names, pool.map(self._content, names), strict=True):
                    if isinstance(content, UserError):
                        unread = str(content)
                        continue
                    try:
                        self.store.take(name, unpack(content))
                    except Damaged as why:
                        self._skip({name: str(why)}, there)
        return unread

    def _content(self, name: str) -> bytes | UserError:
        try:
            return self.place.read(name)
        except UserError as error:
            return error

    def _skip(self, parts: dict[str, str], there: dict[str, int]) -> None:
        for name, why in parts.items():
            self.skipped[name, there[name]] = why
            log.warning("The snapshot's part %s is skipped: %s.", name, why)

    def _new_name(self) -> str:
        self._written += 1
        return f"part-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self._name}-{self._written:04}.jsonl"


def _ago(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute ago"
    hours = round(minutes / 60)
    count, unit = (minutes, "minute") if minutes < 120 else (hours, "hour")
    return f"{count:,} {unit}{'' if count == 1 else 's'} ago"
