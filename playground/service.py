"""The service: a request in, a run out. Loads models when first needed, gives each lane its prompt, keeps every run.

The page, the command line and the API all come through here; none of them talks to the engine or the store.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from playground import __version__
from playground.decoders import DECODERS, decoder
from playground.decoders.base import Draft, Lane, Limits, Options, decode
from playground.engine.engine import Asking, Engine, Stopped, Task
from playground.engine.runner import Runner
from playground.errors import UserError, shown
from playground.models.fetch import Progress, no_progress
from playground.models.loading import LoadedModel, in_a_thread_that_ends, load_model, pick_device
from playground.models.prompts import encode_chat
from playground.models.readers import load_reader
from playground.models.specs import EMBEDDER, Catalogue, VariantSpec, add_found_adapters, read_catalogue
from playground.requests import LaneRequest, RunRequest
from playground.scorers import SCORERS
from playground.settings import Settings
from playground.store.connection import Connection
from playground.store.exchange import read_run, recorded_runs, write_run
from playground.store.runs import RunStore
from playground.types import Cost

log = logging.getLogger(__name__)
OPTIONS_THAT_NAME_VARIANTS = ("variant", "reference", "aligned")


def options_schema(catalogue: Catalogue, method: str) -> dict[str, Any]:
    """The JSON Schema of a method's options, its own before those it shares; variants are listed as choices."""
    kind = decoder(method).options
    schema = kind.model_json_schema()
    own = [name for name in schema["properties"] if name in kind.__annotations__]
    schema["properties"] = {n: schema["properties"][n] for n in dict.fromkeys([*own, *schema["properties"]])}
    for name in OPTIONS_THAT_NAME_VARIANTS:
        if name in schema["properties"]:
            schema["properties"][name]["enum"] = list(catalogue.writers)
            schema["properties"][name]["labels"] = {n: v.title for n, v in catalogue.writers.items()}
    return schema


