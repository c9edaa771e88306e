"""The backend in this process: models in memory, and the engine that writes lanes with them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import cache, partial

from playground.branch.lane import Lane, Limits
from playground.decoders.base import policies, readers
from playground.engine.engine import Engine
from playground.errors import UserError
from playground.models.fetch import Progress, no_progress
from playground.models.specs import Catalogue
from playground.policy import Policy
from playground.requests import LaneRequest, PromptRequest
from playground.scorers.p_correct import PROMPT
from playground.service import calibration
from playground.service.backend import LaneOrder
from playground.service.calibration import Calibration
from playground.service.memory import Memory
from playground.service.running import LaneRun
from playground.settings import Settings

log = logging.getLogger(__name__)


class Local:
    """Writes lanes with the models of this machine."""

    def __init__(self, settings: Settings, catalogue: Catalogue, progress: Progress = no_progress):
        self.catalogue = catalogue
        self.engine = Engine(settings.max_lanes_at_once)
        self.memory = Memory(settings, catalogue, self.engine, progress)

    def close(self) -> None:
        self.engine.close()

    def load(self, *variants: str) -> None:
        """Bring variants into memory. Raises UserError."""
        self.memory.ensure(*variants)

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

    def prepare(self, order: LaneOrder, progress: Progress | None = None) -> LaneRun:
        """One lane, ready to be submitted to the engine. Raises UserError if it cannot run."""
        wanted = order.lane
        variants, lane = self.lane(
            order.request, wanted.method, policies(wanted.options), readers(wanted.options), wanted.begin, progress
        )
        if order.known:
            lane.known = order.known
            lane.begun()
        if order.fork:
            lane.detail["fork"] = order.fork
        models = {variant: self.memory.fingerprint(variant) for variant in variants}
        return LaneRun(wanted, lane, models, self.engine, order.owner)

    def lane(
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
            alike=lambda variant: (*memory.weights_of(variant), *encode(variant)),
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
