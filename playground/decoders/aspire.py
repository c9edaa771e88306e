"""ASPIRE: answers with a learned confidence, and "I don't know" below a threshold (Chen et al., EMNLP Findings 2023,
arXiv 2310.11689).

Beam search finds the answers; each gets the selection score
g(x, ŷ) = (1 − α) · log f(ŷ|x) / |ŷ| + α · log P(correct|x, ŷ) (eq. 7). The likeliest is given where its score reaches
the threshold, else it is withheld.
"""

from __future__ import annotations

import math

from pydantic import Field

from playground.branch.lane import Draft, Lane
from playground.decoders import beam
from playground.decoders.base import Decoder, Options
from playground.engine.engine import Asking
from playground.policy import Policy
from playground.scorers import ScorerChoice

ABSTAINS = "I don't know."
LEAST = 1e-9
"""A probability counts at least so much, so that its logarithm is finite."""


class AspireOptions(Options):
    threshold: float | None = Field(
        None,
        title="Threshold",
        description="Below this score: I don't know. Empty: what `calibrate` found for the model, if it did",
    )
    alpha: float = Field(
        0.25, ge=0, le=1, title="Weight of the self-evaluation (α)", description="0: likelihood alone counts"
    )
    beams: int = Field(10, ge=1, le=32, title="Beams", description="How many answers are searched for")
    variant: Policy = Field("answers", title="Model", description="A model that was trained to answer, or a mixture")
    evaluation: ScorerChoice = Field("p_correct", title="Self-evaluation", description="Gives P(correct) of an answer")

    @property
    def branches(self) -> int:
        return self.beams


def selection_score(log_likelihood: float, p_correct: float, alpha: float) -> float:
    """g of one answer, in nats: at most 0."""
    return (1 - alpha) * log_likelihood + alpha * math.log(max(p_correct, LEAST))


def run(lane: Lane, options: AspireOptions) -> Asking:
    """Search, evaluate, and answer or abstain. Stopped before that, the likeliest beginning stands."""
    drafts = yield from beam.search(lane, options.variant, options.beams)
    chances = yield from options.evaluation.run(lane, options.variant, drafts)
    scores = [selection_score(draft.mean_log_prob, p, options.alpha) for draft, p in zip(drafts, chances, strict=True)]
    threshold = options.threshold
    if threshold is None:
        threshold = lane.calibrated(options.variant, options.alpha, options.evaluation)
    abstained = threshold is not None and scores[0] < threshold
    lane.detail.update(
        confidence=round(scores[0], 5),
        threshold=threshold,
        abstained=abstained,
        withheld=drafts[0].text if abstained else None,
        scorer=options.evaluation,
        candidates=[
            draft.as_candidate(log_likelihood=draft.mean_log_prob, p_correct=p, score=g)
            for draft, p, g in zip(drafts, chances, scores, strict=True)
        ],
    )
    if abstained:
        lane.answer = _nothing(lane)


def _nothing(lane: Lane) -> Draft:
    draft = lane.draft()
    for token in lane.ids(ABSTAINS):
        draft.append(token)
    draft.finish_reason = "abstained"
    return draft


DECODER = Decoder(
    name="aspire",
    title="ASPIRE",
    summary="Answers a question with a learned confidence; below a threshold it says that it does not know.",
    options=AspireOptions,
    run=run,
    in_front=("threshold",),
    many="beams",
    abstains=True,
    source="Chen et al., EMNLP Findings 2023, arXiv 2310.11689",
)
