"""What a scorer is, and what it sees of an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from playground.engine.engine import Asking


class Answer(Protocol):
    """A finished or partial answer. log_probs, where not empty, are its tokens' under the variant that drew it."""

    token_ids: list[int]
    log_probs: list[float]
    text: str


class Asker(Protocol):
    """The part of a lane that scorers use: put a variant's prompt through the model."""

    prompt: str

    def open(self, *variants: str) -> Asking: ...


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
