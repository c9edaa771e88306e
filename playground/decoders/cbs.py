"""CBS, chunk-level beam search: several beams grow chunk by chunk, and a scorer says which are kept (Zhou et al.,
NeurIPS 2024, arXiv 2405.19262, §4.2).

At first width · successors samples of one chunk; after every chunk all beams are scored, the best `width` are kept and
each is continued `successors` times. With one beam and a chunk as long as the answer this is best-of-N, with one beam
and one successor plain sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from playground.branch import reading
from playground.branch.branch import Branch
from playground.branch.lane import Draft, Lane
from playground.branch.together import together
from playground.decoders.base import Decoder
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking
from playground.scorers import ScorerChoice


class CbsOptions(SampleOptions):
    temperature: float = Field(0.7, ge=0, le=5, title="Temperature", description="0 is greedy; 1 changes nothing")
    width: int = Field(2, ge=1, le=16, title="Beams (W)", description="How many beams are kept after every chunk")
    successors: int = Field(4, ge=1, le=32, title="Successors (K)", description="How often every beam is continued")
    chunk: int = Field(8, ge=1, title="Chunk length", description="Tokens after which beams are scored and dropped")
    scorer: ScorerChoice = Field("implicit(reduce=sum)", title="Scorer", description="Says which beams are kept")

    @property
    def branches(self) -> int:
        return self.width * self.successors


@dataclass(eq=False)
class Beam:
    """A way that the answer may go; `node` is its last chunk in the picture, `score` what the scorer gave it."""

    branch: Branch
    node: int = 0
    score: float = -math.inf

    @property
    def draft(self) -> Draft:
        return self.branch.draft


class Search:
    """Beams under way, best first, and the steps of the picture that shows how they grew."""

    def __init__(self, lane: Lane, root: Branch, options: CbsOptions):
        self.lane, self.options = lane, options
        root.held = True  # what it has read is of use to the scorer when it has ended
        self.beams = [Beam(root)]
        self.rounds = 0
        self.nodes: list[int | None] = [None]
        """The parent of each node of the picture; the prompt is the first."""
        self.steps: list[dict[str, Any]] = []
        self.curve: list[tuple[int, float]] = []

    @property
    def over(self) -> bool:
        return all(beam.branch.ended for beam in self.beams)

    def step(self) -> Asking:
        """Continue, score, and keep the best. A beam that has ended is not continued: it keeps its score, and its place
        as long as no other is better."""
        options, lane = self.options, self.lane
        ended = [beam for beam in self.beams if beam.branch.ended]
        growing = self._successors()
        starts = [len(beam.draft.token_ids) for beam in growing]
        most = options.chunk + (0 if self.rounds else len(lane.begin))
        self.rounds += 1
        yield from together(beam.branch.grow(options.pick, most) for beam in growing)
        self._expand(growing, starts)
        writer = growing[0].branch.text.policy
        with reading.offered(lane, ((beam.branch.read, beam.branch.text) for beam in growing)):
            scores = yield from options.scorer.run(lane, writer, [beam.draft for beam in growing])
        for beam, score in zip(growing, scores, strict=True):
            beam.score = float(score)
            step = {"kind": "evaluate", "node": beam.node, "text": beam.draft.text, "value": round(beam.score, 5)}
            self.steps.append(step)
        self._keep([*ended, *growing])

    def _successors(self) -> list[Beam]:
        """Each beam that has not ended and its forks; the first goes on with its own random numbers."""
        count = self.options.successors * (1 if self.rounds else self.options.width)
        found: list[Beam] = []
        for rank, beam in enumerate(self.beams):
            if not beam.branch.ended:
                paths = [(rank * count + n, *([self.rounds] if self.rounds else [])) for n in range(1, count)]
                found += [beam, *(Beam(beam.branch.fork(*path), beam.node) for path in paths)]
        return found

    def _expand(self, grown: list[Beam], starts: list[int]) -> None:
        """Every new chunk becomes a node of the picture, below that of the chunk before it."""
        children: dict[int, list[dict[str, Any]]] = {}
        for beam, start in zip(grown, starts, strict=True):
            draft, parent = beam.draft, beam.node
            beam.node = len(self.nodes)
            self.nodes.append(parent)
            for record in draft.records[start:]:
                record["node"] = beam.node
            children.setdefault(parent, []).append(
                {
                    "id": beam.node,
                    "text": "".join(record["text"] for record in draft.records[start:]),
                    "tokens": draft.token_ids[start:],
                    "prior": round(math.exp(sum(draft.log_probs[start:])), 5),
                    "ended": draft.ended,
                }
            )
        for parent, chunks in children.items():
            priors = [[chunk["id"], chunk["prior"]] for chunk in chunks]
            self.steps.append({"kind": "expand", "node": parent, "children": chunks, "priors": priors})

    def _keep(self, beams: list[Beam]) -> None:
        """The best `width` stay, those that read the same but once; ties go to the earlier."""
        kept: dict[tuple[int, ...], Beam] = {}
        for beam in sorted(beams, key=lambda beam: beam.score, reverse=True):
            if len(kept) < self.options.width:
                kept.setdefault(tuple(beam.draft.token_ids), beam)
        self.beams = list(kept.values())
        for beam in beams:
            if beam.branch.ended or beam not in self.beams:
                beam.branch.release()
        self.steps.append({"kind": "keep", "nodes": [beam.node for beam in self.beams]})
        best = self.beams[0]
        self.curve.append((len(best.draft.token_ids), round(best.score, 5)))
        self.lane.answer = best.draft

    def take(self) -> None:
        """The search has come to its end: the way to the best beam is the answer's."""
        path, node = [], self.beams[0].node
        while node:
            path.append(node)
            node = self.nodes[node]
        self.steps.append({"kind": "take", "path": path[::-1]})

    def record(self) -> None:
        """Note in the lane what there is to show."""
        self.lane.detail["scorer"] = self.options.scorer
        self.lane.detail["chosen"] = 0
        self.lane.detail["candidates"] = [
            beam.draft.as_candidate(**({"score": beam.score} if beam.score > -math.inf else {})) for beam in self.beams
        ]


def search(lane: Lane, root: Branch, options: CbsOptions) -> Asking:
    """Search from a branch at the beginning of the answer; the best beam is the lane's answer. Stopped, or failing, in
    the middle of a chunk, the best beam stands with what it had written."""
    limit = lane.limits.max_new_tokens
    if options.chunk > limit:
        said = (
            f"A chunk of {options.chunk} tokens is longer than the answer may be ({limit}), so the beams are scored "
            "once, at the end, as in best-of-N."
        )
        lane.detail["warning"] = " ".join(filter(None, (lane.detail.get("warning"), said)))
    found = Search(lane, root, options)
    lane.detail["tree"] = {"steps": found.steps, "shape": "beams"}
    lane.detail["curves"] = [{"title": f"{options.scorer} of the best beam", "points": found.curve}]
    try:
        while not found.over:
            yield from found.step()
        found.take()
    finally:
        found.record()


def run(lane: Lane, options: CbsOptions) -> Asking:
    """Chunk-level beam search over one policy."""
    root = yield from Branch.open(lane, options.variant)
    yield from search(lane, root, options)


DECODER = Decoder(
    name="cbs",
    title="CBS",
    summary="Grows several beams chunk by chunk; after every chunk a scorer says which are kept and continued.",
    options=CbsOptions,
    run=run,
    in_front=("width", "successors", "chunk", "scorer"),
    by_token=False,
    source="Zhou et al., NeurIPS 2024, arXiv 2405.19262",
)
