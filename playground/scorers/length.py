"""The length of an answer in tokens: the toy reward with which DeRa's paper shows realignment (arXiv 2402.02992)."""

from __future__ import annotations

from playground.engine.engine import Asking
from playground.scorers.base import Answer, Asker, Scorer


def run(lane: Asker, variant: str, answers: list[Answer]) -> Asking:
    """How many tokens each answer has, its end token among them."""
    return [float(len(answer.token_ids)) for answer in answers]
    yield  # a generator that asks for nothing


SCORER = Scorer(name="length", title="Length in tokens", run=run)
