"""Branches: a growing answer with the text that the models have read of it, and the record of each of its tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from playground.branch import logits
from playground.branch.lane import SURPRISE, Draft, Lane, divergence
from playground.branch.text import Text, open_texts
from playground.engine.engine import Asking
from playground.engine.runner import SHORT
from playground.policy import Policy

SHOWN = 5
"""Candidates recorded for each token and distribution."""


Pick = Callable[["Branch"], int]
"""Chooses a branch's next token."""


@dataclass(eq=False)
class Branch:
    """One way the answer may go: its draft, the text that the models have read of it, and its random numbers.

    The text may be behind the draft: tokens are put through when somebody wants to know what comes after them.
    `describe`: (branch, token) → the record of a token that is about to be put down. `held`: the text outlasts the
    draft, until somebody releases it.
    """

    lane: Lane
    draft: Draft
    text: Text
    rng: np.random.Generator
    describe: Callable[[Branch, int], dict[str, Any]] | None = None
    held: bool = False
    _read: int = 0

    @classmethod
    def open(cls, lane: Lane, *policies: Policy) -> Asking:
        """A branch at the beginning of the answer, written by the first policy, with the texts of all variants behind
        any of them. Its draft is the lane's answer unless the method names another."""
        policies = tuple(map(lane.resolve, policies))
        prompts = {name: lane.encode(name) for policy in policies for name in policy.names}
        [text] = yield from open_texts([(policies[0], prompts)])
        draft = lane.begun()
        if "colour" not in lane.detail:
            lane.colour(SURPRISE if policies[0].plain else divergence(policies[0].names[0]))
        # In pieces that run packed: the same bits as token by token, so that the answer goes on as if it had gone on
        # at once.
        for start in range(0, len(draft.token_ids), SHORT):
            yield from text.extend(tuple(draft.token_ids[start : start + SHORT]))
        return cls(lane, draft, text, _after(lane, lane.rng()), _read=len(draft.token_ids))

    @property
    def ended(self) -> bool:
        return self.draft.ended

    @property
    def read(self) -> tuple[int, ...]:
        """What the models have read of the draft."""
        return tuple(self.draft.token_ids[: self._read])

    @property
    def log_probs(self) -> torch.Tensor:
        """What the policy says comes next, once `look` has been through."""
        return self.text.log_probs

    def fork(self, *path: int) -> Branch:
        """A branch with the same past; its random numbers are those of `path`, its draft has the first of them."""
        draft, rng = self.draft.fork(path[0]), self.lane.rng(*path)
        return Branch(self.lane, draft, self.text.fork(), rng, self.describe, self.held, self._read)

    def forks(self, n: int) -> list[Branch]:
        """This branch and n - 1 forks of it, numbered."""
        twins = [self.fork(number) for number in range(1, n)]
        for twin in twins:
            _after(self.lane, twin.rng)
        return [self, *twins]

    def release(self) -> None:
        """Give back the memory of the text; the draft stays."""
        self.text.release()

    def look(self) -> Asking:
        """Put through what the models have not read yet. Returns what the policy says comes next."""
        new = tuple(self.draft.token_ids[self._read :])
        if new:
            yield from self.text.extend(new)
            self._read += len(new)
        return self.log_probs

    def put(self, token: int) -> int:
        """Write one more token: the next one of the lane's forced beginning as long as that lasts, else `token`.
        Returns which it was. What was drawn is counted here, whether or not it gets into the answer."""
        place = len(self.draft.token_ids)
        if place < len(self.lane.begin):
            token = self.lane.begin[place]
        self.lane.cost.generated_tokens += 1
        record = self.describe(self, token) if self.describe else token_record(self.lane, self.text, token)
        self.draft.append(token, float(self.log_probs[token]), record)
        if self.ended and not self.held:
            self.release()
        return token

    def grow(
        self, pick: Pick, most: int | None = None, enough: Callable[[Draft], bool] = lambda draft: False
    ) -> Asking:
        """Write tokens as `pick` says until the answer has ended, `most` are written, or it is `enough`."""
        written = 0
        while not (self.ended or written == most or (written and enough and enough(self.draft))):
            yield from self.look()
            self.put(pick(self))
            written += 1

    def write_beginning(self) -> Asking:
        """Write what the lane's beginning forces, before a search begins."""
        yield from self.grow(lambda branch: 0, most=len(self.lane.begin) - len(self.draft.token_ids))


def _after(lane: Lane, rng: np.random.Generator) -> np.random.Generator:
    """The random numbers without those that the known tokens were drawn with: one each."""
    rng.random(len(lane.known))
    return rng


def token_record(lane: Lane, text: Text, token: int) -> dict[str, Any]:
    """What is shown of a token: of one variant its log-probability and the likeliest candidates; of a mixture the
    candidates under every variant, too."""
    if not text.policy.plain:
        return mixture_record(lane, {name: text.rows[name] for name in text.policy.names}, text.log_probs, token)
    log_probs = text.log_probs
    top = log_probs.topk(min(SHOWN, len(log_probs)))
    return {
        "log_prob": round(float(log_probs[token]), 5),
        "top": [
            {"id": i, "text": lane.decode_one(i), "p": round(p, 5)}
            for i, p in zip(top.indices.tolist(), top.values.exp().tolist(), strict=True)
        ],
    }


def mixture_record(lane: Lane, parts: dict[str, torch.Tensor], mixed: torch.Tensor, token: int) -> dict[str, Any]:
    """What is shown of a token drawn from a mixture: KL(mixed‖part) in nats for each part, entropy of the mixture, and
    the top candidates of any of them with all their probabilities. All before temperature and truncation."""
    rows = torch.stack([*parts.values(), mixed])
    ids = torch.cat([rows.topk(min(SHOWN, rows.shape[1])).indices.view(-1), torch.tensor([token])]).unique()
    ids = ids[mixed[ids].argsort(descending=True)]
    columns = rows[:, ids].exp().T.tolist()
    return {
        "log_prob": round(float(mixed[token]), 5),
        **{f"kl_to_{name}": round(float(logits.kl(mixed, row)), 5) for name, row in parts.items()},
        "entropy": round(float(logits.entropy(mixed)), 5),
        "top": [
            {
                "id": i,
                "text": lane.decode_one(i),
                **{name: round(p, 5) for name, p in zip((*parts, "mixed"), ps, strict=True)},
            }
            for i, ps in zip(ids.tolist(), columns, strict=True)
        ],
    }
