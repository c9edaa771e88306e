"""What methods are made of: options, how a token is drawn, what a method says of itself.

A decoder is a generator `run(lane, options)`. It opens branches of a policy in its lane, lets them grow, and names one
of their drafts the lane's answer; what is worth seeing beside it goes into `lane.detail`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field

from playground.branch import logits
from playground.branch.branch import Branch
from playground.branch.lane import Lane
from playground.engine.engine import Asking, Stopped
from playground.options import Options
from playground.policy import Policy
from playground.scorers import ScorerChoice

_COLDEST = 1e-4
"""Below this temperature a draw is the most probable token, and dividing by it would overflow."""


class Sampling(Options):
    """How a token is drawn from a distribution. Applied in this order: repetition penalty, temperature, top-k,
    top-p, min-p; temperature 0 takes the most probable token."""

    temperature: float = Field(1.0, ge=0, le=5, title="Temperature", description="0 is greedy; 1 changes nothing")
    top_k: int = Field(0, ge=0, le=100_000, title="Top-k", description="Keep the k most probable tokens; 0 keeps all")
    top_p: float = Field(1.0, gt=0, le=1, title="Top-p", description="Keep the most probable tokens up to this sum")
    min_p: float = Field(0.0, ge=0, le=1, title="Min-p", description="Drop tokens below this share of the likeliest")
    repetition_penalty: float = Field(
        1.0, ge=0.5, le=3, title="Repetition penalty", description="Above 1, tokens already used become less probable"
    )

    def choose(self, log_probs: torch.Tensor, seen: list[int], rng: np.random.Generator) -> int:
        """Draw one token; uses one uniform number, also when greedy, so that draws stay aligned between options."""
        uniform = rng.random()
        log_probs = logits.repetition_penalty(log_probs, seen, self.repetition_penalty)
        if self.temperature < _COLDEST:
            return int(log_probs.argmax())
        scores = log_probs / self.temperature
        scores = logits.min_p(logits.top_p(logits.top_k(scores, self.top_k), self.top_p), self.min_p)
        return logits.draw(scores, uniform)

    def pick(self, branch: Branch) -> int:
        """Draw a branch's next token."""
        return self.choose(branch.log_probs, branch.draft.token_ids, branch.rng)


@dataclass(frozen=True)
class Dial:
    """An option that a person turns after the fact: `flips` in the token records tell what every setting would have
    written. `turned`: (options, the answer's token records, place, setting) → the options with which the answer goes
    on from that place at that setting. `mixture`: (options, setting) → the policy that writes at that setting, for
    other methods to use."""

    option: str
    title: str
    low: float
    high: float
    turned: Callable[[Any, list[dict[str, Any]], int, float], Options]
    mixture: Callable[[Any, float], Policy]

    @property
    def name(self) -> str:
        """What a setting is called in reports."""
        return self.option.rstrip("_")


@dataclass(frozen=True)
class Decoder:
    """A method: its name in every interface, what it is, its options, its generator. Raises ValueError where it names
    an option that it does not have."""

    name: str
    title: str
    summary: str
    options: type[Options]
    run: Callable[[Lane, Any], Asking]
    in_front: tuple[str, ...]
    """The options that the page shows first; the others are a click away."""
    source: str = ""
    many: str | None = None
    """The option that sets how many answers one run gives (its detail's `candidates`), of a method that has one."""
    dial: Dial | None = None
    by_token: bool = True
    """Whether it writes token by token, so that a person may take another token and let it go on."""
    abstains: bool = False
    """Whether it withholds its answer where its confidence is below the option `threshold`."""

    def __post_init__(self):
        named = (*self.in_front, self.many, self.dial.option if self.dial else None)
        for name in filter(None, named):
            if name not in self.options.model_fields:
                raise ValueError(f"the method {self.name} has no option {name!r}, which it names")


def policies(options: Options) -> Iterator[Policy]:
    """All policies that these options name, those of their scorers among them."""
    for _, value in options:
        if isinstance(value, Policy):
            yield value
        elif isinstance(value, ScorerChoice):
            yield from policies(value.options)


def readers(options: Options) -> Iterator[str]:
    """All encoder models that these options ask, those of their scorers among them."""
    yield from options.readers
    for _, value in options:
        if isinstance(value, ScorerChoice):
            yield from readers(value.options)


def decode(decoder: Decoder, lane: Lane, options: Options) -> Asking:
    """Run a decoder in a lane to its end, or until it is stopped, when its answer so far stands. Returns the lane."""
    stopped = True
    try:
        yield from decoder.run(lane, options)
        stopped = False
    except Stopped:
        pass
    finally:
        lane.finish(stopped)
    return lane
