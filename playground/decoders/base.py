"""What decoders are made of: options, drafts (growing answers), the lane they work in.

A decoder is a generator `run(lane, options)`. It yields lists of engine requests and is sent their answers; it grows
drafts, names one of them the lane's answer, and writes what is worth seeing into `lane.detail`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedTokenizerBase

from playground.decoders import logits
from playground.engine.engine import Asking, Stopped
from playground.engine.requests import Open, Opened
from playground.models.prompts import plain_ids
from playground.types import Cost

SHOWN = 5
"""Candidates recorded for each token and distribution."""
UNFINISHED = "\ufffd"
"""How a decoder of bytes writes what is no whole character yet."""
_COLDEST = 1e-4
"""Below this temperature a draw is the most probable token, and dividing by it would overflow."""


class Options(BaseModel):
    """Base of every method's options: a typed record from which the page builds its controls."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Sampling(Options):
    """How a token is drawn from a distribution. Applied in this order: repetition penalty, temperature, top-k,
    top-p, min-p; temperature 0 takes the most probable token."""

    temperature: float = Field(1.0, ge=0, le=5, title="Temperature", description="0 is greedy; 1 leaves it as it is")
    top_k: int = Field(0, ge=0, le=100_000, title="Top-k", description="Keep the k likeliest tokens; 0 keeps all")
    top_p: float = Field(1.0, gt=0, le=1, title="Top-p", description="Keep the likeliest tokens up to this mass")
    min_p: float = Field(0.0, ge=0, le=1, title="Min-p", description="Drop tokens below this share of the likeliest")
    repetition_penalty: float = Field(
        1.0, ge=0.5, le=3, title="Repetition penalty", description="Above 1 makes tokens already used less likely"
    )

    def choose(self, log_probs: torch.Tensor, seen: list[int], rng: np.random.Generator) -> int:
        """Draw one token; uses one uniform number, also when greedy, so that draws stay aligned between options."""
        uniform = rng.random()
        log_probs = logits.repetition_penalty(log_probs, seen, self.repetition_penalty)
        if self.temperature < _COLDEST:
            return int(log_probs.argmax())
        log_probs = (log_probs / self.temperature).log_softmax(-1)
        log_probs = logits.min_p(logits.top_p(logits.top_k(log_probs, self.top_k), self.top_p), self.min_p)
        return logits.draw(log_probs, uniform)


@dataclass(frozen=True)
class Decoder:
    """A method: its name in every interface, what it is, its options, its generator."""

    name: str
    title: str
    summary: str
    options: type[Options]
    run: Callable[[Lane, Any], Asking]
    in_front: tuple[str, ...]
    """The options that the page shows first; the others are a click away."""
    source: str = ""
    variants: Callable[[Any], tuple[str, ...]] = lambda options: (options.variant,)
    """The variants that a run with these options asks for."""
    embeds: bool = False
    """Whether it asks how much alike texts are (`Lane.embed`)."""
    many: str | None = None
    """The option that sets how many answers one run gives (its detail's `candidates`), of a method that has one."""


