"""The RRHF-tuned model as a reward model: an answer's mean token log-probability under it (arXiv 2304.05302, §3.3)."""

from __future__ import annotations

from playground.engine.engine import Asking
from playground.scorers import mean_log_prob
from playground.scorers.base import Answer, Asker, Scorer

TUNED = "aligned"
"""The variant that is asked."""


def run(lane: Asker, variant: str, answers: list[Answer]) -> Asking:
    """Every answer is read by the tuned model, whichever variant drew it."""
    return mean_log_prob.read(lane, TUNED, answers)


SCORER = Scorer(name="rrhf", title="RRHF model's mean log-probability", run=run, variants=(TUNED,))
