"""Selective prediction: questions to the method that abstains, thresholds from its calibration, and what people say of
its answers. The page comes through here; the method itself is in `decoders`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sklearn.isotonic import IsotonicRegression

from playground.decoders import DECODERS
from playground.decoders.base import Decoder
from playground.errors import UserError
from playground.models.prompts import plain_ids
from playground.policy import Policy
from playground.questions import MOST_TOKENS, ask
from playground.record import RunRecord
from playground.requests import LaneRequest, RunRequest
from playground.scorers import ScorerChoice
from playground.scorers.p_correct import PROMPT
from playground.service import Playground
from playground.service.calibration import ROUNDING, Calibration, Point, curve
from playground.store.judgements import JudgementStore

METHOD: Decoder | None = next((method for method in DECODERS.values() if method.abstains), None)
"""The first method that abstains: it answers the questions."""
WANTED = ("accuracy", "coverage")
"""What a threshold may be looked up for."""
ENOUGH = 10
"""From so many marks on, right and wrong ones among them, they make a curve."""


@dataclass(frozen=True)
class Answered:
    """A question with the answers that were found for it, the likeliest first. candidates: {"text", "log_likelihood",
    "p_correct", "score"} each."""

    question: str
    context: str
    model: str
    fingerprint: str
    run: str
    candidates: list[dict[str, Any]]

    @property
    def confidence(self) -> float:
        """The score of the answer that is given if it reaches the threshold."""
        return self.candidates[0]["score"]


class Selective:
    """Asks and judges over a service."""

    def __init__(self, playground: Playground):
        self.playground, self.judgements = playground, JudgementStore(playground.database)

    def models(self) -> list[str]:
        """The variants that have learned to evaluate their own answers."""
        self.playground.memory.discover()
        variants = self.playground.catalogue.variants.items()
        return [name for name, spec in variants if spec.folder_of(PROMPT)]

    def request(self, question: str, context: str, options: dict[str, Any]) -> RunRequest:
        """A run that asks this question. The model that answers evaluates its answers, too. Raises UserError, also for
        a passage that is longer than the model can read: nothing is cut."""
        if not question.strip():
            raise UserError("The question is empty; type one or pick an example.")
        options = options | {"evaluation": _evaluation(options["variant"])}
        lane = LaneRequest.checked(method=METHOD.name, options=options)
        request = RunRequest.checked(prompt=ask(question, context), lanes=[lane], max_new_tokens=MOST_TOKENS)
        for variant in self.playground.memory.variants_of(lane.options.variant):
            self._check_length(variant, question.strip(), context.strip())
        return request

    def _check_length(self, variant: str, question: str, context: str) -> None:
        memory = self.playground.memory
        memory.ensure(variant)
        loaded = memory.model_of(variant)
        around = len(memory.encode(variant, question, MOST_TOKENS, "The question")) + loaded.places_before(variant)
        length, most = len(plain_ids(loaded.tokenizer, context)), loaded.context - MOST_TOKENS - around
        if length > most:
            raise UserError(
                f"The passage is {length:,} tokens long; beside this question and its answer {variant} can read "
                f"{most:,}. Shorten the passage."
            )

    def answered(self, question: str, context: str, run: RunRecord) -> Answered | None:
        """What a run over `request` has found; None if it was stopped before that. Raises UserError if it failed."""
        [lane] = run["lanes"]
        if lane["error"]:
            raise UserError(lane["error"])
        if "abstained" not in lane["detail"]:
            return None
        fingerprint = "; ".join(lane["models"].values())
        model, candidates = str(lane["options"]["variant"]), lane["detail"]["candidates"]
        return Answered(question.strip(), context.strip(), model, fingerprint, run["id"], candidates)

    def calibration(self, options: dict[str, Any]) -> Calibration | None:
        """The calibration that holds for these options of the method, if there is one."""
        try:
            policy = self.playground.catalogue.resolve(Policy(options["variant"]))
        except UserError:  # told when a question is asked
            return None
        return self.playground.calibration_for(policy, options["alpha"], _evaluation(options["variant"]))

    def toggle(self, visitor: str, answered: Answered, number: int, right: bool) -> None:
        """Mark the answer of that number right or wrong; the same mark again removes it."""
        judgement = self._of(visitor, answered) | {"answer": answered.candidates[number]["text"]}
        if self.marks(visitor, answered)[number] == right:
            self.judgements.unmark(judgement)
            return
        scores = {name: answered.candidates[number][name] for name in ("log_likelihood", "p_correct", "score")}
        self.judgements.mark(judgement | scores | {"variant": answered.model, "right": right, "run": answered.run})

    def marks(self, visitor: str, answered: Answered) -> list[bool | None]:
        """Of each answer, whether this visitor marked it right or wrong, or neither."""
        known = {row["answer"]: row["right"] for row in self.judgements.rows(**self._of(visitor, answered))}
        return [known.get(candidate["text"]) for candidate in answered.candidates]

    def _of(self, visitor: str, answered: Answered) -> dict[str, str]:
        named = {name: getattr(answered, name) for name in ("question", "context", "fingerprint")}
        return named | {"voter": self.playground.voter(visitor)}

    def marked(self, model: str) -> list[dict[str, Any]]:
        """People's judgements of the answers of a model, with the weights that were judged last."""
        rows = self.judgements.rows(variant=model)
        return [row for row in rows if row["fingerprint"] == rows[-1]["fingerprint"]]


def _evaluation(variant: str) -> ScorerChoice:
    """The model's own self-evaluation."""
    return ScorerChoice(f"{METHOD.options.model_fields['evaluation'].default}(asked={variant})")


def marked_curve(judgements: list[dict[str, Any]]) -> list[Point]:
    """Accuracy over coverage by people's marks; empty where there are fewer than ENOUGH, or of one kind only."""
    right = [row["right"] for row in judgements]
    return curve([row["score"] for row in judgements], right) if len(right) >= ENOUGH and len(set(right)) == 2 else []


def place(points: list[Point], threshold: float) -> Point | None:
    """Where a threshold stands on a curve; None if it lies above all scores, so that nothing is answered."""
    return next((point for point in reversed(points) if round(point.threshold + ROUNDING, 5) >= threshold), None)


def chances(points: list[Point]) -> list[tuple[float, float]]:
    """(score, share of right answers at this score), by rising score. The share never falls as the score rises: an
    isotonic regression over the parts of the curve between its points. Empty where the curve is."""
    if not points:
        return []
    coverage = [0.0, *(point.coverage for point in points)]
    right = [0.0, *(point.coverage * point.accuracy for point in points)]
    parts = [after - before for before, after in pairwise(coverage)]
    shares = [(after - before) / part for (before, after), part in zip(pairwise(right), parts, strict=True)]
    scores = [point.threshold for point in points]
    fitted = IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, shares, sample_weight=parts)
    return sorted(zip(scores, map(float, fitted), strict=True))
