"""Diverse beam search with one beam a group (Vijayakumar et al., arXiv 1610.02424), as RRHF samples its responses.

At every step the beams choose one after the other; a token loses `diversity` for every earlier beam that has just
chosen it: argmax_y log p(y)/T − diversity · #{earlier beams that chose y} (their eq. 4 with the Hamming dissimilarity).
"""

from __future__ import annotations

from collections import Counter

from pydantic import Field

from playground.branch.branch import Branch
from playground.branch.lane import Lane
from playground.branch.together import together
from playground.decoders.base import Decoder, Options
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking
from playground.policy import Policy


class DiverseBeamsOptions(Options):
    beams: int = Field(4, ge=1, le=32, title="Beams", description="How many different answers are searched for")
    diversity: float = Field(
        1.0, ge=0, le=20, title="Diversity", description="Subtracted from a token for each earlier beam that chose it"
    )
    temperature: float = Field(
        0.8, gt=0, le=5, title="Temperature", description="Divides the log-probabilities before the subtraction"
    )
    variant: Policy = SampleOptions.model_fields["variant"]

    @property
    def branches(self) -> int:
        return self.beams


def run(lane: Lane, options: DiverseBeamsOptions) -> Asking:
    """Grow all beams in one batch; the likeliest of them (mean log-probability) is the answer."""
    beams = (yield from Branch.open(lane, options.variant)).forks(options.beams)
    try:
        while growing := [beam for beam in beams if not beam.ended]:
            yield from together(beam.look() for beam in growing)
            chosen: Counter[int] = Counter()
            for beam in growing:
                scores = beam.log_probs / options.temperature
                for token, times in chosen.items():
                    scores[token] -= options.diversity * times
                chosen[beam.put(int(scores.argmax()))] += 1
    finally:
        lane.answer = max((beam.draft for beam in beams), key=lambda draft: draft.mean_log_prob)
        lane.detail["chosen"] = lane.answer.index
        lane.detail["scorer"] = "mean log-probability"
        lane.detail["candidates"] = [
            beam.draft.as_candidate(**({"score": beam.draft.mean_log_prob} if beam.draft.log_probs else {}))
            for beam in beams
        ]


DECODER = Decoder(
    name="diverse_beams",
    title="Diverse beams",
    summary="Searches several different answers at once; the most probable is the answer, all are shown.",
    options=DiverseBeamsOptions,
    run=run,
    in_front=("beams", "diversity"),
    many="beams",
    source="Vijayakumar et al., 2016, arXiv 1610.02424; RRHF samples so",
)
