"""Scorers: value functions (prompt, finished or partial answer) → a number, higher is better.

A scorer is one file here and one line in this registry; every method that needs a scorer takes any of them.
"""

from typing import Literal

from playground.plugins import add_plugins
from playground.scorers import implicit, length, mean_log_prob, refusal, rrhf, self_eval, vader
from playground.scorers.base import Scorer

SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        *(module.SCORER for module in (mean_log_prob, vader, refusal, length, rrhf, implicit)),
        implicit.JUDGE,
        *self_eval.SCORERS,
    )
}
add_plugins("realign_playground.scorers", Scorer, SCORERS)
ScorerName = Literal[tuple(SCORERS)]
"""The type of an option that names a scorer."""
