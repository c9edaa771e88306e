"""Battles that are written while nobody waits, so that the next visitor of the arena need not."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from playground.arena import Arena
from playground.errors import UserError
from playground.service import NOBODY, Run

log = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
"""How long nobody must have run anything before a battle is prepared."""
_LOOK_SECONDS = 0.2
"""How soon a battle that is being prepared makes way."""
_REST_SECONDS = 600.0
"""How long nothing is tried after a failure."""


class Stock:
    """Keeps up to `size` battles ready, one being written at a time, and only while nobody else runs anything."""

    def __init__(self, arena: Arena, size: int, busy: Callable[[], object] = lambda: None):
        """busy: whether something else, such as a training, needs the machine."""
        self.arena, self.size, self._busy = arena, size, busy
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="prepared battles", daemon=True)

    def start(self) -> None:
        """Begin to fill the stock, and keep it filled until `close`."""
        if self.size:
            self._thread.start()

    def close(self) -> None:
        """Prepare nothing more; what is ready stays in the database."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _tend(self) -> None:
        rest = IDLE_SECONDS
        while not self._over.wait(rest):
            rest = IDLE_SECONDS
            try:
                if self._idle() and not self._busy() and self.arena.votes.prepared() < self.size:
                    self.prepare()
            except Exception as error:  # a model that cannot be loaded, a full disk: the arena works without a stock
                log.warning("no battle was prepared: %s", error, exc_info=not isinstance(error, UserError))
                rest = _REST_SECONDS

    def prepare(self) -> bool:
        """Write one battle and put it into the stock. Returns whether there is one more: not if somebody came, if a
        lane failed, or if the two answers are equal; then nothing of it is kept."""
        playground = self.arena.playground
        prompt = self.arena.fresh_prompt()
        run = playground.start(self.arena.request(prompt), "arena", owner=NOBODY)
        while not run.over:
            if self._over.is_set() or not self._idle():
                run.stop()
            _wait(run)
        good = self.arena.is_battle(run.result())
        if good:
            self.arena.votes.prepare(run.id, self.arena.category(prompt))
        else:
            playground.archive.forget(run.id)
        return good

    def _idle(self) -> bool:
        return self.arena.playground.crowd.idle_seconds >= IDLE_SECONDS


def _wait(run: Run) -> None:
    with contextlib.suppress(TimeoutError):
        run.wait(_LOOK_SECONDS)
