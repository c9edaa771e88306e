"""Best-of-N: N samples grown in one batch, the best under a scorer kept. The baseline of all value-guided methods."""

from __future__ import annotations

from pydantic import Field

from playground.branch.branch import Branch
from playground.branch.lane import Lane
from playground.branch.together import together
from playground.decoders.base import Decoder
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking, Stopped
from playground.scorers import ScorerChoice


class BestOfNOptions(SampleOptions):
    n: int = Field(4, ge=1, le=32, title="Samples (N)", description="How many answers are drawn")
    scorer: ScorerChoice = Field("mean_log_prob", title="Scorer", description="Chooses the best answer")

    @property
    def branches(self) -> int:
        return self.n


def run(lane: Lane, options: BestOfNOptions) -> Asking:
    """Draw `n` answers, sample i with the random numbers of branch i, and keep the one with the highest score.

    Stopped before that, the likeliest answer so far stands, and none is scored."""
    branches = (yield from Branch.open(lane, options.variant)).forks(options.n)
    drafts = [branch.draft for branch in branches]
    try:
        yield from together(branch.grow(options.pick) for branch in branches)
    except Stopped:
        lane.answer = max(drafts, key=lambda draft: draft.mean_log_prob)
        lane.detail["chosen"] = lane.answer.index
        raise
    finally:
        lane.detail["candidates"] = [draft.as_candidate() for draft in drafts]
        lane.detail["scorer"] = options.scorer
    scores = yield from options.scorer.run(lane, options.variant, drafts)
    best = max(range(options.n), key=lambda i: scores[i])
    lane.answer, lane.detail["chosen"] = drafts[best], best
    lane.detail["candidates"] = [draft.as_candidate(score=s) for draft, s in zip(drafts, scores, strict=True)]


DECODER = Decoder(
    name="best_of_n",
    title="Best of N",
    summary="Draws N answers at once and keeps the one that a scorer likes best; all N are shown with their scores.",
    options=BestOfNOptions,
    run=run,
    in_front=("n", "scorer"),
    many="n",
)