def list_methods(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Every method: name, title, summary, source, and the JSON Schema of its options."""
    return [
        {
            "name": d.name,
            "title": d.title,
            "summary": d.summary,
            "source": d.source,
            "options": options_schema(catalogue, d.name),
        }
        for d in DECODERS.values()
    ]


class LaneRun:
    """One lane of a run, watched while it works. Written by the engine's worker, read by anyone."""

    def __init__(self, request: LaneRequest, options: Options, lane: Lane, models: dict[str, str]):
        self.method, self.options, self.lane, self.models = request.method, options, lane, models
        self.task: Task | None = None
        self.error: str | None = None

    def asking(self) -> Asking:
        """The decoder at work in this lane."""
        return decode(decoder(self.method), self.lane, self.options)

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

    def ended(self, task: Task) -> None:
        """Called by the engine when the task is over: note why, if it was not the answer's own end."""
        if task.error is None:
            return
        self.lane.stopped = True
        self.lane.answer = self.lane.answer or self.lane.draft()
        self.lane.answer.finish_reason = self.lane.answer.finish_reason or "stopped"
        self.lane.detail.setdefault("tokens", self.lane.answer.records)
        if isinstance(task.error, UserError):
            self.error = str(task.error)
        elif not isinstance(task.error, Stopped):
            self.error = "Something went wrong inside this method; the server's log says what."

    def result(self) -> dict[str, Any]:
        """The lane as it is saved and handed out."""
        answer = self.lane.answer
        return {
            "method": self.method,
            "status": self.status,
            "options": self.options.model_dump(),
            "models": self.models,
            "text": answer.text if answer else "",
            "token_ids": list(answer.token_ids) if answer else [],
            "finish_reason": answer.finish_reason if answer else None,
            "error": self.error,
            "cost": asdict(self.cost),
            "detail": {"tokens": list(answer.records) if answer else [], **self.lane.detail},
        }


class Run:
    """A run under way or ended. `watch` yields whenever something may have changed, until it has ended."""

    def __init__(self, request: RunRequest, lanes: list[LaneRun], origin: str):
        self.id = secrets.token_hex(5)
        self.created = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.request, self.lanes, self.origin = request, lanes, origin
        self._changed = threading.Event()
        self._over = threading.Event()
        self._open = len(lanes)
        self._ended = False
        self.notice: str | None = None
        self._count = threading.Lock()
        self.on_over = Run.close

    def note(self, draft: Draft) -> None:
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
            lane.task.stop()

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

    def watch(self, period: float) -> Iterator[None]:
        """Yield at most every `period` seconds while things change, and once more at the end."""
        while not self.over:
            self._changed.wait(1.0)
            self._changed.clear()
            yield
            time.sleep(period)
        yield

    def wait(self, timeout: float | None = None) -> None:
        if not self._over.wait(timeout):
            raise TimeoutError("the run is still going on")

    def result(self) -> dict[str, Any]:
        """The run as it is saved and handed out."""
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


class Playground:
    """Everything behind the page. Make one per process; `close` it at the end."""

    def __init__(self, settings: Settings | None = None, progress: Progress = no_progress):
        self.settings = settings or Settings()
        self.progress = progress
        self.catalogue: Catalogue = read_catalogue(self.settings.catalogue)
        self.database = Connection(self.settings.database)
        self.store = RunStore(self.database)
        self.engine = Engine(self.settings.max_lanes_at_once)
        self._runners: dict[str, Runner] = {}
        self._ready: set[str] = set()
        self._loading = threading.Lock()
        self._running: dict[str, Run] = {}
        # Of its own: while the engine's worker saves, nobody gets a token.
        self._archive = ThreadPoolExecutor(1, thread_name_prefix="archive")

    @property
    def secret(self) -> str:
        """What ids that leave this server are sealed with."""
        return self.settings.secret or self.database.secret

    def close(self) -> None:
        self.engine.close()
        self._archive.shutdown()
        self.database.close()

    def discover(self) -> None:
        """Take adapters that have been trained since into the catalogue."""
        add_found_adapters(self.catalogue, self.settings.adapters)

    def methods(self) -> list[dict[str, Any]]:
        """Every method with the JSON Schema of its options; variants are listed as choices."""
        self.discover()
        return list_methods(self.catalogue)

    def options_schema(self, method: str) -> dict[str, Any]:
        """The JSON Schema of a method's options."""
        self.discover()
        return options_schema(self.catalogue, method)

    def are_ready(self, *variants: str) -> bool:
        """Whether these variants are in memory."""
        return set(variants) <= self._ready

    def ensure(self, *variants: str, progress: Progress | None = None) -> None:
        """Make variants ready: load their models and adapters if that has not been done. Raises UserError."""
        for name in variants:
            if name not in self.catalogue.variants:
                self.discover()
            if name in self._ready:  # without the lock: a model that loads for minutes holds up nobody else
                continue
            spec = self.catalogue.variant(name)
            with self._loading:
                if name in self._ready:
                    continue
                if spec.model not in self._runners:
                    self._runners[spec.model] = self._load(spec.model, progress or self.progress)
                runner = self._runners[spec.model]
                if spec.folders:
                    in_a_thread_that_ends(partial(runner.loaded.attach, name, *spec.folders))
                self.engine.add_variant(name, runner, runner.loaded.adapter_of(name))
                self._ready.add(name)

    def _load(self, model: str, progress: Progress) -> Runner:
        def load() -> Runner:
            loaded = load_model(
                model,
                self.catalogue.models[model],
                self.settings.cache,
                pick_device(self.settings.device),
                self.settings.precision,
                progress,
            )
            return Runner(loaded, self.settings.kv_megabytes << 20)

        return in_a_thread_that_ends(load)

    def model_of(self, variant: str) -> LoadedModel:
        """The loaded model of a variant that is ready."""
        return self._runners[self.catalogue.variant(variant).model].loaded

    def start(self, request: RunRequest, origin: str = "api", progress: Progress | None = None) -> Run:
        """Begin a run and return at once (but for the loading of models). Raises UserError if it cannot begin."""
        lanes = [self.prepare(request, lane, progress) for lane in request.lanes]
        run = Run(request, lanes, origin)
        run.on_over = lambda over: self._archive.submit(self._keep, over)
        self._running[run.id] = run

        def end_of(lane: LaneRun):
            def ended(task: Task) -> None:
                lane.ended(task)
                run.lane_ended()

            return ended

        for lane in lanes:
            lane.lane.listener = run.note
            lane.task = self.engine.submit(lane.asking(), lane.cost, end_of(lane))
        return run

    def prepare(self, request: RunRequest, wanted: LaneRequest, progress: Progress | None = None) -> LaneRun:
        """One lane of a request, ready to be submitted to the engine. Raises UserError if it cannot run."""
        options = wanted.checked()
        variants = decoder(wanted.method).variants(options)
        self.ensure(*variants, progress=progress)
        models = [self.model_of(v) for v in variants]
        for other in models[1:]:
            if other is not models[0] and other.tokenizer.get_vocab() != models[0].tokenizer.get_vocab():
                raise UserError(
                    f"{wanted.method}: {models[0].name} and {other.name} have different tokenizers, so their "
                    "probabilities cannot be mixed; choose variants of models with one tokenizer."
                )

        @cache
        def encode(variant: str) -> list[int]:
            spec = self.catalogue.variant(variant)
            return encode_chat(
                self.model_of(variant).tokenizer, request.prompt, request.system, spec.prefix, request.earlier
            )

        for variant, loaded in zip(variants, models, strict=True):
            length = len(encode(variant)) + loaded.places_before(variant)
            if length + request.max_new_tokens > loaded.context:
                raise UserError(
                    f"The prompt is {length:,} tokens long for {variant}, and with {request.max_new_tokens:,} new ones "
                    f"that is over the context of {loaded.context:,}; shorten the prompt or ask for fewer tokens."
                )
        if decoder(wanted.method).embeds:
            self.ensure_reader(EMBEDDER, progress)
        lane = Lane(
            encode=encode,
            tokenizer=models[0].tokenizer,
            end_ids=models[0].end_ids,
            limits=Limits(request.max_new_tokens, request.stop),
            seed=request.seed,
            prompt=request.conversation,
            ask=partial(self._ask, room=request.max_new_tokens),
            embed=lambda texts: self.engine.readers[EMBEDDER](texts).numpy(),
        )
        return LaneRun(wanted, options, lane, {v: self._fingerprint(v) for v in variants})

    def _ask(self, variant: str, prompt: str, room: int) -> list[int]:
        """Another prompt, put to a variant: its ids. Raises UserError if it has no `room` for an answer in it."""
        loaded = self.model_of(variant)
        ids = encode_chat(loaded.tokenizer, prompt, "", self.catalogue.variant(variant).prefix)
        length = len(ids) + loaded.places_before(variant) + room
        if length > loaded.context:
            raise UserError(
                f"A question about the answer is {length:,} tokens long for {variant}, over its context of "
                f"{loaded.context:,}; shorten the prompt or ask for fewer tokens."
            )
        return ids

    def ensure_reader(self, name: str, progress: Progress | None = None) -> None:
        """Make the embedder or a classifier ready for the engine's `Read`. Raises UserError."""
        with self._loading:
            if name not in self.engine.readers:
                load = partial(
                    load_reader,
                    name,
                    self.catalogue,
                    self.settings.cache,
                    pick_device(self.settings.device),
                    progress or self.progress,
                )
                self.engine.add_reader(name, in_a_thread_that_ends(load))

    def _fingerprint(self, variant: str) -> str:
        """What exactly a variant was: model, precision, what it has learned, and prefix."""
        spec, loaded = self.catalogue.variant(variant), self.model_of(variant)
        parts = [spec.model, loaded.precision]
        if variant in loaded.learned:
            parts += [f"{kind} {digest[:12]}" for kind, digest in loaded.learned[variant].digests.items()]
        if spec.prefix:
            parts.append(f"prefix {hashlib.sha256(spec.prefix.encode()).hexdigest()[:12]}")
        return " · ".join(parts)

    def _keep(self, run: Run) -> None:
        try:
            result = run.result()
            del result["notice"]  # it tells of saving
            self.store.save(result)
        except Exception as error:  # a full disk, say: the answers are there all the same
            log.exception("a run could not be saved")
            run.notice = f"This run could not be saved ({error}); copy what you need before you leave the page."
        finally:
            self._running.pop(run.id, None)
            run.close()

    def compare(self, request: RunRequest, origin: str = "api") -> dict[str, Any]:
        """Run to the end and return the result."""
        run = self.start(request, origin)
        try:
            run.wait()
        finally:
            run.stop()
        return run.result()

    def each(
        self, jobs: list[tuple[str, LaneRequest, int]], max_new_tokens: int, watch: Progress = no_progress
    ) -> Iterator[dict[str, Any]]:
        """Many lanes, each (prompt, lane, seed), in shared batches; the lanes' results in order, as they come.
        Nothing is saved. Left early, what is still to do is stopped."""
        works: deque[LaneRun] = deque()
        try:
            for prompt, lane, seed in jobs:
                request = RunRequest.checked(prompt=prompt, lanes=[lane], max_new_tokens=max_new_tokens, seed=seed)
                work = self.prepare(request, lane)
                work.task = self.engine.submit(work.asking(), work.cost, work.ended)
                works.append(work)
            for done in range(1, len(jobs) + 1):
                work = works.popleft()
                work.task.wait()
                watch(done / len(jobs), f"{done} of {len(jobs)} answers")
                yield work.result()
        finally:
            for work in works:
                work.task.stop()

    def scores(self, name: str, texts: list[tuple[str, str]], variant: str = "reference") -> list[float]:
        """A scorer on (prompt, response) pairs, in shared batches; `variant` is taken for the one that wrote them."""
        if name not in SCORERS:
            raise UserError(f"There is no scorer {shown(name)}; choose one of: {', '.join(SCORERS)}.")
        scorer = SCORERS[name]
        self.ensure(variant, *scorer.variants)
        tasks = []
        for prompt, response in texts:
            request = RunRequest.checked(prompt=prompt, lanes=[{"method": "greedy"}], max_new_tokens=1)
            lane = self.prepare(request, LaneRequest(method="greedy", options={"variant": variant})).lane
            ids = lane.ids(response)
            given = Draft(lane, 0, token_ids=[*ids, lane.tokenizer.eos_token_id] if ids else [], text=response)
            tasks.append(self.engine.submit(scorer.run(lane, variant, [given])))
        return [task.wait()[0] for task in tasks]

    def adapter_variant(self, name: str) -> str:
        """The variant of an adapter given by a variant's name or as a folder, which is added to the catalogue."""
        if name in self.catalogue.variants:
            return name
        folder = Path(name).resolve()
        if not (folder / "adapter_config.json").is_file():
            raise UserError(
                f"{shown(name)} is neither a variant ({', '.join(self.catalogue.variants)}) nor an adapter's folder."
            )
        model = self.catalogue.variant("reference").model
        self.catalogue.variants[folder.name] = VariantSpec(title=folder.name, model=model, adapter=folder)
        return folder.name

    def open_run(self, run_id: str) -> dict[str, Any]:
        """A run by its id, whether it is still going on or saved. Raises UserError."""
        running = self._running.get(run_id)
        return running.result() if running else self.store.load(run_id) | {"notice": None}

    def recent(self, origin: str | None, search: str = "") -> list[dict[str, Any]]:
        """The newest saved runs, of one origin or of all."""
        return self.store.recent(origin, search)

    def export_run(self, run_id: str) -> bytes:
        """A saved run as the content of a file. Raises UserError."""
        return write_run(self.store.load(run_id))

    def import_run(self, content: bytes, origin: str) -> str:
        """Keep a run from a file's content; returns its id. The same file twice is one run. Raises UserError."""
        run = read_run(content, origin, lambda run_id: self.store.load(run_id) if self.store.has(run_id) else None)
        for lane in run["lanes"]:
            LaneRequest(method=lane["method"], options=lane["options"]).checked()
        return self._take(run)

    def recorded(self) -> list[tuple[str, str]]:
        """(id, prompt) of the runs that come with the project, which are kept like all others."""
        return [(self._take(run), run["prompt"]) for run in recorded_runs()]

    def _take(self, run: dict[str, Any]) -> str:
        if not self.store.has(run["id"]):
            self.store.save(run)
        return run["id"]

    def stop(self, run_id: str) -> None:
        """Stop a run if it is still going on."""
        if running := self._running.get(run_id):
            running.stop()
