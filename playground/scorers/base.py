"""What a scorer is, and what it sees of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from playground.engine.engine import Asking


class Answer(Protocol):
    """A finished or partial answer. log_probs, where not empty, are its tokens' under the variant that drew it."""

    token_ids: list[int]
    log_probs: list[float]
    text: str


class Asker(Protocol):
    """The part of a lane that scorers use: put a variant's prompt, or another question, through the model."""

    prompt: str
    ask: Callable[[str, str], list[int]]
    """(variant, another prompt) → its ids as a chat, up to where the answer starts."""
    kept: dict[Any, Any]
    """What scorers keep as long as the lane lasts: opened sequences, which need not be read again."""

    def ids(self, text: str) -> list[int]: ...

    def open(self, *variants: str) -> Asking: ...


class Judged(float):
    """A score that knows how it came about."""

    how: dict[str, Any]

    def __new__(cls, value: float, how: dict[str, Any]) -> Judged:
        score = super().__new__(cls, value)
        score.how = how
        return score


@dataclass(frozen=True)
class Scorer:
    """`run(lane, variant, answers)` is a generator like a decoder; it returns one finite number per answer.

    `variant` is the one that drew the answers.
    """

    name: str
    title: str
    run: Callable[[Asker, str, list[Answer]], Asking]
    variants: tuple[str, ...] = ()
    """Variants that it asks, besides the one that drew the answers."""
    questions: Callable[[str], tuple[str, ...]] | None = None
    """Of a scorer that asks a model: the prompt → the questions as put, in each order, ⟨the answer⟩ in its place."""
    reliability: str = ""
    """How often it is right, in words, where that was measured."""
    soft: Callable[[Asker, str, list[Answer]], Asking] | None = None
    """The same with graded values, of a scorer whose values are verdicts."""
