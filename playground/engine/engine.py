"""The engine: one worker thread that drives all tasks in step and runs what they ask for in shared batches.

    while there are tasks:
        advance every task until it asks for something or ends
        run one batch per model: all short extensions together, and as many chunks of long ones as a pass takes
        have readers read some texts of each task that asked for it

There is no timer: a batch holds what all tasks asked for while the last one ran. Where that is more than one pass
takes, owners take turns: who asks for much waits longer, and nobody else does. A task's answers do not depend on which
other tasks there are (see runner).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import takewhile, zip_longest
from typing import Any

import torch

from playground.engine.kv import OutOfBlocks, Sequence
from playground.engine.requests import Extend, Next, Open, Opened, Read, Request, SoftPrompt, Text, Want
from playground.engine.runner import CHUNK, PART, ROWS, SHORT, WIDE, Runner
from playground.errors import UserError, shown
from playground.models.learned import Learned
from playground.types import Cost

WIDE_ROUNDS = 5
"""While others write a few rows each, a wide pass runs in one round of so many: it takes as long as several."""
OPENINGS_KEPT = 16
"""Openings (prompts) whose keys and values stay after their run."""
TEXTS_READ = 16
"""Texts of one request that are read in one round: other lanes wait no longer for their tokens."""

log = logging.getLogger(__name__)
Asking = Generator[list[Request], list[Any], Any]
"""A decoder at work: yields requests, is sent their answers, returns its result."""
Owner = tuple[str, ...]
"""Whose a task is, from the outermost group of people inwards; each level shares evenly."""
Reader = Callable[[list[Text]], torch.Tensor]
"""Texts, or (prompt, answer) pairs → what a model makes of each [texts, size], in fp32."""


class Stopped(Exception):
    """Thrown into a task that is to end now with what it has."""


@dataclass(eq=False)
class _Job:
    """One request under way: the input still to be run and the hidden states so far."""

    request: Request
    sequence: Sequence
    inputs: torch.Tensor
    adapter: str | None
    runner: Runner
    before: torch.Tensor | None
    long: bool
    wide: bool
    since: int
    """The round in which it was asked for."""
    parts: list[torch.Tensor] = field(default_factory=list)
    answer: Any = None
    done: bool = False

    @property
    def want(self) -> Want:
        return self.request.want if isinstance(self.request, Extend) else Want.NEXT


@dataclass(eq=False)
class _Reading:
    """One list of texts under way."""

    reader: Reader
    texts: tuple[Text, ...]
    parts: list[torch.Tensor] = field(default_factory=list)
    answer: Any = None
    done: bool = False
    runner = None
    inputs = ()

    def read_on(self) -> None:
        batch, self.texts = self.texts[:TEXTS_READ], self.texts[TEXTS_READ:]
        if batch:
            self.parts.append(self.reader(list(batch)).float().cpu())
        if not self.texts:
            self.answer = torch.cat(self.parts) if self.parts else torch.zeros(0, 0)
            self.done = True


class Task:
    """A running decoder. `cost` grows while it runs; `wait` gives its result."""

    def __init__(self, asking: Asking, cost: Cost, on_end: Callable[[Task], None] | None, owner: Owner, wide: bool):
        self.asking, self.cost, self.on_end, self.owner, self.wide = asking, cost, on_end, owner, wide
        self.result: Any = None
        self.error: BaseException | None = None
        self.sequences: set[Sequence] = set()
        self._jobs: list[_Job | _Reading] = []
        self._stop = False
        self._begun = False
        self._started: float | None = None
        self._ended = threading.Event()

    def stop(self) -> None:
        """Ask the task to end with what it has; it does so after the batch under way."""
        self._stop = True

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def wait(self, timeout: float | None = None) -> Any:
        """The decoder's result. Raises what it raised, or TimeoutError."""
        if not self._ended.wait(timeout):
            raise TimeoutError("the task is still running")
        if self.error:
            raise self.error
        return self.result


