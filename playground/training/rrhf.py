"""RRHF: rank responses to align (Yuan et al., NeurIPS 2023, arXiv 2304.05302), with LoRA.

For one query with k responses: p_i is the mean token log-probability of response i (eq. 1);
loss = rank_weight · Σ_{r_i<r_j} max(0, p_i − p_j) + tune_weight · (−p of the best response) (eqs. 2 to 4).
"""

from __future__ import annotations

from pathlib import Path

import torch

from playground.errors import UserError
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat, plain_ids
from playground.training.data import RankedRow, read_rows
from playground.training.likelihood import Pair, mean_log_probs, mean_log_probs_of_all
from playground.training.parts import Lora
from playground.training.records import RrhfConfig, RrhfJob


class Rrhf:
    """RRHF as an objective: a LoRA adapter that learns from ranked responses."""

    name = "RRHF"
    makes = "LoRA adapter"
    writes = True
    read = staticmethod(read_rows)

    def __init__(self, loaded: LoadedModel, job: RrhfJob):
        """An adapter to start from (job.start) sets the rank; else the adapter is a fresh one."""
        if loaded.precision == "int4":
            raise UserError("int4 weights cannot be trained on; load the model as bf16 or fp32.")
        self.loaded, self.config, self.start = loaded, job.config, job.start

    def misfit(self, row: RankedRow) -> str | None:
        """Queries over the limit are left out."""
        if len(encode_chat(self.loaded.tokenizer, row.query)) <= self.config.max_prompt:
            return None
        return f"the query is over {self.config.max_prompt} tokens long; raise --max-prompt"

    def build(self, rows: list[RankedRow]) -> dict[str, torch.nn.Parameter]:
        """Add the adapter to the model. Raises UserError if the model has no such layers."""
        self.adapter = Lora(self.loaded.model, self.config, self.start)
        return self.adapter.parameters

    def loss(self, rows: list[RankedRow]) -> torch.Tensor:
        """The mean of the rows' losses []."""
        self.loaded.model.train()
        encoded = [encode(self.loaded, row, self.config) for row in rows]
        means = mean_log_probs_of_all(self.loaded.model, [pair for pairs in encoded for pair in pairs])
        losses = []
        for row, part in zip(rows, means.split([len(pairs) for pairs in encoded]), strict=True):
            scores = torch.tensor(row.scores, device=part.device)
            losses.append(rrhf_loss(part, scores, self.config.rank_weight, self.config.tune_weight))
        return torch.stack(losses).mean()

    def measure(self, rows: list[RankedRow]) -> dict[str, float]:
        """Ranking accuracy: the share of ordered pairs that mean token log-probability orders right; ties count a
        half."""
        self.loaded.model.eval()
        right = total = 0.0
        for row in rows:
            means = mean_log_probs(self.loaded.model, encode(self.loaded, row, self.config)).tolist()
            for i, worse in enumerate(row.scores):
                for j, better in enumerate(row.scores):
                    if worse < better:
                        right += 0.5 * (means[i] == means[j]) + (means[i] < means[j])
                        total += 1
        return {"ranking accuracy": right / total if total else float("nan")}

    def save(self, out: Path) -> None:
        """Write the adapter, scaled and in bf16."""
        self.adapter.save(out, self.config.scale)


def rrhf_loss(
    means: torch.Tensor, scores: torch.Tensor, rank_weight: float = 1.0, tune_weight: float = 1.0
) -> torch.Tensor:
    """The loss of one query. means [k]: mean token log-probabilities; scores [k]. Equal scores make no pair; one
    response alone is supervised fine-tuning."""
    worse_better = scores[:, None] < scores[None, :]
    hinge = (means[:, None] - means[None, :]).clamp_min(0)
    rank = (hinge * worse_better).sum()
    return rank_weight * rank - tune_weight * means[scores.argmax()]


def encode(loaded: LoadedModel, row: RankedRow, config: RrhfConfig) -> list[Pair]:
    """(prompt ids, response ids) of each response; an end token closes every response that is not cut, be it in the row
    or here."""
    tokenizer = loaded.tokenizer
    prompt = encode_chat(tokenizer, row.query)
    if len(prompt) > config.max_prompt:
        raise UserError(
            f"A query is {len(prompt)} tokens long, over the limit of {config.max_prompt}; raise the limit or drop it."
        )
    pairs = []
    for number, response in enumerate(row.responses):
        ids = [*plain_ids(tokenizer, response), *([] if number in row.cut else [tokenizer.eos_token_id])]
        pairs.append((prompt, ids[: config.max_response]))
    return pairs
