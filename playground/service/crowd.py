"""Who runs how much at once: one line for all, in which people take turns; too much is refused at once, and what nobody
reads ends."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from playground.errors import UserError
from playground.requests import RunRequest
from playground.service.running import Run

UNREAD_SECONDS = 20.0
"""How long a run goes on without a reader: it may open its stream late, or lose it for a moment."""
_HOUR = 3600.0
_LOOK_AGAIN = 1.0
"""Seconds after which one who waits looks whether it was stopped, or has waited too long."""
MOST_COUNTED = 10_000
"""Groups that are remembered before those are forgotten that came long ago."""


class Crowded(UserError):
    """Too much at once; the same may be asked again later."""


class Person(NamedTuple):
    """Who asks: the group (all that come from one address) and the session. Also an owner for the engine."""

    group: str
    session: str


NOBODY = Person("", "")
"""Who asks where there are no people to be told apart, as on the command line."""


@dataclass(frozen=True)
class Limits:
    """How many lanes of one group run at once (`at_once`; of all twice as many, so that no group fills the room),
    what one group may have asked for (`lanes`, and `tokens` × branches), how many runs may wait (`waiting`), and how
    many seconds one may wait (`patience`) and then take (`seconds`)."""

    at_once: int = 24
    lanes: int = 48
    tokens: int = 400_000
    waiting: int = 96
    patience: float = 600
    seconds: float = 1800

    @property
    def most_runs(self) -> int:
        """How many runs there can be, those that wait too."""
        return 2 * max(1, self.at_once) + self.waiting


@dataclass(eq=False)
class Ticket:
    """What a person asked for, from the asking on: it can be stopped before its runs have begun. `since`: when it was
    asked for, and from then on when it may begin."""

    crowd: Crowd
    person: Person
    lanes: int
    tokens: int
    since: float
    waiting: bool = True
    stopped: bool = False
    runs: list[Run] = field(default_factory=list)

    def places(self) -> Iterator[int]:
        """How many runs are before this one, whenever that changes, until it may begin or is stopped. Raises Crowded
        if that takes too long."""
        return self.crowd.places_of(self)

    def wait(self) -> None:
        """Return when it may begin or is stopped. Raises Crowded if that takes too long."""
        for _ in self.places():
            pass

    def hold(self, run: Run) -> Run:
        """A run has begun."""
        self.runs.append(run)
        if self.stopped:
            run.stop()
        return run

    def stop(self) -> None:
        self.stopped = True
        for run in self.runs:
            run.stop()


class Crowd:
    """All that people run. `unread_since`: session → the time (of `time.monotonic`) since when nobody reads what it is
    sent, or None while somebody does."""

    def __init__(self, limits: Limits | None = None):
        self.limits = limits or Limits()
        self.unread_since: Callable[[str], float | None] = lambda session: None
        self._tickets: list[Ticket] = []
        self._done: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._last_left = float("-inf")
        self._lock = threading.Condition()
        self._guard: threading.Thread | None = None

    @property
    def under_way(self) -> int:
        """How many runs there are, those that wait too."""
        return len(self._tickets)

    @property
    def idle_seconds(self) -> float:
        """For how long nobody has run anything."""
        return 0.0 if self._tickets else time.monotonic() - self._last_left

    @contextmanager
    def enter(self, person: Person, lanes: int, tokens: int) -> Iterator[Ticket]:
        """A run of this person, which takes its place in the line: it may begin when `places` ends. Left in whatever
        way, it is stopped. Raises Crowded if that is too much now."""
        ticket = Ticket(self, person, lanes, tokens, time.monotonic())
        with self._lock:
            self._let_in()
            self._check(ticket)
            self._tickets.append(ticket)
            self._let_in()
            if self._guard is None:
                self._guard = threading.Thread(target=self._keep_watch, name="crowd", daemon=True)
                self._guard.start()
        try:
            yield ticket
        finally:
            ticket.stop()
            with self._lock:
                self._tickets.remove(ticket)
                self._last_left = time.monotonic()
                self._let_in()

    def places_of(self, ticket: Ticket) -> Iterator[int]:
        """See `Ticket.places`."""
        told = None
        while True:
            with self._lock:
                line = self._line()
                if ticket not in line:
                    return
                if time.monotonic() - ticket.since > self.limits.patience:
                    raise Crowded(
                        f"The server was too busy to begin this run within {self.limits.patience / 60:.0f} minutes; "
                        "try again later, or with fewer lanes."
                    )
                place = line.index(ticket)
                if place == told:
                    self._lock.wait(_LOOK_AGAIN)
                    continue
            told = place
            yield place

    def _line(self) -> list[Ticket]:
        """Who waits, the next one first: groups take turns, and within a group its sessions; who has much under way
        comes late."""
        line = [ticket for ticket in self._tickets if ticket.waiting and not ticket.stopped]
        for whose in (lambda ticket: ticket.person, lambda ticket: ticket.person.group):
            lanes: Counter = Counter()
            for ticket in self._running():
                lanes[whose(ticket)] += ticket.lanes
            before = {}
            for ticket in line:
                before[ticket] = lanes[whose(ticket)]
                lanes[whose(ticket)] += ticket.lanes
            line.sort(key=before.__getitem__)
        return line

    def _running(self) -> list[Ticket]:
        return [ticket for ticket in self._tickets if not ticket.waiting and not ticket.stopped]

    def _let_in(self) -> None:
        """Let begin what there is room for, in the line's order: none passes one of its own group, and none at all one
        that only waits for room of all."""
        most, full = self.limits.at_once, set()
        for ticket in self._line():
            group = ticket.person.group
            lanes = Counter(dict.fromkeys((group, None), 0))
            for other in self._running():
                lanes[None] += other.lanes
                lanes[other.person.group] += other.lanes
            if group in full or (lanes[group] and lanes[group] + ticket.lanes > most):
                full.add(group)
            elif lanes[None] and lanes[None] + ticket.lanes > 2 * most:
                break
            else:
                ticket.waiting, ticket.since = False, time.monotonic()
        self._lock.notify_all()

    def count(self, person: Person, what: str, most: int, more: int = 1) -> None:
        """Count `more` of `what` for this person's group. Raises Crowded if that were over `most` within an hour."""
        now = time.monotonic()
        with self._lock:
            if len(self._done) > MOST_COUNTED:
                self._done = defaultdict(deque, {k: v for k, v in self._done.items() if v and now - v[-1] < _HOUR})
            times = self._done[person.group, what]
            while times and now - times[0] > _HOUR:
                times.popleft()
            if len(times) + more > most:
                raise Crowded(f"From your address {most:,} {what} were asked for within an hour; come back later.")
            times.extend([now] * more)

    def _check(self, new: Ticket) -> None:
        if len(self._line()) >= self.limits.waiting:
            raise Crowded(f"The server is busy: {self.limits.waiting} runs wait already. Try again in some minutes.")
        theirs = [t for t in self._tickets if not t.stopped and t.person.group == new.person.group]
        for what, most, asked in (
            ("lanes", self.limits.lanes, new.lanes),
            ("tokens in all branches", self.limits.tokens, new.tokens),
        ):
            name = what.split()[0]
            used = sum(getattr(ticket, name) for ticket in theirs)
            if used + asked > most:
                way = "wait until they end" if used else "ask for fewer tokens, or fewer answers"
                raise Crowded(
                    f"From your address {used:,} {what} are under way or wait, and this run asks for {asked:,} more; "
                    f"at most {most:,} are allowed at once, so {way}."
                )

    def _keep_watch(self) -> None:
        """Stop what nobody reads and what takes too long, until there is nothing to watch."""
        while True:
            time.sleep(1)
            with self._lock:
                if not self._tickets:
                    self._guard = None
                    return
                self._let_in()
                tickets = list(self._tickets)
            now = time.monotonic()
            for ticket in tickets:
                unread = self.unread_since(ticket.person.session)
                forsaken = unread is not None and now - max(unread, ticket.since) > UNREAD_SECONDS
                if forsaken or (not ticket.waiting and now - ticket.since > self.limits.seconds):
                    ticket.stop()


def size_of(request: RunRequest) -> tuple[int, int]:
    """(lanes, tokens in all branches) of a request."""
    branches = sum(lane.options.branches for lane in request.lanes)
    return len(request.lanes), branches * request.max_new_tokens