class Engine:
    """Runs tasks. Variants and readers are added before they are asked for; a variant names its runner and maybe an
    adapter."""

    def __init__(self, max_tasks: int = 24):
        self._variants: dict[str, tuple[Runner, str | None]] = {}
        self.readers: dict[str, Reader] = {}
        self._openings: OrderedDict[tuple, Sequence] = OrderedDict()
        self._kept: set[Sequence] = set()
        self._waiting: deque[Task] = deque()
        self._active: list[Task] = []
        self._max_tasks = max_tasks
        self._round = 0
        self._wake = threading.Condition()
        self._closed = False
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        self._worker.start()

    def add_variant(self, name: str, runner: Runner, adapter: str | None = None) -> None:
        self._variants[name] = (runner, adapter)

    def variant(self, name: str) -> tuple[Runner, str | None]:
        """The runner of a variant and its adapter."""
        return self._variants[name]

    def add_reader(self, name: str, reader: Reader) -> None:
        """Let tasks ask for `Read(name, ...)`. The reader is called on the worker alone, for one request at a time."""
        self.readers[name] = reader

    def submit(
        self,
        asking: Asking,
        cost: Cost | None = None,
        on_end: Callable[[Task], None] | None = None,
        owner: Owner = (),
        rows: int = 1,
    ) -> Task:
        """Queue a decoder of `owner`, which mostly extends so many `rows` at once: from WIDE on, all its short
        extensions run through the kernel for many. Its use is counted in `cost`; `on_end` is called on the worker when
        it has ended in whatever way. Raises TypeError for what is no generator."""
        if not isinstance(asking, Generator):
            raise TypeError(f"the engine runs generators, not a {type(asking).__name__}")
        task = Task(asking, cost or Cost(), on_end, owner, rows >= WIDE)
        with self._wake:
            self._waiting.append(task)
            self._wake.notify()
        return task

    def close(self) -> None:
        """Stop all tasks and the worker, and give the memory of texts back, whoever still holds one."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._worker.join()
        for runner, _ in self._variants.values():
            runner.pool.close()

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values held now, prompts kept for reuse included."""
        return sum(runner.pool.used_bytes for runner in {r for r, _ in self._variants.values()})

    def forget_openings(self) -> None:
        """Drop the kept prompts; only safe while nothing runs."""
        while self._openings:
            self._openings.popitem()[1].release()

    def _work(self) -> None:
        while True:
            with self._wake:
                while not (self._active or self._waiting or self._closed):
                    self._wake.wait()
                if self._closed:
                    for task in (*self._active, *self._waiting):
                        task.stop()
                self._admit()
            self._round += 1
            for task in list(self._active):
                self._advance(task)
            if self._closed and not self._active and not self._waiting:
                return
            try:
                self._run_batch()
            except Exception as error:  # a broken pass must not take the worker, and so every later run, with it
                log.exception("a batch failed")
                for task in [t for t in self._active if t._jobs]:
                    self._end(task, error=error)

    def _admit(self) -> None:
        """Let waiting tasks in while there is room, owners in turns. Those that are to stop need none; and an owner who
        has nothing under way gets in beside full room, up to as much again."""
        at_work = Counter(task.owner for task in self._active)
        turns = Counter()
        waiting = []
        for task in self._waiting:
            waiting.append((at_work[task.owner] + turns[task.owner], task))
            turns[task.owner] += 1
        for before, task in sorted(waiting, key=lambda pair: pair[0]):
            room = self._max_tasks if before else 2 * self._max_tasks
            if task._stop or len(self._active) < room:
                self._waiting.remove(task)
                self._active.append(task)

    def _advance(self, task: Task) -> None:
        """Send a task its answers until it asks for something that must be computed, or ends."""
        if task._started is None:
            task._started = time.perf_counter()
        answers: list[Any] | None = None  # as the first thing that a generator is sent must be
        try:
            if task._stop:
                task.asking.throw(Stopped())
                raise Stopped  # it asked for more: it does not know how to end early
            if all(job.done for job in task._jobs):  # once a round, also for one that asks for nothing
                if task._begun:
                    answers = [job.answer for job in task._jobs]
                task._begun, task._jobs = True, []
                task.cost.seconds = time.perf_counter() - task._started
                self._requests_of(task, task.asking.send(answers))
        except StopIteration as end:
            self._end(task, result=end.value)
        except BaseException as error:  # a method may raise SystemExit, and the worker must go on
            if not isinstance(error, (UserError, Stopped)):
                log.exception("a task failed")
            self._end(task, error=error)

    def _requests_of(self, task: Task, requests: list[Request]) -> None:
        task._jobs = []
        for request in requests:
            task._jobs.append(self._reading(request) if isinstance(request, Read) else self._job(task, request))
        tokens = sum(len(job.inputs) for job in task._jobs)
        task.cost.forward_tokens += tokens
        task.cost.forward_passes += tokens > 0

    def _reading(self, request: Read) -> _Reading:
        if request.reader not in self.readers:
            raise UserError(
                f"There is no reader {shown(request.reader)} of texts; there are: {', '.join(self.readers) or 'none'}."
            )
        return _Reading(self.readers[request.reader], request.texts)

    def _job(self, task: Task, request: Open | Extend | Next) -> _Job:
        if isinstance(request, Open):
            runner, adapter = self._variants[request.variant]
            sequence = Sequence(runner.pool, request.variant, task.sequences)
        else:
            sequence = request.sequence
            runner, adapter = self._variants[sequence.variant]
        learned = runner.loaded.learned.get(sequence.variant, Learned())
        given = () if isinstance(request, Next) else request.tokens
        if isinstance(given, SoftPrompt):
            inputs = _learned_prompt(learned, given.name, sequence.variant)
            adapter = learned.adapters.get(given.name, adapter)
        else:
            inputs = given if isinstance(given, torch.Tensor) else runner.embed(given)
        if inputs.dim() != 2 or inputs.shape[1] != runner.loaded.model.config.hidden_size:
            raise ValueError(f"vectors of {tuple(inputs.shape)} are none of this model")
        if isinstance(request, Open) and (before := learned.prompts.get("soft_prompt")) is not None:
            inputs = torch.cat([before.to(inputs.dtype), inputs])
        if isinstance(request, Extend):
            if not len(inputs) and request.want in (Want.HIDDEN, Want.VALUES):
                raise ValueError("nothing has no hidden states and no values")
            if request.want in (Want.SCORES, Want.ALL) and sequence.hidden is None:
                raise ValueError("scores need a token before the first one")
            if request.want is Want.SCORES and not isinstance(given, tuple):
                raise ValueError("only token ids have scores, vectors have none")
            if request.want is Want.VALUES and learned.value_head is None:
                raise UserError(f"The variant {shown(sequence.variant)} has no value head; choose one that has.")
        if len(inputs) and any(len(job.inputs) and job.sequence is sequence for job in task._jobs):
            raise ValueError("one list of requests extends a sequence twice; fork it")
        return _Job(
            request=request,
            sequence=sequence,
            inputs=inputs.to(runner.device, runner.loaded.dtype),
            adapter=adapter,
            runner=runner,
            before=sequence.hidden,
            long=isinstance(request, Open) or len(inputs) > SHORT,
            wide=task.wide,
            since=self._round,
        )

    def _end(self, task: Task, result: Any = None, error: BaseException | None = None) -> None:
        try:
            task.asking.close()
        except BaseException:  # it went on although it was told to end
            log.exception("a task could not be closed")
        task.result, task.error = result, error
        task.cost.seconds = time.perf_counter() - task._started
        task._jobs = []
        for sequence in list(task.sequences):
            sequence.release()
        self._active.remove(task)
        task._ended.set()
        if task.on_end:
            try:
                task.on_end(task)
            except Exception:
                log.exception("what follows the end of a task failed")

    def _run_batch(self) -> None:
        for runner in {job.runner for task in self._active for job in task._jobs} - {None}:
            few, wide = ([(t, j) for t, j in self._undone(runner) if not j.long and j.wide is w] for w in (False, True))
            others = {task.owner for task, job in few if len(job.inputs)} - {task.owner for task, _ in wide}
            self._guarded(self._run_short, few)
            if not others or self._round % WIDE_ROUNDS == 0:
                self._guarded(self._run_short, wide)
            self._guarded(self._run_long, [(t, j) for t, j in self._undone(runner) if j.long])
            self._end_the_broken([(t, j) for t, j in self._undone(runner) if j.parts])
            self._answer(runner, [job for _, job in self._undone(runner) if len(job.inputs) == 0])
        for task, job in self._undone(None):
            try:
                job.read_on()
            except Exception as error:  # of one text, say: it ends its own task alone
                if not isinstance(error, UserError):
                    log.exception("a reader failed")
                self._fail(task, error)

    def _undone(self, runner: Runner | None) -> list[tuple[Task, Any]]:
        """The open jobs of a runner, or all readings, of tasks that still run; one may have ended a moment ago."""
        return [(t, job) for t in self._active for job in t._jobs if job.runner is runner and not job.done]

    def _guarded(self, run: Callable, pairs: list[tuple[Task, _Job]]) -> None:
        """A full store ends the task that asked for more, and no other."""
        for task, _ in run(pairs):
            if task in self._active:
                log.warning("the KV store is full: a task ends")
                self._fail(task, OutOfBlocks())

    def _end_the_broken(self, pairs: list[tuple[Task, _Job]]) -> None:
        """End tasks whose numbers are none, and clear what they wrote: others will use these places."""
        if not pairs:
            return
        whole = torch.stack([job.sequence.hidden for _, job in pairs]).isfinite().all(1).tolist()
        for task, job in [pair for pair, good in zip(pairs, whole, strict=True) if not good]:
            if (kept := self._openings.pop(_opening(job), None)) is not None:
                kept.release()
            if task in self._active:
                for sequence in task.sequences:
                    sequence.clear()
                self._fail(task, UserError(f"{shown(job.sequence.variant)} gives numbers that are none (NaN)."))

    def _fail(self, task: Task, error: Exception) -> None:
        """Tell a task what went wrong; it may still end with what it has."""
        try:
            task.asking.throw(error)
        except StopIteration as end:
            self._end(task, result=end.value)
        except BaseException as raised:
            self._end(task, error=raised)
        else:
            self._end(task, error=error)

    def _run_short(self, pairs: list[tuple[Task, _Job]]) -> list[tuple[Task, _Job]]:
        """Run one packed pass of short extensions, owners in turns; returns those for which there was no room. Where
        several owners ask, who has rows in the pass already gets more of them only up to half of it: a full pass takes
        several times as long as one row, and everybody waits for it."""
        refused, batch, rows, inside = [], [], 0, set()
        several = len({task.owner for task, _ in pairs}) > 1
        for task, job in _in_turns(pairs):
            if not len(job.inputs):
                continue
            if rows + len(job.inputs) > ROWS:
                break
            if several and task.owner in inside and rows + len(job.inputs) > ROWS // 2:
                continue
            if not self._grow(job.sequence, len(job.inputs)):
                refused.append((task, job))
                continue
            batch.append(job)
            inside.add(task.owner)
            rows += len(job.inputs)
        if batch:
            batch.sort(key=lambda job: job.adapter or "")
            some = [(job.sequence, job.inputs, job.adapter) for job in batch]
            hidden = batch[0].runner.short(some, batch[0].wide)
            for job, states in zip(batch, hidden, strict=True):
                self._ran(job, len(job.inputs), states)
        return refused

    def _run_long(self, pairs: list[tuple[Task, _Job]]) -> list[tuple[Task, _Job]]:
        """Run one chunk of the first long extension, and of those after it that still fit into the pass, owners in
        turns. Openings that are known need none, those with a known beginning go on behind it, and one that is under
        way is not begun again."""
        refused, batch, rows = [], [], 0
        under_way = {_opening(job) for _, job in pairs if job.parts} - {None}
        for task, job in _in_turns(pairs):
            if not len(job.inputs):
                continue
            key = _opening(job)
            if key in self._openings and not job.parts:
                self._openings.move_to_end(key)
                known = self._openings[key].fork(task.sequences)
                job.sequence.release()
                job.sequence, job.inputs = known, job.inputs[:0]
                continue
            if key in under_way and not job.parts:
                continue
            if key and not job.parts and not job.sequence.length:
                self._begin_as_known(task, job)
            part = job.inputs[:CHUNK]
            if rows + len(part) > CHUNK:
                break
            if not self._grow(job.sequence, len(part)):
                refused.append((task, job))
                continue
            under_way |= {key} - {None}
            batch.append((job, part))
            rows += len(part)
        if batch:
            hidden = batch[0][0].runner.long([(job.sequence, part, job.adapter) for job, part in batch])
            for (job, part), states in zip(batch, hidden, strict=True):
                self._ran(job, len(part), states)
        return refused

    def _begin_as_known(self, task: Task, job: _Job) -> None:
        """Let an opening share the parts that it has in common with a kept one of its variant, as a system prompt or
        the earlier turns of a conversation; its last token is always read."""
        tokens = job.request.tokens
        before = len(job.inputs) - len(tokens)
        found = [
            (before + _in_common(tokens, known), (variant, known))
            for variant, known in self._openings
            if variant == job.sequence.variant
        ]
        common, key = max(found, default=(0, None))
        if shared := min(common, len(job.inputs) - 1) // PART * PART:
            self._openings.move_to_end(key)
            job.sequence.release()
            job.sequence, job.inputs = self._openings[key].beginning(shared, task.sequences), job.inputs[shared:]

    def _ran(self, job: _Job, tokens: int, states: torch.Tensor) -> None:
        job.inputs = job.inputs[tokens:]
        job.parts.append(states)
        job.sequence.hidden = states[-1]
        if not len(job.inputs) and (key := _opening(job)):
            self._keep(key, job.sequence)

    def _keep(self, key: tuple, sequence: Sequence) -> None:
        if key not in self._openings:
            self._openings[key] = sequence.fork(self._kept)
        while len(self._openings) > OPENINGS_KEPT:
            self._openings.popitem(last=False)[1].release()

    def _grow(self, sequence: Sequence, tokens: int) -> bool:
        """Make room, at the expense of kept prompts if need be."""
        while True:
            try:
                sequence.grow(tokens)
                return True
            except OutOfBlocks:
                if not self._openings:
                    return False
                self._openings.popitem(last=False)[1].release()

    @staticmethod
    def _answer(runner: Runner, jobs: list[_Job]) -> None:
        """Turn hidden states into what was wanted; the head runs once for all next-token distributions of a kind."""
        next_token = [job for job in jobs if job.want is Want.NEXT and job.sequence.hidden is not None]
        for wide in (False, True):
            if some := [job for job in next_token if job.wide is wide]:
                log_probs = runner.log_probs(torch.stack([job.sequence.hidden for job in some]), wide).cpu()
                for job, row in zip(some, log_probs, strict=True):
                    job.answer = row
        for job in jobs:
            if job.want in (Want.SCORES, Want.ALL):
                states = torch.cat([job.before[None], *job.parts])[:-1]
                if job.want is Want.SCORES:
                    job.answer = runner.scores(states, job.request.tokens)
                else:
                    job.answer = runner.log_probs(states, len(states) > SHORT).cpu()
            elif job.want is Want.HIDDEN:
                job.answer = torch.cat(job.parts).float().cpu()
            elif job.want is Want.VALUES:
                head = runner.loaded.learned[job.sequence.variant].value_head
                job.answer = runner.values(torch.cat(job.parts), head)
            if isinstance(job.request, Open):
                job.answer = Opened(job.sequence, job.answer)
            job.done = True


