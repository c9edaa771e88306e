"""ASPIRE's learned self-evaluation: how probable the model itself finds it that an answer is right (Chen et al., EMNLP
Findings 2023, arXiv 2310.11689, eq. 6).

A learned prompt stands behind the answer in the place of tokens; what the model then says of the next word gives
P(correct) = p("correct") / (p("correct") + p("wrong")). The question and the answer are not read again for it.
"""

from __future__ import annotations

from pydantic import Field

from playground.branch import reading
from playground.branch.lane import Lane
from playground.branch.together import together
from playground.engine.engine import Asking
from playground.engine.requests import SoftPrompt
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer

PROMPT = "self_evaluation"
"""The name of the learned prompt."""
WORDS = ("correct", "wrong")


class PCorrectOptions(Options):
    asked: Policy | None = Field(
        "answers", title="Asked", description="The model that was trained to judge; none: the one that wrote"
    )


def run(lane: Lane, writer: Policy, answers: list[Answer], options: PCorrectOptions) -> Asking:
    """P(correct) of each answer, between 0 and 1."""
    said = [[token for token in answer.token_ids if token not in lane.end_ids] for answer in answers]
    readings = yield from reading.read(lane, options.asked or writer, said)
    forks = [each.text.fork() for each in readings]
    found = yield from together(fork.extend(SoftPrompt(PROMPT)) for fork in forks)
    for fork in forks:
        fork.release()
    words = [lane.ids(word)[0] for word in WORDS]
    return [float(log_probs[words].softmax(-1)[0]) for log_probs in found]


SCORERS = (Scorer(name="p_correct", title="Learned self-evaluation: correct?", run=run, options=PCorrectOptions),)
"""Graded, so that a threshold can part right from wrong."""
