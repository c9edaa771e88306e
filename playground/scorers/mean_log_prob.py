"""Mean token log-probability of an answer: how natural the model finds it. RRHF's p_i (arXiv 2304.05302, eq. 1)."""

from __future__ import annotations

from playground.engine.engine import Asking
from playground.engine.requests import Extend, Want
from playground.scorers.base import Answer, Asker, Scorer


def run(lane: Asker, variant: str, answers: list[Answer]) -> Asking:
    """Uses the log-probabilities noted while drawing; an answer without them is read by `variant`, all in one batch."""
    unread = [a for a in answers if a.token_ids and not a.log_probs]
    read: list[list[float]] = []
    if unread:
        [(prompt, _)] = yield from lane.open(variant)
        forks = [prompt.fork() for _ in unread]
        requests = [Extend(f, tuple(a.token_ids), Want.SCORES) for f, a in zip(forks, unread, strict=True)]
        read = [scores.tolist() for scores in (yield requests)]
        for sequence in (prompt, *forks):
            sequence.release()
    given = iter(read)
    values = [a.log_probs or (next(given) if a.token_ids else []) for a in answers]
    return [sum(v) / len(v) if v else float("-1e9") for v in values]


SCORER = Scorer(name="mean_log_prob", title="Mean log-probability", run=run)
