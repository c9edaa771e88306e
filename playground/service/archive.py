"""The archive: runs that are kept, opened again, written to files and read from them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from playground.errors import UserError
from playground.record import RunRecord, to_whole_sentences
from playground.requests import LaneRequest
from playground.service.running import Run
from playground.store.connection import Connection
from playground.store.exchange import read_run, recorded_runs, write_run
from playground.store.runs import RunStore

log = logging.getLogger(__name__)


class Archive:
    """The runs of a database."""

    def __init__(self, database: Connection):
        self.store = RunStore(database)
        # A thread of its own: while the engine's worker saves, nobody gets a token.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="archive")

    def close(self) -> None:
        """Save what is still to be saved."""
        self._worker.shutdown()

    def keep(self, run: Run, then: Callable[[Run], None]) -> None:
        """Save a run that is over, and go on with `then`; returns at once."""
        self._worker.submit(self._keep, run, then)

    def _keep(self, run: Run, then: Callable[[Run], None]) -> None:
        try:
            result = run.result()
            del result["notice"]  # it tells of saving
            self.store.save(result)
        except Exception as error:  # a full disk, say: the answers are there all the same
            log.exception("a run could not be saved")
            why = str(error) if isinstance(error, UserError) else f"Saving failed ({error})."
            run.notice = f"This run is not kept. {why} Copy what you need before you leave the page."
        finally:
            then(run)

    def open(self, run_id: str, unvoted: bool = False) -> RunRecord:
        """A saved run by its id; one of a battle without its vote only if `unvoted`. Raises UserError."""
        return self.store.load(run_id, unvoted) | {"notice": None}

    def forget(self, run_id: str) -> None:
        """Delete a saved run."""
        self.store.delete(run_id)

    def recent(self, origin: str | None, search: str = "") -> list[dict[str, str]]:
        """The newest saved runs, of one origin or of all."""
        return self.store.recent(origin, search)

    def write(self, run_id: str, sentences: bool = False) -> bytes:
        """A saved run as the content of a file, its answers cut after their last whole `sentences`. Raises
        UserError."""
        run = self.store.load(run_id)
        for lane in run["lanes"] if sentences else ():
            to_whole_sentences(lane)
        return write_run(run)

    def read(self, content: bytes, origin: str) -> str:
        """Keep a run from a file's content; returns its id. The same file twice is one run. Raises UserError."""
        run = read_run(content, origin, lambda run_id: self.store.load(run_id) if self.store.has(run_id) else None)
        for lane in run["lanes"]:
            LaneRequest.checked(method=lane["method"], options=lane["options"], begin=lane["begin"])
        return self._take(run)

    def recorded(self, folder: str = ".") -> dict[str, RunRecord]:
        """The runs that come with the project (of that folder) by their names; they are kept like all others."""
        runs = recorded_runs(folder)
        for run in runs.values():
            self._take(run)
        return runs

    def _take(self, run: RunRecord) -> str:
        if not self.store.has(run["id"]):
            self.store.save(run)
        return run["id"]