def _in_turns(pairs: list[tuple[Task, _Job]]) -> list[tuple[Task, _Job]]:
    """Jobs in the order in which they are run: owners in turns, within an owner the next level of owners, at last its
    tasks; who has waited longest begins."""

    def ordered(pairs: list[tuple[Task, _Job]], level: int) -> list[tuple[Task, _Job]]:
        groups: dict[Any, list[tuple[Task, _Job]]] = defaultdict(list)
        for task, job in pairs:
            groups[(*task.owner, task)[level]].append((task, job))
        parts = [ordered(part, level + 1) if part[0][0].owner[level:] else part for part in groups.values()]
        parts.sort(key=lambda part: min(job.since for _, job in part))
        return [pair for turn in zip_longest(*parts) for pair in turn if pair]

    return ordered(pairs, 0)


def _learned_prompt(learned: Learned, name: str, variant: str) -> torch.Tensor:
    if name not in learned.prompts:
        raise UserError(
            f"The variant {shown(variant)} has learned no prompt {shown(name)}; it has: "
            f"{', '.join(learned.prompts) or 'none'}."
        )
    return learned.prompts[name]


def _in_common(some: tuple[int, ...], others: tuple[int, ...]) -> int:
    """With how many tokens both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(some, others, strict=False)))


def _opening(job: _Job) -> tuple | None:
    """By what an opening is known; None for other requests."""
    return (job.sequence.variant, tuple(job.request.tokens)) if isinstance(job.request, Open) else None
