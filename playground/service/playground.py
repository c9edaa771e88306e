"""The service: a request in, a run out. The page, the command line and the API all come through here; none of them
talks to the engine or the store.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from playground.branch.lane import Draft, Lane, Limits
from playground.decoders.base import policies, readers
from playground.engine.engine import Engine, Owner, Task
from playground.errors import UserError, shown
from playground.models.fetch import Progress, no_progress
from playground.models.specs import Catalogue, VariantSpec, kinds_in, read_catalogue, told_by_training
from playground.policy import Policy
from playground.record import LaneRecord, RunRecord
from playground.requests import LaneRequest, PromptRequest, RunRequest
from playground.scorers import ScorerChoice
from playground.scorers.p_correct import PROMPT
from playground.service import calibration
from playground.service.archive import Archive
from playground.service.calibration import Calibration
from playground.service.crowd import Crowd
from playground.service.crowd import Limits as CrowdLimits
from playground.service.memory import Memory
from playground.service.methods import labels, list_methods, list_scorers, options_schema
from playground.service.running import Continuation, LaneRun, Run
from playground.service.snapshots import Snapshots
from playground.settings import Settings
from playground.store.connection import Connection

log = logging.getLogger(__name__)
_ENDING = 10.0
"""Seconds that a run which was stopped may take to end."""


class Playground:
    """Everything behind the page. Make one per process; `close` it at the end."""

    def __init__(self, settings: Settings | None = None, progress: Progress = no_progress):
        self.settings = settings or Settings()
        self.catalogue: Catalogue = read_catalogue(self.settings.catalogue)
        self.database = Connection(self.settings.database)
        self.archive = Archive(self.database)
        self.engine = Engine(self.settings.max_lanes_at_once)
        self.memory = Memory(self.settings, self.catalogue, self.engine, progress)
        self.crowd = Crowd(CrowdLimits(at_once=self.settings.max_lanes_at_once))
        self.snapshots = Snapshots(self.database, self.settings)
        self.owner_token = self.settings.owner_token or secrets.token_urlsafe()
        self._running: dict[str, Run] = {}

    @property
    def secret(self) -> str:
        """What ids that leave this server are sealed with."""
        return self.settings.secret or self.database.secret

    def new_visitor(self) -> str:
        """A signed id for somebody who comes for the first time."""
        name = secrets.token_hex(16)
        return f"{name}.{self._visitor_seal(name)}"

    def is_visitor(self, visitor: object) -> bool:
        """Whether this server gave this id."""
        name, _, seal = visitor.partition(".") if isinstance(visitor, str) else ("", "", "")
        return bool(name) and hmac.compare_digest(seal.encode(), self._visitor_seal(name).encode())

    def _visitor_seal(self, name: str) -> str:
        return hmac.new(self.secret.encode(), f"visitor {name}".encode(), hashlib.sha256).hexdigest()[:32]

    def check_owner(self, token: str | None) -> None:
        """Raise UserError unless this is the owner's token."""
        if not hmac.compare_digest(str(token or "").encode(), self.owner_token.encode()):
            raise UserError(
                "This needs the owner's token. It is printed when the server starts, in the address to open, or it is "
                "what PLAYGROUND_OWNER_TOKEN was set to."
            )

    def voter(self, visitor: str) -> str:
        """The stored id of a visitor who votes or judges: a hash with this server's secret in it."""
        return hashlib.sha256(f"{self.secret} voter {visitor}".encode()).hexdigest()[:16]

    @property
    def browser_key(self) -> str:
        """What browsers keep their own state with. It is public: every page carries it."""
        return hmac.new(self.secret.encode(), b"browser", hashlib.sha256).hexdigest()

    def close(self) -> None:
        self.snapshots.close()
        self.engine.close()
        self.archive.close()
        self.database.close()

    def methods(self) -> list[dict[str, Any]]:
        """Every method with the JSON Schema of its options; models are listed as examples."""
        self.memory.discover()
        return list_methods(self.catalogue)

    def options_schema(self, method: str) -> dict[str, Any]:
        """The JSON Schema of a method's options."""
        self.memory.discover()
        return options_schema(self.catalogue, method)

    def scorers(self) -> list[tuple[str, str]]:
        """(label, name) of every scorer that can be used, for lists to choose from."""
        return [(label, name) for name, label in labels(list_scorers(self.catalogue)).items()]

    def is_ready_for(self, lanes: Iterable[LaneRequest]) -> bool:
        """Whether all that these lanes ask is in memory. Raises UserError for a model that is unknown."""
        return all(
            self.memory.are_ready(*self.memory.variants_of(*policies(lane.options)))
            and self.memory.are_readers_ready(*readers(lane.options))
            for lane in lanes
        )

    def load_for(self, lanes: Iterable[LaneRequest], progress: Progress) -> None:
        """Bring all that these lanes ask into memory. Raises UserError."""
        for lane in lanes:
            self.memory.ensure(*self.memory.variants_of(*policies(lane.options)), progress=progress)
            self.memory.ensure_readers(*readers(lane.options), progress=progress)

    def start(
        self,
        request: RunRequest,
        origin: str = "api",
        progress: Progress | None = None,
        owner: Owner = (),
        continuation: Continuation | None = None,
    ) -> Run:
        """Begin a run of `owner` and return at once (but for the loading of models). A request of one lane may be a
        `continuation`: then the lanes that stand are lanes of this run, too. Raises UserError if it cannot begin."""
        lanes = [self.prepare(request, lane, progress) for lane in request.lanes]
        shown = lanes
        if continuation:
            [new] = lanes
            new.lane.known = continuation.known
            new.lane.detail["fork"] = {"lane": continuation.parent, "at": continuation.at}
            new.lane.begun()
            shown = continuation.around(new)
        run = Run(request, shown, origin)
        run.on_over = lambda over: self.archive.keep(over, self._is_kept)
        self._running[run.id] = run

        def end_of(lane: LaneRun):
            def ended(task: Task) -> None:
                lane.ended(task)
                run.lane_ended()

            return ended

        for lane in lanes:
            lane.lane.listener = run.note
            lane.task = self.engine.submit(lane.asking(), lane.cost, end_of(lane), owner, lane.options.branches)
        return run

    def _is_kept(self, run: Run) -> None:
        self._running.pop(run.id, None)
        run.close()

    def prepare(self, request: RunRequest, wanted: LaneRequest, progress: Progress | None = None) -> LaneRun:
        """One lane of a request, ready to be submitted to the engine. Raises UserError if it cannot run."""
        variants, lane = self._lane(
            request, wanted.method, policies(wanted.options), readers(wanted.options), wanted.begin, progress
        )
        return LaneRun(wanted, lane, {variant: self.memory.fingerprint(variant) for variant in variants})

    def _lane(
        self,
        request: PromptRequest,
        subject: str,
        asked: Iterable[Policy],
        read_by: Iterable[str],
        begin: tuple[int, ...] | str = (),
        progress: Progress | None = None,
    ) -> tuple[tuple[str, ...], Lane]:
        """A lane, and the variants behind the policies it asks, which are made ready. `subject` names it in errors."""
        memory, room = self.memory, request.max_new_tokens
        variants = memory.variants_of(*asked)
        if not variants:
            raise UserError(f"{subject} names no model; give it an option of type Policy.")
        memory.ensure(*variants, progress=progress)
        memory.ensure_readers(*read_by, progress=progress)
        memory.check_one_tokenizer(subject, variants)
        first = memory.model_of(variants[0])

        @cache
        def encode(variant: str) -> list[int]:
            return memory.encode(variant, request.prompt, room, "The prompt", request.system, request.earlier)

        for variant in variants:
            encode(variant)
        lane = Lane(
            encode=encode,
            tokenizer=first.tokenizer,
            end_ids=first.end_ids,
            limits=Limits(room, request.stop),
            seed=request.seed,
            prompt=request.conversation,
            ask=partial(memory.encode, room=room, what="A question about the answer"),
            resolve=self.catalogue.resolve,
            calibrated=self._threshold,
        )
        lane.begin = tuple(lane.ids(begin)) if isinstance(begin, str) else begin
        known = first.model.config.vocab_size
        if any(token >= known for token in lane.begin):
            raise UserError(
                f"The answer begins with token {max(lane.begin)}, but the model knows {known:,} tokens only."
            )
        if len(lane.begin) > room:
            raise UserError(
                f"The answer begins with {len(lane.begin):,} tokens, over its limit of {room:,}; raise the limit."
            )
        return variants, lane

    def compare(
        self,
        request: RunRequest,
        origin: str = "api",
        owner: Owner = (),
        hold: Callable[[Run], Run] = lambda run: run,
    ) -> RunRecord:
        """Run to the end and return the result; `hold` is told of the run when it has begun."""
        run = hold(self.start(request, origin, owner=owner))
        try:
            run.wait()
        finally:
            run.stop()
        return run.result()

    def each(
        self,
        jobs: list[tuple[str, LaneRequest, int]],
        max_new_tokens: int,
        watch: Progress = no_progress,
        owner: Owner = (),
    ) -> Iterator[LaneRecord]:
        """Many lanes, each (prompt, lane, seed), in shared batches; the lanes' results in order, as they come.
        Nothing is saved. Left early, what is still to do is stopped."""
        works: deque[LaneRun] = deque()
        try:
            for prompt, lane, seed in jobs:
                request = RunRequest.checked(prompt=prompt, lanes=[lane], max_new_tokens=max_new_tokens, seed=seed)
                work = self.prepare(request, lane)
                work.task = self.engine.submit(work.asking(), work.cost, work.ended, owner, work.options.branches)
                works.append(work)
            for done in range(1, len(jobs) + 1):
                work = works.popleft()
                work.task.wait()
                watch(done / len(jobs), f"{done} of {len(jobs)} answers")
                yield work.result()
        finally:
            for work in works:
                work.task.stop()

    def scores(
        self,
        scorer: str,
        texts: list[tuple[str, str]],
        variant: str = "reference",
        soft: bool = False,
        watch: Progress = no_progress,
    ) -> list[float]:
        """A scorer on (prompt, response) pairs, in shared batches; `variant` is taken for what wrote them. `soft` asks
        for graded values where the scorer gives verdicts. Raises UserError."""
        choice, writer, tasks = ScorerChoice(scorer), Policy(variant), []
        for prompt, response in texts:
            request = PromptRequest.checked(prompt=prompt, max_new_tokens=1)
            _, lane = self._lane(request, choice.name, (writer, *policies(choice.options)), readers(choice.options))
            ids = lane.ids(response)
            given = Draft(lane, 0, token_ids=[*ids, lane.tokenizer.eos_token_id] if ids else [], text=response)
            tasks.append(self.engine.submit(choice.run(lane, writer, [given], soft)))
        found: list[float] = []
        for task in tasks:
            found += task.wait()
            watch(len(found) / len(tasks), f"{len(found)} of {len(tasks)} answers are scored")
        return found

    def learned_variant(self, name: str) -> str:
        """The variant of what was learned, given by a variant's name or as a folder, which is added to the catalogue.
        Raises UserError."""
        if name in self.catalogue.variants:
            return name
        folder = Path(name).resolve()
        if not kinds_in(folder):
            raise UserError(
                f"{shown(name)} is neither a variant ({', '.join(self.catalogue.variants)}) nor a folder with an "
                "adapter or another part that was learned."
            )
        model = told_by_training(folder)[0] or self.catalogue.variant("reference").model
        if model not in self.catalogue.models:
            raise UserError(f"{folder} was trained for the model {shown(model)}, which is not in models.yaml; add it.")
        self.catalogue.variants[folder.name] = VariantSpec(title=folder.name, model=model, learned=(folder,))
        return folder.name

    def self_evaluation_of(self, variant: str) -> Path:
        """The folder of a variant's learned self-evaluation. Raises UserError if it has none."""
        folder = self.catalogue.variant(variant).folder_of(PROMPT)
        if folder is None:
            having = [name for name, spec in self.catalogue.variants.items() if spec.folder_of(PROMPT)]
            raise UserError(
                f"The variant {shown(variant)} has learned no self-evaluation; choose one that has: "
                f"{', '.join(having) or 'none is there, train one with train aspire'}."
            )
        return folder

    def calibration(self, variant: str) -> Calibration | None:
        """What was found of a variant's confidence, if it was found for the weights that it has now."""
        folder = self.catalogue.variant(variant).folder_of(PROMPT)
        found = calibration.read(folder) if folder else None
        if found:
            self.memory.ensure(variant)
            if found.fingerprint != (now := self.memory.fingerprint(variant)):
                log.warning(
                    "The calibration in %s is not used: it was made for %s, and %s is now %s. Run calibrate again.",
                    folder,
                    found.fingerprint,
                    variant,
                    now,
                )
                return None
        return found

    def calibration_for(self, policy: Policy, alpha: float, evaluation: str) -> Calibration | None:
        """The same of a policy with these options of its confidence; mixtures have none."""
        policy = self.catalogue.resolve(policy)
        found = self.calibration(policy.names[0]) if policy.plain else None
        return found if found and (found.alpha, found.evaluation) == (alpha, evaluation) else None

    def _threshold(self, policy: Policy, alpha: float, evaluation: str) -> float | None:
        found = self.calibration_for(policy, alpha, evaluation)
        return found.threshold if found else None

    def open_run(self, run_id: str) -> RunRecord:
        """A run by its id, whether it is still going on or saved. Raises UserError."""
        running = self._running.get(run_id)
        return running.result() if running else self.archive.open(run_id)

    def prompt_of(self, run_id: str) -> str | None:
        """The prompt of a run, or None if there is no such run."""
        running = self._running.get(run_id)
        return running.request.prompt if running else self.archive.store.prompt_of(run_id)

    def ended_run(self, run_id: str) -> RunRecord:
        """A run that is over, or is about to be. Raises UserError, also for one that goes on."""
        if running := self._running.get(run_id):
            try:
                running.wait(_ENDING)
            except TimeoutError:
                raise UserError("This run is still going on; wait until it has ended, or stop it.") from None
            return running.result()
        return self.archive.open(run_id)

    def stop_all(self, seconds: float = 5.0) -> None:
        """Stop every run and wait until they are saved, but not for longer than that."""
        running = list(self._running.values())
        for run in running:
            run.stop()
        until = time.monotonic() + seconds
        for run in running:
            with suppress(TimeoutError):
                run.wait(max(0.0, until - time.monotonic()))

    def stop(self, run_id: str) -> None:
        """Stop a run if it is still going on."""
        if running := self._running.get(run_id):
            running.stop()
