"""VADER sentiment of the answer's text, from -1 (negative) to 1 (positive). Needs no model."""

from __future__ import annotations

from functools import cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from playground.branch.lane import Lane
from playground.engine.engine import Asking
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer


@cache
def _analyser() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def run(lane: Lane, writer: Policy, answers: list[Answer], options: Options) -> Asking:
    """The compound score of each text (Hutto & Gilbert, ICWSM 2014)."""
    return [_analyser().polarity_scores(answer.text)["compound"] for answer in answers]
    yield  # a generator that asks for nothing


SCORERS = (Scorer(name="vader", title="Sentiment (VADER)", run=run),)
