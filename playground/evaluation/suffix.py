"""GCG (Zou et al., arXiv 2307.15043): a suffix behind a request that makes a model begin to comply.

It is found token by token with the gradient of the loss of a wanted beginning of the answer. The weights of the model
are used, so it is an attack by one who has them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat, plain_ids

FIRST = " !" * 12
"""The suffix that the search begins with, as the authors do."""


@dataclass(frozen=True)
class Effort:
    """How much is tried for a suffix. The authors': 500 steps of 512 candidates, drawn from the best 256."""

    steps: int = 40
    candidates: int = 32
    top: int = 64
    """Tokens with the best gradient that may stand at a place."""
    goal_tokens: int = 12
    """So much of the wanted beginning counts."""
    enough: float = 0.2
    """Nats per token of the wanted beginning at which the search ends."""


@dataclass(frozen=True)
class Suffix:
    """What was found: the text to put behind the request, and the loss of the wanted beginning, in nats per token,
    behind FIRST and behind it."""

    text: str
    loss_before: float
    loss: float
    steps: int


def find_suffix(loaded: LoadedModel, request: str, wanted: str, effort: Effort, seed: int = 0) -> Suffix:
    """Search a suffix behind `request` after which `loaded` begins its answer with `wanted`. Every step tries other
    tokens at single places and keeps the best suffix so far. Only suffixes count whose text gives the same tokens
    again, since they go through the same prompt as any person's words."""
    attack = _Attack(loaded, request, wanted, effort, seed)
    first, _ = attack.losses(attack.suffix[None])
    best, steps = float(first[0]), 0
    while steps < effort.steps and best > effort.enough:
        steps += 1
        tried = attack.candidates()
        if not len(tried):
            continue
        losses, _ = attack.losses(tried)
        if losses.min() < best:
            best, attack.suffix = float(losses.min()), tried[losses.argmin()]
    return Suffix(attack.text(attack.suffix), float(first[0]), best, steps)


class _Attack:
    """One request under attack. What stands before the suffix is read once."""

    def __init__(self, loaded: LoadedModel, request: str, wanted: str, effort: Effort, seed: int):
        self.loaded, self.effort, tokenizer = loaded, effort, loaded.tokenizer
        self.random = torch.Generator().manual_seed(seed)
        self.words, self.request = request, plain_ids(tokenizer, request)
        whole, content = encode_chat(tokenizer, request + FIRST), plain_ids(tokenizer, request + FIRST)
        start = next(i for i in range(len(whole)) if whole[i : i + len(content)] == content)
        self.before = whole[:start] + self.request
        self.suffix = torch.tensor(content[len(self.request) :])
        goal = plain_ids(tokenizer, wanted)[: effort.goal_tokens]
        self.goal = torch.tensor(goal)
        self.after = torch.tensor(whole[start + len(content) :] + goal)

    @cached_property
    def cache(self):
        """Keys and values of what stands before the suffix."""
        with torch.no_grad():
            return self.loaded.model.model(torch.tensor([self.before]), use_cache=True).past_key_values

    @cached_property
    def plain(self) -> torch.Tensor:
        """Which tokens [vocabulary] a suffix may have: printable ASCII, nothing special."""
        tokenizer = self.loaded.tokenizer
        size = self.table.shape[0]
        texts = tokenizer.batch_decode([[i] for i in range(size)])
        special = set(tokenizer.all_special_ids)
        return torch.tensor([t.isascii() and t.isprintable() and i not in special for i, t in enumerate(texts)])

    @property
    def table(self) -> torch.Tensor:
        return self.loaded.model.get_input_embeddings().weight

    def text(self, suffix: torch.Tensor) -> str:
        return self.loaded.tokenizer.decode(suffix.tolist(), clean_up_tokenization_spaces=False)

    def candidates(self) -> torch.Tensor:
        """Suffixes [n, length] that differ from the present one at a single place, n at most those of the effort."""
        found: dict[tuple[int, ...], None] = {}
        best = self._best_tokens()
        for _ in range(4 * self.effort.candidates):
            place, rank = (int(torch.randint(n, (1,), generator=self.random)) for n in best.shape)
            other = self.suffix.clone()
            other[place] = best[place, rank]
            again = plain_ids(self.loaded.tokenizer, self.words + self.text(other))
            if again == [*self.request, *other.tolist()] and not torch.equal(other, self.suffix):
                found[tuple(other.tolist())] = None
            if len(found) == self.effort.candidates:
                break
        return torch.tensor(list(found), dtype=torch.long)

    def _best_tokens(self) -> torch.Tensor:
        """Tokens [length, top] that lower the loss most by the gradient at each place."""
        losses, embedded = self.losses(self.suffix[None], gradient=True)
        (gradient,) = torch.autograd.grad(losses.sum(), embedded)
        scores = gradient[0].float() @ self.table.float().T
        scores[:, ~self.plain] = torch.inf
        return scores.topk(min(self.effort.top, int(self.plain.sum())), largest=False).indices

    def losses(self, suffixes: torch.Tensor, gradient: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss [n] of the wanted beginning behind each of `suffixes` [n, length], in nats per token, and the suffixes'
        embeddings [n, length, hidden_size], through which it has a gradient if that is asked for."""
        model, count = self.loaded.model, len(suffixes)
        with torch.set_grad_enabled(gradient):
            embedded = F.embedding(suffixes, self.table).detach().requires_grad_(gradient)
            rest = F.embedding(self.after, self.table).detach().expand(count, -1, -1)
            cache = copy.deepcopy(self.cache)
            cache.batch_repeat_interleave(count)
            hidden = model.model(inputs_embeds=torch.cat([embedded, rest], 1), past_key_values=cache, use_cache=True)[0]
            logits = model.lm_head(hidden[:, -len(self.goal) - 1 : -1]).float()
            each = F.cross_entropy(logits.transpose(1, 2), self.goal.expand(count, -1), reduction="none")
        return each.mean(1), embedded
