"""Diverse beam search with one beam a group (Vijayakumar et al., arXiv 1610.02424), as RRHF samples its responses.

At every step the beams choose one after the other; a token loses `diversity` for every earlier beam that has just
chosen it: argmax_y log p(y)/T − diversity · #{earlier beams that chose y} (their eq. 4 with the Hamming dissimilarity).
"""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from playground.decoders.base import Decoder, Lane, Options
from playground.engine.engine import Asking
from playground.engine.requests import Extend


class DiverseBeamsOptions(Options):
    beams: int = Field(4, ge=1, le=32, title="Beams", description="How many different answers are searched for")
    diversity: float = Field(
        1.0, ge=0, le=20, title="Diversity", description="What a token loses for each earlier beam that chose it"
    )
    temperature: float = Field(
        0.8, gt=0, le=5, title="Temperature", description="Log-probabilities are divided by it before the loss"
    )
    variant: str = Field("reference", title="Model", description="The variant that writes")


def run(lane: Lane, options: DiverseBeamsOptions) -> Asking:
    """Grow all beams in one batch; the likeliest of them (mean log-probability) is the answer."""
    drafts = [lane.draft(i) for i in range(options.beams)]
    lane.answer = drafts[0]
    [(first, log_probs)] = yield from lane.open(options.variant)
    beams = [(draft, first if i == 0 else first.fork()) for i, draft in enumerate(drafts)]
    distributions = [log_probs] * options.beams
    try:
        while beams:
            chosen: Counter[int] = Counter()
            for (draft, sequence), log_probs in zip(beams, distributions, strict=True):
                scores = log_probs / options.temperature
                for token, times in chosen.items():
                    scores[token] -= options.diversity * times
                token = int(scores.argmax())
                chosen[token] += 1
                draft.append(token, float(log_probs[token]), lane.record(log_probs, token))
                if draft.ended:
                    sequence.release()
            beams = [(draft, sequence) for draft, sequence in beams if not draft.ended]
            if beams:
                distributions = yield [Extend(sequence, (draft.token_ids[-1],)) for draft, sequence in beams]
    finally:
        lane.answer = max(drafts, key=lambda draft: draft.mean_log_prob)
        lane.detail["chosen"] = lane.answer.index
        lane.detail["scorer"] = "mean log-probability"
        lane.detail["candidates"] = [
            draft.as_candidate(draft.mean_log_prob if draft.log_probs else None) for draft in drafts
        ]


DECODER = Decoder(
    name="diverse_beams",
    title="Diverse beams",
    summary="Searches several answers at once that keep apart; the likeliest is taken, all are shown.",
    options=DiverseBeamsOptions,
    run=run,
    in_front=("beams", "diversity"),
    many="beams",
    source="Vijayakumar et al., 2016, arXiv 1610.02424; RRHF samples so",
)
