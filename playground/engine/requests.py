"""What a decoder may ask of the engine: it is a generator that yields lists of these and gets lists of answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import torch

from playground.engine.kv import Sequence


class Want(Enum):
    """What an extension answers with."""

    NEXT = auto()
    """Log-probabilities [vocabulary] of the token after the last one."""
    SCORES = auto()
    """Log-probability [n] of each given token after all before it (the sequence must not be empty)."""
    HIDDEN = auto()
    """Final hidden states [n, hidden_size] of the given tokens."""
    VALUES = auto()
    """Values [n, out] of the variant's value head at the given tokens, in fp32."""
    ALL = auto()
    """Log-probabilities [n, vocabulary] at the place of each given token: what might have stood there, after all
    before it (the sequence must not be empty)."""
    NOTHING = auto()


@dataclass(frozen=True)
class SoftPrompt:
    """In the place of tokens: a prompt that the sequence's variant has learned, by its name ("self_evaluation")."""

    name: str


@dataclass(frozen=True)
class Open:
    """Begin a sequence of `variant` with `tokens`; answered by `Opened`. Equal ones are computed once. The variant's
    own soft prompt, if it has one, stands before them by itself."""

    variant: str
    tokens: tuple[int, ...] = ()


class Opened(NamedTuple):
    sequence: Sequence
    log_probs: torch.Tensor | None
    """[vocabulary]; None if nothing was put through the model."""


@dataclass(frozen=True)
class Extend:
    """Put tokens, vectors [n, hidden_size] or a learned prompt after a sequence. Answered as `want` says."""

    sequence: Sequence
    tokens: tuple[int, ...] | torch.Tensor | SoftPrompt
    want: Want = Want.NEXT


@dataclass(frozen=True)
class Next:
    """The next-token log-probabilities [vocabulary] of a sequence as it stands; puts no token through the model."""

    sequence: Sequence


Text = str | tuple[str, str]
"""A text, or (prompt, answer)."""


@dataclass(frozen=True)
class Read:
    """Have whole texts read by a model beside the language model, an embedder or a classifier. Answered by what it
    makes of them, [texts, size] in fp32; puts no token through the language model."""

    reader: str
    texts: tuple[Text, ...]


Request = Open | Extend | Next | Read
