"""Who runs how much at once: nobody holds up the others, too much is refused at once, and what nobody reads ends."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from playground.errors import UserError
from playground.requests import RunRequest
from playground.service.running import Run

UNREAD_SECONDS = 20.0
"""How long a run goes on without a reader: it may open its stream late, or lose it for a moment."""
_HOUR = 3600.0
MOST_COUNTED = 10_000
"""Groups that are remembered before those are forgotten that came long ago."""


class Person(NamedTuple):
    """Who asks: the group (all that come from one address) and the session. Also an owner for the engine."""

    group: str
    session: str


NOBODY = Person("", "")
"""Who asks where there are no people to be told apart, as on the command line."""


@dataclass(frozen=True)
class Limits:
    """What one group may have under way (`lanes`, and `tokens` × branches), what all together (`runs`), and how long a
    run may take (`seconds`)."""

    lanes: int = 48
    tokens: int = 400_000
    runs: int = 64
    seconds: float = 1800


@dataclass(eq=False)
class Ticket:
    """One run that a person asked for, from the asking on: it can be stopped before it has begun."""

    person: Person
    lanes: int
    tokens: int
    began: float
    stopped: bool = False
    run: Run | None = None

    def hold(self, run: Run) -> Run:
        """The run has begun."""
        self.run = run
        if self.stopped:
            run.stop()
        return run

    def stop(self) -> None:
        self.stopped = True
        if self.run:
            self.run.stop()


class Crowd:
    """All that people run. `unread_since`: session → the time (of `time.monotonic`) since when nobody reads what it is
    sent, or None while somebody does."""

    def __init__(self, limits: Limits | None = None):
        self.limits = limits or Limits()
        self.unread_since: Callable[[str], float | None] = lambda session: None
        self._tickets: set[Ticket] = set()
        self._done: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._last_left = float("-inf")
        self._lock = threading.Lock()
        self._guard: threading.Thread | None = None

    @property
    def under_way(self) -> int:
        """How many runs there are."""
        return len(self._tickets)

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has run anything."""
        return 0.0 if self._tickets else time.monotonic() - self._last_left

    @contextmanager
    def enter(self, person: Person, lanes: int, tokens: int) -> Iterator[Ticket]:
        """A run of this person; left in whatever way, it is stopped. Raises UserError if that is too much now."""
        ticket = Ticket(person, lanes, tokens, time.monotonic())
        with self._lock:
            self._check(ticket)
            self._tickets.add(ticket)
            if self._guard is None:
                self._guard = threading.Thread(target=self._keep_watch, name="crowd", daemon=True)
                self._guard.start()
        try:
            yield ticket
        finally:
            ticket.stop()
            with self._lock:
                self._tickets.discard(ticket)
                self._last_left = time.monotonic()

    def count(self, person: Person, what: str, most: int) -> None:
        """Count one of `what` for this person's group. Raises UserError if there were `most` within the last hour."""
        now = time.monotonic()
        with self._lock:
            if len(self._done) > MOST_COUNTED:
                self._done = defaultdict(deque, {k: v for k, v in self._done.items() if v and now - v[-1] < _HOUR})
            times = self._done[person.group, what]
            while times and now - times[0] > _HOUR:
                times.popleft()
            if len(times) >= most:
                raise UserError(f"From your address {most:,} {what} were asked for within an hour; come back later.")
            times.append(now)

    def _check(self, new: Ticket) -> None:
        running = [ticket for ticket in self._tickets if not ticket.stopped]
        if len(running) >= self.limits.runs:
            raise UserError(f"The server is busy: {self.limits.runs} runs are under way. Try again in a minute.")
        theirs = [ticket for ticket in running if ticket.person.group == new.person.group]
        for what, most, asked in (
            ("lanes", self.limits.lanes, new.lanes),
            ("tokens in all branches", self.limits.tokens, new.tokens),
        ):
            name = what.split()[0]
            used = sum(getattr(ticket, name) for ticket in theirs)
            if used + asked > most:
                way = "wait until they end" if used else "ask for fewer tokens, or fewer answers"
                raise UserError(
                    f"From your address {used:,} {what} are under way and this run asks for {asked:,} more; at most "
                    f"{most:,} are allowed at once, so {way}."
                )

    def _keep_watch(self) -> None:
        """Stop what nobody reads and what takes too long, until there is nothing to watch."""
        while True:
            time.sleep(1)
            with self._lock:
                if not self._tickets:
                    self._guard = None
                    return
                tickets = list(self._tickets)
            now = time.monotonic()
            for ticket in tickets:
                unread = self.unread_since(ticket.person.session)
                forsaken = unread is not None and now - max(unread, ticket.began) > UNREAD_SECONDS
                if forsaken or now - ticket.began > self.limits.seconds:
                    ticket.stop()


def size_of(request: RunRequest) -> tuple[int, int]:
    """(lanes, tokens in all branches) of a request."""
    branches = sum(lane.options.branches for lane in request.lanes)
    return len(request.lanes), branches * request.max_new_tokens
