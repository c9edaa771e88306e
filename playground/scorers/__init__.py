"""Scorers: value functions (prompt, finished or partial answer) → a number, higher is better.

A scorer is one file here and one line in this registry; every method that needs a scorer takes any of them.
"""

from playground.scorers import (
    classifier,
    harmless_judge,
    implicit,
    length,
    log_prob,
    p_correct,
    refusal,
    self_eval,
    vader,
    value,
)
from playground.scorers.choice import SCORERS, ScorerChoice

for _module in (log_prob, vader, refusal, length, implicit, self_eval, p_correct, value, harmless_judge, classifier):
    for _scorer in _module.SCORERS:
        SCORERS[_scorer.name] = _scorer

__all__ = ["SCORERS", "ScorerChoice"]
