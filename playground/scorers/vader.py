"""VADER sentiment of the answer's text, from -1 (negative) to 1 (positive). Needs no model."""

from __future__ import annotations

from functools import cache

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from playground.engine.engine import Asking
from playground.scorers.base import Answer, Asker, Scorer


@cache
def _analyser() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def run(lane: Asker, variant: str, answers: list[Answer]) -> Asking:
    """The compound score of each text (Hutto & Gilbert, ICWSM 2014)."""
    return [_analyser().polarity_scores(answer.text)["compound"] for answer in answers]
    yield  # a generator that asks for nothing


SCORER = Scorer(name="vader", title="Sentiment (VADER)", run=run)
