"""A learned value of an answer, finished or partial: what reward it may be expected to end with. The explicit value of
IVG (Liu et al., EMNLP Findings 2024, arXiv 2409.17819), trained as in FUDGE (Yang & Klein, NAACL 2021, 2104.05218).

A head on a variant's hidden states gives V(x, y_≤t) at every token; the score is that at the last one.
"""

from __future__ import annotations

from pydantic import Field

from playground.branch import reading
from playground.branch.lane import Lane
from playground.branch.text import Text
from playground.engine.engine import Asking
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer
from playground.scorers.log_prob import EMPTY


class ValueOptions(Options):
    model: Policy = Field("value_sentiment", title="Value model", description="A model with a value head")


class HarmlessOptions(ValueOptions):
    model: Policy = Field("value_harmless", title="Value model", description="A model with a value head")


def run(lane: Lane, writer: Policy, answers: list[Answer], options: ValueOptions) -> Asking:
    """The value of each answer up to its last token, in units of the reward that it learned. An end token counts for
    nothing: all that it says is that the text is over."""
    said = [[token for token in answer.token_ids if token not in lane.end_ids] for answer in answers]
    readings = yield from reading.read(lane, options.model, said, Text.value)
    return [each.numbers[-1] if each.numbers else EMPTY for each in readings]


SCORERS = (
    Scorer(name="value_sentiment", title="Learned value: positive?", run=run, options=ValueOptions),
    Scorer(name="value_harmless", title="Learned value: harmless?", run=run, options=HarmlessOptions),
)
