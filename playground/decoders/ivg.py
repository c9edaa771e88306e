"""IVG, integrated value guidance: the implicit value guides tokens, the explicit one chunks (Liu et al., EMNLP Findings
2024, arXiv 2409.17819). EFT inside CBS.
"""

from __future__ import annotations

from pydantic import Field

from playground.branch.lane import Lane
from playground.decoders import cbs, eft
from playground.decoders.base import Decoder
from playground.engine.engine import Asking
from playground.scorers import ScorerChoice


class IvgOptions(eft.EftOptions, cbs.CbsOptions):
    scorer: ScorerChoice = Field(
        "value_harmless", title="Scorer", description="The explicit value: which beams are kept"
    )


def run(lane: Lane, options: IvgOptions) -> Asking:
    """Chunk-level beam search over the guided policy."""
    root = yield from eft.open_guided(lane, options)
    try:
        yield from cbs.search(lane, root, options)
    finally:
        lane.detail["curves"].append(eft.curve(lane.answer.records))


DECODER = Decoder(
    name="ivg",
    title="IVG",
    summary="Guides tokens by the implicit value and keeps beams by an explicit one: EFT inside CBS.",
    options=IvgOptions,
    run=run,
    in_front=("weight", "scorer", "width", "successors"),
    by_token=False,
    source="Liu et al., EMNLP Findings 2024, arXiv 2409.17819",
)
