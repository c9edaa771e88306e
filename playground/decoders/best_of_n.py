"""Best-of-N: N samples grown in one batch, the best under a scorer kept. The baseline of all value-guided methods."""

from __future__ import annotations

from pydantic import Field

from playground.decoders.base import Decoder, Lane
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking, Stopped
from playground.engine.requests import Extend
from playground.scorers import SCORERS, ScorerName


class BestOfNOptions(SampleOptions):
    n: int = Field(4, ge=1, le=32, title="Samples (N)", description="How many answers are drawn")
    scorer: ScorerName = Field(
        "mean_log_prob",
        title="Scorer",
        description="What decides which answer is the best",
        json_schema_extra={"labels": {name: s.title for name, s in SCORERS.items()}},
    )


def run(lane: Lane, options: BestOfNOptions) -> Asking:
    """Draw `n` answers, sample i with the random numbers of branch i, and keep the one with the highest score.

    Stopped before that, the likeliest answer so far stands, and none is scored."""
    drafts = [lane.draft(i) for i in range(options.n)]
    lane.answer = drafts[0]
    [(first, log_probs)] = yield from lane.open(options.variant)
    branches = [(draft, first if i == 0 else first.fork(), lane.rng(i)) for i, draft in enumerate(drafts)]
    distributions = [log_probs] * options.n
    try:
        while True:
            growing = []
            for (draft, sequence, rng), log_probs in zip(branches, distributions, strict=True):
                token = options.choose(log_probs, draft.token_ids, rng)
                draft.append(token, float(log_probs[token]), lane.record(log_probs, token))
                if draft.ended:
                    sequence.release()
                else:
                    growing.append((draft, sequence, rng))
            branches = growing
            if not branches:
                break
            distributions = yield [Extend(sequence, (draft.token_ids[-1],)) for draft, sequence, _ in branches]
    except Stopped:
        lane.answer = max(drafts, key=lambda draft: draft.mean_log_prob)
        lane.detail["chosen"] = lane.answer.index
        raise
    finally:
        lane.detail["candidates"] = [draft.as_candidate() for draft in drafts]
        lane.detail["scorer"] = options.scorer
    scores = yield from SCORERS[options.scorer].run(lane, options.variant, drafts)
    best = max(range(options.n), key=lambda i: scores[i])
    lane.answer = drafts[best]
    lane.detail["chosen"] = best
    lane.detail["candidates"] = [draft.as_candidate(score) for draft, score in zip(drafts, scores, strict=True)]


DECODER = Decoder(
    name="best_of_n",
    title="Best of N",
    summary="Draws N answers at once and keeps the one that a scorer likes best; all N are shown with their scores.",
    options=BestOfNOptions,
    run=run,
    in_front=("n", "scorer"),
    many="n",
    variants=lambda options: (options.variant, *SCORERS[options.scorer].variants),
)
