"""Token log-probability of an answer: how natural a model finds it. RRHF's p_i (arXiv 2304.05302, eq. 1); of the tuned
model it is RRHF's reward (§3.3).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from playground.branch import reading
from playground.branch.lane import Lane
from playground.engine.engine import Asking
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer

EMPTY = -1e9
"""The score of an answer without tokens: below all others, and finite."""
Reduce = Literal["mean", "sum"]


class LogProbOptions(Options):
    under: Policy | None = Field(None, title="Under", description="The model that reads; none: the one that wrote")
    reduce: Reduce = Field("mean", title="Reduce", description="Mean of the tokens, or their sum")


class TunedOptions(LogProbOptions):
    under: Policy | None = Field("aligned", title="Under", description="The tuned model")


def run(lane: Lane, writer: Policy, answers: list[Answer], options: LogProbOptions) -> Asking:
    """Uses the log-probabilities noted while drawing, where the model that wrote is to judge; else answers are read."""
    unread = [a for a in answers if options.under is not None or not a.log_probs]
    given = iter((yield from read(lane, options.under or writer, unread)))
    found = [next(given) if options.under is not None or not a.log_probs else a.log_probs for a in answers]
    return [reduced(each, options.reduce) if each else EMPTY for each in found]


def reduced(log_probs: list[float], reduce: Reduce) -> float:
    """Sum or mean of at least one number."""
    return sum(log_probs) / (len(log_probs) if reduce == "mean" else 1)


def read(lane: Lane, policy: Policy, answers: list[Answer]) -> Asking:
    """The log-probability of every token of each answer under `policy`, in one batch."""
    readings = yield from reading.read(lane, policy, [answer.token_ids for answer in answers])
    return [each.numbers for each in readings]


SCORERS = (
    Scorer(name="mean_log_prob", title="Mean log-probability", run=run, options=LogProbOptions),
    Scorer(name="rrhf", title="RRHF model's mean log-probability", run=run, options=TunedOptions),
)
