"""Prefix values, trained as in FUDGE (Yang & Klein, NAACL 2021, arXiv 2104.05218) for IVG (arXiv 2409.17819, §3): of a
response with the final reward R every prefix is an example for R.

loss = mean over responses of mean over its tokens t of (V(x, y_≤t) − R)², R standardised; what is saved gives values in
the reward's own units.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from playground.errors import UserError
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat
from playground.training.data import RankedRow, read_scored
from playground.training.likelihood import IGNORED, Pair, in_batches, length, read
from playground.training.parts import Lora, ValueHead
from playground.training.records import ValueJob
from playground.training.rrhf import encode

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Shares of a response after which its value is compared with its reward."""


class PrefixValue:
    """Learning what reward an unfinished response will end with, as an objective."""

    name = "prefix values (FUDGE)"
    makes = "value head"
    writes = False
    read = staticmethod(read_scored)

    def __init__(self, loaded: LoadedModel, job: ValueJob):
        if loaded.precision == "int4":
            raise UserError("int4 weights cannot be trained on; load the model as bf16 or fp32.")
        self.loaded, self.config = loaded, job.config

    def misfit(self, row: RankedRow) -> str | None:
        """Queries over the limit are left out."""
        if len(encode_chat(self.loaded.tokenizer, row.query)) <= self.config.max_prompt:
            return None
        return f"the query is over {self.config.max_prompt} tokens long; raise --max-prompt"

    def build(self, rows: list[RankedRow]) -> dict[str, torch.nn.Parameter]:
        """Put a head on the model and, if it is to be, an adapter below it. Raises UserError if all rewards of `rows`
        are equal, and if the model has no such layers."""
        rewards = [score for row in rows for score in row.scores]
        self.mean, self.spread = float(np.mean(rewards)), float(np.std(rewards))
        if not self.spread:
            raise UserError(f"All rewards are {self.mean:g}, so that there is nothing to learn; score the rows.")
        self.head = ValueHead(self.loaded.model, self.config.hidden)
        self.adapter = Lora(self.loaded.model, self.config) if self.config.form == "lora" else None
        return self.head.parameters | (self.adapter.parameters if self.adapter else {})

    def loss(self, rows: list[RankedRow]) -> torch.Tensor:
        """Mean squared error [] of standardised values."""
        self.loaded.model.train()
        rewards = [(score - self.mean) / self.spread for row in rows for score in row.scores]
        values = self.values(rows)
        return torch.stack([((v - reward) ** 2).mean() for v, reward in zip(values, rewards, strict=True)]).mean()

    def measure(self, rows: list[RankedRow]) -> dict[str, float]:
        """Correlation of a value with the final reward, by the share of the response that was seen; none where all
        values or all rewards are equal."""
        self.loaded.model.eval()
        values, rewards = self.values(rows), [score for row in rows for score in row.scores]
        found = {}
        for share in SHARES:
            seen = [float(v[math.ceil(share * len(v)) - 1]) for v in values]
            if np.std(seen) and np.std(rewards):
                found[f"r at {share:.0%}"] = float(np.corrcoef(seen, rewards)[0, 1])
        return found

    def values(self, rows: list[RankedRow]) -> list[torch.Tensor]:
        """Standardised values [tokens] of every response of the rows, at each of its tokens but an end token."""
        end = self.loaded.tokenizer.eos_token_id
        pairs = [pair for row in rows for pair in encode(self.loaded, row, self.config)]
        return in_batches(self._values, [(prompt, [i for i in ids if i != end]) for prompt, ids in pairs], length)

    def _values(self, pairs: list[Pair]) -> list[torch.Tensor]:
        states, target = read(self.loaded.model, pairs)
        wanted = target != IGNORED
        return list(self.head.values(states[wanted]).split(wanted.sum(1).tolist()))

    def save(self, out: Path) -> None:
        """Write the head and the adapter below it."""
        self.head.save(out, self.spread, self.mean)
        if self.adapter:
            self.adapter.save(out)
