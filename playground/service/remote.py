"""Lanes that replicas write: both ends of the wire, whatever carries it (`Link`; that of Ray is in `replicas.py`).

An order goes out with the weights that it needs, by their digests; records come back. If a replica dies, another one
begins its lanes again. The same order gives the same tokens, so what was there stays until the new lane is as far.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from playground.decoders.base import policies
from playground.errors import UserError
from playground.models.fetch import Progress
from playground.models.specs import Catalogue, VariantSpec
from playground.record import LaneRecord
from playground.requests import LaneRequest
from playground.service.backend import LaneOrder
from playground.service.local import Local
from playground.service.memory import Memory
from playground.service.running import LaneRun
from playground.settings import Settings

log = logging.getLogger(__name__)
FIRST = "reference"
"""The variant whose model a replica has in memory before it takes lanes."""
UPDATE_SECONDS = 0.03
"""Time between two updates of a lane, at least; at most a second."""
TRIES = 3
"""How many replicas may die over one lane: it may be the lane that kills them."""
Files = dict[str, bytes]
"""A folder of weights: its files by their names."""


@dataclass(frozen=True)
class Part:
    """A folder that a variant has learned: the digest of its files, and where the link keeps them."""

    digest: str
    place: Any


@dataclass(frozen=True)
class RemoteOrder:
    """An order as it goes out. learned: the variants that it asks, each with the parts of its folders, in order."""

    id: str
    order: LaneOrder
    learned: dict[str, tuple[VariantSpec, tuple[Part, ...]]]


@dataclass(frozen=True)
class Prepared:
    """A lane that can begin, as a replica found: its record, and how long its prompt is."""

    record: LaneRecord
    prompt_tokens: int


@dataclass(frozen=True)
class Update:
    """A lane as it is now. The first `kept` tokens of its detail were sent before, and are left out. The last update is
    whole, with what went wrong, if anything did; the first says only that a replica has taken the lane."""

    record: LaneRecord | None
    kept: int = 0
    last: bool = False
    failure: Exception | None = None


class Link(Protocol):
    """What carries orders to replicas and records back."""

    lost: tuple[type[Exception], ...]
    """What it raises if the replica that was asked has died."""

    def share(self, files: Files) -> Any:
        """Put files where every replica can fetch them; returns the place."""

    def check(self, order: RemoteOrder) -> Prepared | UserError:
        """Whether the lane can be written, by any replica."""

    def write(self, order: RemoteOrder) -> Iterator[Update]:
        """Have one replica write the lane."""

    def stop(self, id: str) -> None:
        """Tell whichever replica writes this lane to end it soon."""

    def close(self) -> None: ...


class Replica:
    """The far end: writes lanes with an engine of its own. `fetch` gets what a link shares. Called by many threads."""

    def __init__(self, settings: Settings, catalogue: Catalogue, fetch: Callable[[Any], Files]):
        self.local, self._fetch = Local(settings, catalogue), fetch
        if not catalogue.variant(FIRST).folders:  # what it has learned comes with the orders
            self.local.load(FIRST)
        self._folder = settings.cache / "weights"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._taking = threading.Lock()
        self._lanes: dict[str, LaneRun] = {}

    def check(self, order: RemoteOrder) -> Prepared | UserError:
        """See `Link`."""
        try:
            lane = self._prepare(order)
            return Prepared(lane.result(), lane.prompt_tokens)
        except UserError as error:
            return error

    def write(self, order: RemoteOrder) -> Iterator[Update]:
        """See `Link`."""
        try:
            lane = self._prepare(order)
        except UserError as error:
            yield Update(None, last=True, failure=error)
            return
        changed, over, sent = threading.Event(), threading.Event(), []

        def ended() -> None:
            over.set()
            changed.set()

        lane.begin(changed.set, ended)
        self._lanes[order.id] = lane
        try:
            yield Update(None)  # it can be told to stop from here on
            while not over.wait(UPDATE_SECONDS):
                changed.wait(1.0)
                changed.clear()
                record = lane.result()
                tokens = record["detail"]["tokens"]
                kept = _in_common(sent, tokens)
                sent = tokens
                yield Update(record | {"detail": record["detail"] | {"tokens": tokens[kept:]}}, kept)
            failure = lane.failure
            if failure and not isinstance(failure, UserError):
                failure = RuntimeError(lane.error)
            yield Update(lane.result(), last=True, failure=failure)
        finally:
            lane.stop()
            del self._lanes[order.id]

    def stop(self, id: str) -> None:
        """See `Link`."""
        if lane := self._lanes.get(id):
            lane.stop()

    def close(self) -> None:
        self.local.close()

    def _prepare(self, order: RemoteOrder) -> LaneRun:
        with self._taking:
            for name, (spec, parts) in order.learned.items():
                moved = dict(zip(spec.folders, map(self._folder_of, parts), strict=True))
                here = {"adapter": moved.get(spec.adapter), "learned": tuple(moved[f] for f in spec.learned)}
                self.local.catalogue.variants[name] = spec.model_copy(update=here)
        return self.local.prepare(order.order)

    def _folder_of(self, part: Part) -> Path:
        """The folder of a part here, fetched if it is new."""
        folder = self._folder / part.digest
        if not folder.exists():
            new = Path(tempfile.mkdtemp(dir=self._folder))
            for name, content in self._fetch(part.place).items():
                (new / name).parent.mkdir(exist_ok=True)
                (new / name).write_bytes(content)
            try:
                new.rename(folder)
            except OSError:  # another replica on this machine was first
                shutil.rmtree(new)
        return folder


def _in_common(before: list[Any], now: list[Any]) -> int:
    """How many tokens of two answers are the same ones from the beginning on."""
    pairs = enumerate(zip(before, now, strict=False))
    return next((at for at, (a, b) in pairs if a is not b), min(len(before), len(now)))


class Remote:
    """The near end: a backend whose lanes are written by the replicas behind a link. `memory` says what models there
    are; nothing is loaded into it."""

    def __init__(self, memory: Memory, link: Link):
        self.memory, self.link = memory, link
        self._sharing = threading.Lock()
        self._parts: dict[Path, tuple[Any, Part]] = {}
        self._weights: dict[Path, str] = {}

    def load(self, *variants: str) -> None:
        """Nothing to do: replicas load what they begin with before they take lanes, and the rest when it is asked."""

    def is_ready_for(self, lanes: Iterable[LaneRequest]) -> bool:
        """Always; a replica that has yet to load a model lets the lane wait. Raises UserError for an unknown model."""
        for lane in lanes:
            self.memory.variants_of(*policies(lane.options))
        return True

    def load_for(self, lanes: Iterable[LaneRequest], progress: Progress) -> None:
        """See `load`."""

    def prepare(self, order: LaneOrder, progress: Progress | None = None) -> RemoteLane:
        """A lane that a replica found it can write. Raises UserError if it cannot."""
        names = self.memory.variants_of(*policies(order.lane.options))
        specs = {name: self.memory.catalogue.variant(name) for name in names}
        learned = {name: (spec, tuple(map(self._part, spec.folders))) for name, spec in specs.items() if spec.folders}
        sent = RemoteOrder(secrets.token_hex(8), order, learned)
        for _ in range(TRIES):
            try:
                found = self.link.check(sent)
            except self.link.lost:
                continue
            if isinstance(found, UserError):
                raise found
            return RemoteLane(sent, found, self.link)
        raise UserError("No replica answers; try again in a minute, and see the log of Ray if that does not help.")

    def close(self) -> None:
        self.link.close()

    def _part(self, folder: Path) -> Part:
        """What a folder holds, shared anew when its files have changed. Raises UserError if its weights have: replicas
        that read them before would write something else than those that come later."""
        with self._sharing:
            paths = [path for path in sorted(folder.rglob("*")) if path.suffix in (".json", ".safetensors")]
            paths = [path for path in paths if path.parent in (folder, folder / "self_evaluation")]
            stamp = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
            known = self._parts.get(folder)
            if known and known[0] == stamp:
                return known[1]
            files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
            weights = _digest({name: content for name, content in files.items() if name.endswith(".safetensors")})
            if self._weights.setdefault(folder, weights) != weights:
                raise UserError(
                    f"The weights in {folder} were changed after replicas had read them; start the page again, or give "
                    "the new ones a folder of their own."
                )
            part = Part(_digest(files), self.link.share(files))
            self._parts[folder] = stamp, part
            return part


def _digest(files: Files) -> str:
    """SHA-256 of names and contents."""
    whole = hashlib.sha256()
    for name, content in files.items():
        whole.update(f"{name} {len(content)} ".encode() + content)
    return whole.hexdigest()


class RemoteLane:
    """One lane that a replica writes (see `backend.LaneAtWork`). Written by a thread of its own, read by anyone."""

    def __init__(self, order: RemoteOrder, prepared: Prepared, link: Link):
        self.prompt_tokens, self.failure = prepared.prompt_tokens, None
        self._order, self._link, self._record = order, link, prepared.record
        self._stopping = self._over = False

    def begin(self, changed: Callable[[], None], ended: Callable[[], None]) -> None:
        """Have it written. `changed` is called whenever it has grown, `ended` once."""
        threading.Thread(target=self._follow, args=(changed, ended), name="remote lane", daemon=True).start()

    def stop(self) -> None:
        """End it soon; what it has written stays."""
        if not self._over:
            self._stopping = True
            self._tell()

    def _tell(self) -> None:
        """Tell its replica to stop; in a thread, since whoever stops a run must not wait for an answer."""
        threading.Thread(target=self._link.stop, args=(self._order.id,), daemon=True).start()

    @property
    def error(self) -> str | None:
        return self._record["error"]

    @property
    def status(self) -> str:
        return self._record["status"]

    def result(self) -> LaneRecord:
        """The lane as it was last heard of."""
        return self._record

    def _follow(self, changed: Callable[[], None], ended: Callable[[], None]) -> None:
        try:
            for _ in range(TRIES):
                if self._is_written(changed):
                    return
            raise UserError(
                f"{TRIES} replicas died over this lane, one after another; ask for fewer tokens or answers."
            )
        except Exception as error:  # whatever it is, nobody may wait for ever
            if isinstance(error, UserError):
                self._end("failed", error, str(error))
            else:
                log.exception("a lane was lost")
                self._end(
                    "failed", error, "Something went wrong between page and replicas; the server's log says what."
                )
        finally:
            self._over = True
            ended()

    def _is_written(self, changed: Callable[[], None]) -> bool:
        """Follow the lane on one replica. Returns whether it has ended; not if the replica died."""
        tokens: list[Any] = []
        taken = False
        try:
            for update in self._link.write(self._order):
                if update.record:
                    detail = update.record["detail"]
                    tokens = [*tokens[: update.kept], *detail["tokens"]]
                    self._take(update.record | {"detail": detail | {"tokens": tokens}}, update.last)
                if update.last:
                    if update.failure:
                        self._end("failed", update.failure, str(update.failure))
                    return True
                if self._stopping and not taken:  # it was told to stop before this replica had it
                    self._tell()
                taken = True
                changed()
        except self._link.lost as error:
            log.warning("A replica died (%s).", type(error).__name__)
        if self._stopping:
            self._end("stopped")
        return self._stopping

    def _take(self, record: LaneRecord, last: bool) -> None:
        """Show what has come, unless it is behind what another replica had written."""
        if last or record["cost"]["generated_tokens"] >= self._record["cost"]["generated_tokens"]:
            self._record = record

    def _end(self, status: str, failure: Exception | None = None, error: str | None = None) -> None:
        self.failure = failure
        reason = self._record["finish_reason"] or "stopped"
        self._record = self._record | {"status": status, "error": error, "finish_reason": reason}
