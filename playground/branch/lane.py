"""The lane that a method works in, and its drafts: answers under way, and what ends them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from transformers import PreTrainedTokenizerBase

from playground.branch.text import open_texts
from playground.engine.engine import Asking
from playground.models.prompts import plain_ids
from playground.policy import Policy
from playground.types import Cost

UNFINISHED = "\ufffd"
"""How a decoder of bytes writes what is no whole character yet."""

_WORDS: WeakKeyDictionary[PreTrainedTokenizerBase, dict[int, str]] = WeakKeyDictionary()
"""What was decoded of single tokens: the likeliest ones come again and again."""


@dataclass(frozen=True)
class Limits:
    """When an answer ends, apart from the model's own end token."""

    max_new_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Colour:
    """Which number of a token colours it: `sign` times the number named `number`, full at `full`."""

    number: str
    title: str
    full: float
    sign: int = 1


SURPRISE = Colour("log_prob", "surprise −log p, nats", 6.0, -1)


def divergence(name: str) -> Colour:
    """Tokens of a mixture are coloured by how far it is from one of its parts."""
    return Colour(f"kl_to_{name}", f"KL(mixed‖{name}), nats", 1.5)


@dataclass(eq=False)
class Draft:
    """An answer under way. All that ends an answer (end token, stop string, limit) is decided in `append`.

    token_ids include the end token; text does not. log_probs are those of the tokens under the policy that drew them,
    before temperature and truncation.
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

    def as_candidate(self, **scores: float) -> dict[str, Any]:
        """What is recorded of one of several answers, with its scores by name."""
        rounded = {name: round(score, 5) for name, score in scores.items()}
        return {
            "text": self.text,
            "token_ids": self.token_ids,
            "finish_reason": self.finish_reason or "stopped",
            **rounded,
        }

    def append(self, token: int, log_prob: float | None = None, record: dict[str, Any] | None = None) -> None:
        """Take one more token and tell the lane's listener. `record` is what the page shows of it."""
        self.token_ids.append(token)
        if log_prob is not None:
            self.log_probs.append(log_prob)
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
    """Where a method works: the prompt as ids, limits, random numbers, and what it has to show for itself.

    encode: variant → prompt ids of that variant. alike: variant → what it shares with those that read this prompt, and
    all that follows it, with the same weights. ask: (variant, another prompt) → its ids. resolve: a policy → the same
    over variants only, its named mixtures written out. calibrated: (policy, α, what evaluates) → the threshold that was
    found for its confidence, if one was. begin: token ids that open the answer, whatever would be drawn. known: the
    records of the first of these, written by another lane: they stand at once, and the models only read them.
    kept: what scorers keep as long as the lane lasts. listener: told of every draft that grew.
    """

    encode: Callable[[str], list[int]]
    tokenizer: PreTrainedTokenizerBase
    end_ids: frozenset[int]
    limits: Limits
    seed: int
    begin: tuple[int, ...] = ()
    known: tuple[dict[str, Any], ...] = ()
    cost: Cost = field(default_factory=Cost)
    listener: Callable[[Draft], None] = lambda draft: None
    prompt: str = ""
    ask: Callable[[str, str], list[int]] | None = None
    alike: Callable[[str], Hashable] = str
    resolve: Callable[[Policy], Policy] = Policy
    calibrated: Callable[[Policy, float, str], float | None] = lambda policy, alpha, evaluation: None
    kept: dict[Any, Any] = field(default_factory=dict)
    answer: Draft | None = None
    stopped: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    def draft(self, index: int = 0) -> Draft:
        """A new, empty answer."""
        return Draft(self, index)

    def begun(self) -> Draft:
        """A new answer with the tokens that are known, as its first draft and as the lane's answer."""
        self.answer = self.draft()
        for record in self.known:
            own = {name: value for name, value in record.items() if name not in ("id", "text")}
            self.answer.append(record["id"], record.get("log_prob"), own)
        return self.answer

    def rng(self, *path: int) -> np.random.Generator:
        """Random numbers of one branch. They depend on the run's seed and the branch's path of numbers, on nothing
        else; the last number keeps paths of different lengths apart."""
        path = path or (0,)
        return np.random.default_rng([self.seed, *path, len(path) - 1])

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def ids(self, text: str) -> list[int]:
        """The token ids of an answer's text."""
        return plain_ids(self.tokenizer, text)

    def decode_one(self, token: int) -> str:
        """A token's text as it stands inside a text, with the space that opens it."""
        words = _WORDS.setdefault(self.tokenizer, {})
        if token not in words:
            words[token] = self.decode([token, token])[len(self.decode([token])) :]
        return words[token]

    def colour(self, colour: Colour) -> None:
        """Say what colours the tokens."""
        self.detail["colour"] = asdict(colour)

    def read(self, policy: Policy) -> Asking:
        """This lane's prompt as a text under a policy, for scorers."""
        policy = self.resolve(policy)
        [text] = yield from open_texts([(policy, {variant: self.encode(variant) for variant in policy.names})])
        return text

    def finish(self, stopped: bool) -> None:
        """The method is over: the answer stands as it is, and says so where it ended early."""
        self.stopped = self.stopped or stopped
        self.answer = self.answer or self.draft()
        if stopped and not self.answer.ended:
            self.answer.finish_reason = "stopped"
        self.detail.setdefault("tokens", self.answer.records)
