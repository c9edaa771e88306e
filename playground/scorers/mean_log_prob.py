"""Mean token log-probability of an answer: how natural the model finds it. RRHF's p_i (arXiv 2304.05302, eq. 1)."""

from __future__ import annotations

from playground.engine.engine import Asking
from playground.engine.requests import Extend, Want
from playground.scorers.base import Answer, Asker, Scorer

EMPTY = -1e9
"""The score of an answer without tokens: below all others, and finite."""


def run(lane: Asker, variant: str, answers: list[Answer]) -> Asking:
    """Uses the log-probabilities noted while drawing; answers without them are read by `variant`."""
    unread = [a for a in answers if not a.log_probs]
    given = iter((yield from read(lane, variant, unread)))
    return [sum(a.log_probs) / len(a.log_probs) if a.log_probs else next(given) for a in answers]


def read(lane: Asker, variant: str, answers: list[Answer]) -> Asking:
    """Mean token log-probability of each answer under `variant`, all in one batch; an empty answer gets EMPTY."""
    texts = [tuple(a.token_ids) for a in answers if a.token_ids]
    scores: list[float] = []
    if texts:
        if ("prompt", variant) not in lane.kept:
            [(lane.kept[("prompt", variant)], _)] = yield from lane.open(variant)
        prompt = lane.kept[("prompt", variant)]
        forks = [prompt.fork() for _ in texts]
        requests = [Extend(fork, text, Want.SCORES) for fork, text in zip(forks, texts, strict=True)]
        scores = [found.mean().item() for found in (yield requests)]
        for fork in forks:
            fork.release()
    found = iter(scores)
    return [next(found) if a.token_ids else EMPTY for a in answers]


SCORER = Scorer(name="mean_log_prob", title="Mean log-probability", run=run)
