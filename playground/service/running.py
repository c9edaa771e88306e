"""Lanes and runs under way: watched while they work, stopped, and handed out as records."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from playground import __version__
from playground.branch.lane import Draft, Lane
from playground.decoders import decoder
from playground.decoders.base import decode
from playground.engine.engine import Asking, Engine, Owner, Stopped, Task
from playground.errors import UserError
from playground.record import Fork, LaneRecord, RunRecord
from playground.requests import LaneRequest, RunRequest
from playground.service.backend import LaneAtWork
from playground.types import Cost


class LaneRun:
    """One lane at work in an engine (see `backend.LaneAtWork`). Written by the engine's worker, read by anyone."""

    def __init__(self, request: LaneRequest, lane: Lane, models: dict[str, str], engine: Engine, owner: Owner = ()):
        self.method, self.options, self.lane, self.models = request.method, request.options, lane, models
        self.engine, self.owner = engine, owner
        self.task: Task | None = None
        self.error: str | None = None

    def asking(self) -> Asking:
        """The decoder at work in this lane."""
        return decode(decoder(self.method), self.lane, self.options)

    def begin(self, changed: Callable[[], None] = lambda: None, ended: Callable[[], None] = lambda: None) -> None:
        """Submit it to the engine. `changed` is called whenever a draft has grown, `ended` once."""

        def over(task: Task) -> None:
            self.ended(task)
            ended()

        self.lane.listener = lambda draft: changed()
        self.task = self.engine.submit(self.asking(), self.cost, over, self.owner, self.options.branches)

    @property
    def failure(self) -> BaseException | None:
        """What the method raised, if it failed."""
        return self.task.error if self.task and self.error else None

    @property
    def status(self) -> str:
        """waiting, writing, done, stopped or failed."""
        if self.error:
            return "failed"
        if self.task is None or (not self.task.ended and not self.task.cost.forward_passes):
            return "waiting"
        if not self.task.ended:
            return "writing"
        return "stopped" if self.lane.stopped else "done"

    @property
    def answer(self) -> Draft | None:
        return self.lane.answer

    @property
    def cost(self) -> Cost:
        return self.lane.cost

    @property
    def prompt_tokens(self) -> int:
        """How long the prompt is for the first of its models."""
        return len(self.lane.encode(next(iter(self.models))))

    def ended(self, task: Task) -> None:
        """Called by the engine when the task is over; one that was stopped before its first step never got to
        `decode`."""
        if task.error is None:
            return
        self.lane.finish(stopped=True)
        if isinstance(task.error, UserError):
            self.error = str(task.error)
        elif not isinstance(task.error, Stopped):
            self.error = "Something went wrong inside this method; the server's log says what."

    def stop(self) -> None:
        """End it after the batch under way; what it has written stays."""
        self.task.stop()

    def result(self) -> LaneRecord:
        """The lane as it is saved and handed out."""
        answer = self.lane.answer
        return {
            "method": self.method,
            "status": self.status,
            "options": self.options.model_dump(),
            "begin": list(self.lane.begin),
            "models": self.models,
            "text": answer.text if answer else "",
            "token_ids": list(answer.token_ids) if answer else [],
            "finish_reason": answer.finish_reason if answer else None,
            "error": self.error,
            "cost": asdict(self.cost),
            "detail": {"tokens": list(answer.records) if answer else [], **self.lane.detail},
        }


class KeptLane:
    """A lane that another run wrote, as it was there: a branch stands beside it."""

    def __init__(self, record: LaneRecord, run_id: str):
        self.status = record["status"]
        self._record = record | {"detail": {"written_in": run_id} | record["detail"]}

    def stop(self) -> None:
        """It has ended."""

    def result(self) -> LaneRecord:
        return self._record


@dataclass(frozen=True)
class Continuation:
    """Where the one lane of a request goes on from: the first `at` tokens of lane number `parent` of those that stand.
    `lanes`: (lane, id of the run that it is of) each. The new lane comes right after its parent."""

    lanes: tuple[tuple[LaneRecord, str], ...]
    parent: int
    at: int

    @property
    def fork(self) -> Fork:
        """What the record of the new lane says of it."""
        return {"lane": self.parent, "at": self.at}

    @property
    def known(self) -> tuple[dict[str, Any], ...]:
        """The records of the tokens that need not be written again."""
        return tuple(self.lanes[self.parent][0]["detail"]["tokens"][: self.at])

    def around(self, lane: LaneAtWork) -> list[LaneAtWork | KeptLane]:
        """All lanes of the run; what names a lane behind the new one by its number names the same lane still."""
        place = self.parent + 1
        kept = [KeptLane(_moved(record, place), run_id) for record, run_id in self.lanes]
        return [*kept[:place], lane, *kept[place:]]


def _moved(lane: LaneRecord, place: int) -> LaneRecord:
    fork = lane["detail"].get("fork")
    if not fork or fork["lane"] < place:
        return lane
    return lane | {"detail": lane["detail"] | {"fork": fork | {"lane": fork["lane"] + 1}}}


class Run:
    """A run under way or ended. `watch` yields whenever something may have changed, until it has ended."""

    def __init__(self, request: RunRequest, lanes: list[LaneAtWork | KeptLane], origin: str):
        self.id = secrets.token_hex(5)
        self.created = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.request, self.lanes, self.origin = request, lanes, origin
        self._changed = threading.Event()
        self._over = threading.Event()
        self._open = sum(not isinstance(lane, KeptLane) for lane in lanes)
        self._ended = False
        self.notice: str | None = None
        self._count = threading.Lock()
        self.on_over = Run.close

    def note(self) -> None:
        """One of its lanes has grown."""
        self._changed.set()

    def lane_ended(self) -> None:
        """Count one lane as ended; with the last one the run is over."""
        with self._count:
            self._open -= 1
            last = self._open == 0
        if last:
            self._ended = True
            self.on_over(self)
        self._changed.set()

    def close(self) -> None:
        """Nothing more is to happen to it: those who wait for its end may go on."""
        self._over.set()
        self._changed.set()

    def stop(self) -> None:
        """End all lanes after the batch under way; what they have written stays."""
        for lane in self.lanes:
            lane.stop()

    @property
    def over(self) -> bool:
        return self._over.is_set()

    @property
    def status(self) -> str:
        """running, done, stopped or failed (all lanes failed)."""
        if not self._ended:
            return "running"
        states = [lane.status for lane in self.lanes]
        if all(state == "failed" for state in states):
            return "failed"
        return "stopped" if "stopped" in states else "done"

    def watch(self, period: Callable[[], float]) -> Iterator[None]:
        """Yield while things change, with so many seconds between two, and once more at the end."""
        while not self.over:
            self._changed.wait(1.0)
            self._changed.clear()
            yield
            self._over.wait(period())
        yield

    def wait(self, timeout: float | None = None) -> None:
        if not self._over.wait(timeout):
            raise TimeoutError("the run is still going on")

    def result(self) -> RunRecord:
        """The run as it is saved and handed out; while it runs its status is "running", and a notice may be with it."""
        request = self.request
        return {
            "id": self.id,
            "created": self.created,
            "origin": self.origin,
            "prompt": request.prompt,
            "system": request.system,
            "seed": request.seed,
            "max_new_tokens": request.max_new_tokens,
            "stop": list(request.stop),
            "earlier": [list(turn) for turn in request.earlier],
            "status": self.status,
            "notice": self.notice,
            "software": f"realign-playground {__version__}",
            "lanes": [lane.result() for lane in self.lanes],
        }
