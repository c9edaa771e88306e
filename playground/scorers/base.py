"""What a scorer is, and what it sees of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from playground.branch.lane import Lane
from playground.engine.engine import Asking
from playground.options import Options
from playground.policy import Policy


class Answer(Protocol):
    """A finished or partial answer. log_probs, where not empty, are its tokens' under the policy that drew it."""

    token_ids: list[int]
    log_probs: list[float]
    text: str


class Verdict(float):
    """A score that knows how it came about."""

    how: dict[str, Any]

    def __new__(cls, value: float, how: dict[str, Any]) -> Verdict:
        score = super().__new__(cls, value)
        score.how = how
        return score


Score = Callable[[Lane, Policy, list[Answer], Any], Asking]
"""(lane, the policy that wrote the answers, answers, options) → one finite number per answer, as a generator."""


@dataclass(frozen=True)
class Scorer:
    """A value function. `run` may be called again when answers have grown; what it read of them is not read again."""

    name: str
    title: str
    run: Score
    options: type[Options] = Options
    questions: Callable[[str, Any], tuple[str, ...]] | None = None
    """Of a scorer that asks a model: (prompt, options) → the questions as put, in each order, with ⟨the answer⟩."""
    reliability: str = ""
    """How often it is right, in words, where that was measured."""
    soft: Score | None = None
    """The same with graded values, of a scorer whose values are verdicts."""