@dataclass(frozen=True)
class Limits:
    """When an answer ends, apart from the model's own end token."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(eq=False)
class Draft:
    """An answer under way. All that ends an answer (end token, stop string, limit) is decided in `append`.

    token_ids include the end token; text does not. log_probs are those of the tokens under the model that drew them,
    before temperature and truncation, where there is one such model.
    """

    lane: Lane
    index: int
    token_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    finish_reason: str | None = None
    _context: int = 0
    _pending: int = 0

    @property
    def ended(self) -> bool:
        return self.finish_reason is not None

    @property
    def mean_log_prob(self) -> float:
        """Per token, of those noted while drawing; -inf where there are none."""
        return sum(self.log_probs) / len(self.log_probs) if self.log_probs else -math.inf

    def as_candidate(self, score: float | None = None) -> dict[str, Any]:
        """What is kept of one of several answers."""
        kept = {"text": self.text, "token_ids": self.token_ids, "finish_reason": self.finish_reason or "stopped"}
        return kept if score is None else kept | {"score": round(score, 5)}

    def append(self, token: int, log_prob: float | None = None, record: dict[str, Any] | None = None) -> None:
        """Take one more token and tell the lane's listener. `record` is what the page shows of it."""
        self.token_ids.append(token)
        if log_prob is not None:
            self.log_probs.append(log_prob)
        self.lane.cost.generated_tokens += 1
        is_end = token in self.lane.end_ids
        piece = "" if is_end else self._piece()
        self.text += piece
        self.records.append({"id": token, "text": piece, **(record or {})})
        if is_end:
            self.finish_reason = "end"
        elif (cut := self._stop_at(piece)) is not None:
            self.text, self.finish_reason = self.text[:cut], "stop"
        elif len(self.token_ids) >= self.lane.limits.max_new_tokens:
            self.finish_reason = "length"
        self.lane.listener(self)

    def fork(self, index: int) -> Draft:
        """A copy that goes on by itself, as number `index`."""
        twin = copy.copy(self)
        twin.index = index
        twin.token_ids, twin.log_probs, twin.records = [*self.token_ids], [*self.log_probs], [*self.records]
        return twin

    def _piece(self) -> str:
        """The text that the last token adds. A character made of several tokens comes with the last of them.

        Decoded behind the tokens before it: some tokenizers strip the space from whatever comes first.
        """
        known = self.lane.decode(self.token_ids[self._context : self._pending])
        whole = self.lane.decode(self.token_ids[self._context :])
        if whole.endswith(UNFINISHED) and len(self.token_ids) - self._pending < 8:
            return ""
        self._context, self._pending = self._pending, len(self.token_ids)
        return whole[len(known) :]

    def _stop_at(self, piece: str) -> int | None:
        longest = max(map(len, self.lane.limits.stop), default=0)
        start = max(0, len(self.text) - len(piece) - longest)
        found = [at for stop in self.lane.limits.stop if (at := self.text.find(stop, start)) >= 0]
        return min(found, default=None)


@dataclass(eq=False)
class Lane:
    """Where a decoder works: the prompt as ids, limits, random numbers, and what it has to show for itself.

    encode: variant name → prompt ids of that variant. ask: (variant, another prompt) → its ids. embed: texts → their
    embeddings [n, size]. kept: what scorers keep as long as the lane lasts. listener: told of every draft that grew.
    """

    encode: Callable[[str], list[int]]
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    limits: Limits
    seed: int
    cost: Cost = field(default_factory=Cost)
    listener: Callable[[Draft], None] = lambda draft: None
    prompt: str = ""
    ask: Callable[[str, str], list[int]] | None = None
    embed: Callable[[list[str]], np.ndarray] | None = None
    kept: dict[Any, Any] = field(default_factory=dict)
    answer: Draft | None = None
    stopped: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    def draft(self, index: int = 0) -> Draft:
        """A new, empty answer."""
        return Draft(self, index)

    def rng(self, stream: int = 0) -> np.random.Generator:
        """Random numbers of one branch. They depend on the run's seed and the branch's number, on nothing else."""
        return np.random.default_rng([self.seed, stream])

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def ids(self, text: str) -> list[int]:
        """The token ids of an answer's text."""
        return plain_ids(self.tokenizer, text)

    def decode_one(self, token: int) -> str:
        """A token's text as it stands inside a text, with the space that opens it."""
        return self.decode([token, token])[len(self.decode([token])) :]

    def open(self, *variants: str) -> Generator[list, list, list[Opened]]:
        """Begin the answer under each of the variants: their prompts are put through."""
        return (yield [Open(variant, tuple(self.encode(variant))) for variant in variants])

    def record(self, log_probs: torch.Tensor, token: int) -> dict[str, Any]:
        """What is shown of a token drawn from one model: its log-probability and the likeliest candidates."""
        top = log_probs.topk(min(SHOWN, len(log_probs)))
        return {
            "log_prob": round(float(log_probs[token]), 5),
            "top": [
                {"id": i, "text": self.decode_one(i), "p": round(p, 5)}
                for i, p in zip(top.indices.tolist(), top.values.exp().tolist(), strict=True)
            ],
        }


def decode(decoder: Decoder, lane: Lane, options: Options) -> Asking:
    """Run a decoder in a lane to its end, or until it is stopped, when its answer so far stands. Returns the lane."""
    try:
        yield from decoder.run(lane, options)
    except Stopped:
        lane.stopped = True
        lane.answer = lane.answer or lane.draft()
        if not lane.answer.ended:
            lane.answer.finish_reason = "stopped"
    lane.detail.setdefault("tokens", lane.answer.records)
    return lane
