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
from pathlib import Path
from typing import Any

from playground.branch.lane import Draft
from playground.decoders.base import policies, readers
from playground.engine.engine import Owner
from playground.errors import UserError, shown
from playground.models.fetch import Progress, no_progress
from playground.models.specs import Catalogue, VariantSpec, kinds_in, read_catalogue, told_by_training
from playground.policy import Policy
from playground.record import LaneRecord, RunRecord
from playground.requests import LaneRequest, PromptRequest, RunRequest
from playground.scorers import ScorerChoice
from playground.scorers.p_correct import PROMPT
from playground.service.archive import Archive
from playground.service.backend import Backend, LaneOrder
from playground.service.calibration import Calibration
from playground.service.crowd import Crowd
from playground.service.crowd import Limits as CrowdLimits
from playground.service.local import Local
from playground.service.methods import labels, list_methods, list_scorers, options_schema
from playground.service.remote import Remote
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
        self.local = Local(self.settings, self.catalogue, progress)
        self.memory, self.engine = self.local.memory, self.local.engine
        self.backend: Backend = self.local
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
        for backend in {self.backend, self.local}:
            backend.close()
        self.archive.close()
        self.database.close()

    def replicate(self) -> None:
        """From here on, let replicas write the lanes of runs if the settings say so. Raises UserError if there can be
        none."""
        if self.settings.engine == "ray":
            try:
                from playground.service import replicas  # needs Ray, which is no part of the base install
            except ModuleNotFoundError as error:
                raise UserError(
                    f"PLAYGROUND_ENGINE is 'ray', but the package {error.name} is not installed; install it: "
                    "pip install -r requirements-ray.txt."
                ) from None
            self.backend = Remote(self.memory, replicas.start(self.settings, self.catalogue))

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
        """Whether these lanes would begin at once. Raises UserError for a model that is unknown."""
        return self.backend.is_ready_for(lanes)

    def load_for(self, lanes: Iterable[LaneRequest], progress: Progress) -> None:
        """Make ready all that these lanes ask. Raises UserError."""
        self.backend.load_for(lanes, progress)

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
        known, fork = (continuation.known, continuation.fork) if continuation else ((), None)
        orders = [LaneOrder(request, lane, owner, known, fork) for lane in request.lanes]
        lanes = [self.backend.prepare(order, progress) for order in orders]
        run = Run(request, continuation.around(*lanes) if continuation else lanes, origin)
        run.on_over = lambda over: self.archive.keep(over, self._is_kept)
        self._running[run.id] = run
        for lane in lanes:
            lane.begin(run.note, run.lane_ended)
        return run

    def _is_kept(self, run: Run) -> None:
        self._running.pop(run.id, None)
        run.close()

    def prepare(self, request: PromptRequest, wanted: LaneRequest, owner: Owner = ()) -> LaneRun:
        """One lane of a request for the engine of this process. Raises UserError if it cannot run."""
        return self.local.prepare(LaneOrder(request, wanted, owner))

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
        """Many lanes, each (prompt, lane, seed), in shared batches of this process; their results in order, as they
        come. Nothing is saved. Left early, what is still to do is stopped."""
        works: deque[LaneRun] = deque()
        try:
            for prompt, lane, seed in jobs:
                request = RunRequest.checked(prompt=prompt, lanes=[lane], max_new_tokens=max_new_tokens, seed=seed)
                work = self.prepare(request, lane, owner)
                work.begin()
                works.append(work)
            for done in range(1, len(jobs) + 1):
                work = works.popleft()
                work.task.wait()
                watch(done / len(jobs), f"{done} of {len(jobs)} answers")
                yield work.result()
        finally:
            for work in works:
                work.stop()

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
            asked = writer, *policies(choice.options)
            _, lane = self.local.lane(request, choice.name, asked, readers(choice.options))
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
        return self.local.calibration(variant)

    def calibration_for(self, policy: Policy, alpha: float, evaluation: str) -> Calibration | None:
        """The same of a policy with these options of its confidence; mixtures have none."""
        return self.local.calibration_for(policy, alpha, evaluation)

    def open_run(self, run_id: str, unvoted: bool = False) -> RunRecord:
        """A run by its id, whether it is still going on or saved; one of a battle without its vote only if `unvoted`.
        Raises UserError."""
        running = self._under_way(run_id)
        return running.result() if running else self.archive.open(run_id, unvoted)

    def _under_way(self, run_id: str) -> Run | None:
        """A run that goes on, and is no battle's."""
        running = self._running.get(run_id)
        return None if running and running.origin == "arena" else running

    def prompt_of(self, run_id: str) -> str | None:
        """The prompt of a run, or None if there is no such run."""
        running = self._under_way(run_id)
        return running.request.prompt if running else self.archive.store.prompt_of(run_id)

    def ended_run(self, run_id: str) -> RunRecord:
        """A run that is over, or is about to be. Raises UserError, also for one that goes on."""
        if running := self._under_way(run_id):
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
