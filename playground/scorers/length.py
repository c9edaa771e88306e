"""The length of an answer in tokens: the toy reward with which DeRa's paper shows realignment (arXiv 2402.02992)."""

from __future__ import annotations

from playground.branch.lane import Lane
from playground.engine.engine import Asking
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer


def run(lane: Lane, writer: Policy, answers: list[Answer], options: Options) -> Asking:
    """How many tokens each answer has, its end token among them."""
    return [float(len(answer.token_ids)) for answer in answers]
    yield  # a generator that asks for nothing


SCORERS = (Scorer(name="length", title="Length in tokens", run=run),)
