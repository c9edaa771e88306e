"""Beam search: the likeliest answers, found by keeping the best beginnings at every step.

As transformers does it (`num_beams`, `length_penalty`, `early_stopping=False`): an answer counts once it ends among the
best; the search is over when no beginning can become better than the worst answer kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from pydantic import Field

from playground.branch import reading
from playground.branch.branch import Branch
from playground.branch.lane import Draft, Lane
from playground.branch.together import together
from playground.decoders.base import Decoder, Options
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking
from playground.policy import Policy


class BeamOptions(Options):
    beams: int = Field(4, ge=1, le=32, title="Beams", description="How many beginnings are kept at every step")
    length_penalty: float = Field(
        1.0, ge=-5, le=5, title="Length penalty", description="Divides by tokens to this power; above 0 favours long"
    )
    variant: Policy = SampleOptions.model_fields["variant"]

    @property
    def branches(self) -> int:
        return self.beams


@dataclass
class Beams:
    """A search under way: answers that ended, best first, and branches that grow, likeliest first."""

    beams: int
    length_penalty: float
    growing: list[Branch]
    ended: list[Draft] = field(default_factory=list)

    @property
    def drafts(self) -> list[Draft]:
        """At most `beams` answers, best first; those that have not ended come last."""
        return [*self.ended, *(branch.draft for branch in self.growing)][: self.beams]

    def score(self, draft: Draft) -> float:
        """log f(y|x) / |y|^penalty, in nats; for penalty 1 the mean log-probability of a token."""
        return sum(draft.log_probs) / max(1, len(draft.log_probs)) ** self.length_penalty

    @property
    def over(self) -> bool:
        """Whether no branch can still become one of the answers, as far as its length now tells."""
        full = len(self.ended) == self.beams
        return not self.growing or (full and self.score(self.growing[0].draft) <= self.score(self.ended[-1]))

    def step(self, lane: Lane) -> Asking:
        """Put one more token after every branch and keep the best."""
        yield from together(branch.look() for branch in self.growing)
        totals = torch.cat([branch.log_probs + sum(branch.draft.log_probs) for branch in self.growing])
        size = len(totals) // len(self.growing)
        best = totals.topk(min(self.beams * (1 + len(lane.end_ids)), len(totals))).indices.tolist()
        parents, self.growing = self.growing, []
        for rank, (number, token) in enumerate(divmod(index, size) for index in best):
            # What ends behind the best is lost; there are enough candidates to grow that many again.
            if len(self.growing) == self.beams or (rank >= self.beams and token in lane.end_ids):
                continue
            child = parents[number].fork(len(self.growing))
            child.put(token)
            if not child.ended:
                self.growing.append(child)
            elif rank < self.beams:
                self.ended.append(child.draft)
                reading.keep(lane, parents[number].text, parents[number].draft)
        for parent in parents:
            parent.release()
        self.ended = sorted(self.ended, key=self.score, reverse=True)[: self.beams]


def search(lane: Lane, policy: Policy, beams: int, length_penalty: float = 1.0) -> Asking:
    """The best answers as drafts, at most `beams`, best first. While it works the best so far is the lane's answer, and
    all of them stand in the lane's detail."""
    branch = yield from Branch.open(lane, policy)
    yield from branch.write_beginning()
    found = Beams(beams, length_penalty, [] if branch.ended else [branch], [branch.draft] if branch.ended else [])
    try:
        while not found.over:
            yield from found.step(lane)
            lane.answer = found.drafts[0]
    finally:
        lane.answer, lane.detail["chosen"] = found.drafts[0], 0
        lane.detail["candidates"] = [draft.as_candidate(score=found.score(draft)) for draft in found.drafts]
    for branch in found.growing:
        branch.release()
    return found.drafts


def run(lane: Lane, options: BeamOptions) -> Asking:
    """The likeliest answer found; all that were kept are shown."""
    lane.detail["scorer"] = "log-probability over length"
    yield from search(lane, options.variant, options.beams, options.length_penalty)


DECODER = Decoder(
    name="beam",
    title="Beam search",
    summary="Looks for the likeliest whole answer by keeping the best beginnings at every step; all found are shown.",
    options=BeamOptions,
    run=run,
    in_front=("beams", "length_penalty"),
    many="beams",
)
