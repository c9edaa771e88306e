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
    NOTHING = auto()


@dataclass(frozen=True)
class Open:
    """Begin a sequence of `variant` with `tokens`; answered by `Opened`. Equal ones are computed once."""

    variant: str
    tokens: tuple[int, ...] = ()


class Opened(NamedTuple):
    sequence: Sequence
    log_probs: torch.Tensor | None
    """[vocabulary]; None for an empty opening."""


@dataclass(frozen=True)
class Extend:
    """Put tokens, or soft-prompt vectors [n, hidden_size], after a sequence. Answered as `want` says."""

    sequence: Sequence
    tokens: tuple[int, ...] | torch.Tensor
    want: Want = Want.NEXT


@dataclass(frozen=True)
class Next:
    """The next-token log-probabilities [vocabulary] of a sequence as it stands; puts no token through the model."""

    sequence: Sequence


Request = Open | Extend | Next
