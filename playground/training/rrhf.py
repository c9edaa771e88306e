"""RRHF: rank responses to align (Yuan et al., NeurIPS 2023, arXiv 2304.05302), with LoRA.

For one query with k responses: p_i is the mean token log-probability of response i (eq. 1);
loss = rank_weight · Σ_{r_i<r_j} max(0, p_i − p_j) + tune_weight · (−p of the best response) (eqs. 2 to 4).
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.utils.rnn import pad_sequence

from playground.errors import UserError, shown
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat, plain_ids
from playground.training.data import RankedRow, read_rows
from playground.training.records import RrhfConfig, RrhfJob

IGNORED = -100
TOGETHER = 6
"""Responses that are padded to one length."""


class Rrhf:
    """RRHF as an objective: a LoRA adapter that learns from ranked responses."""

    name = "RRHF"
    makes = "LoRA adapter"
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

    def build(self) -> dict[str, torch.nn.Parameter]:
        """Add the adapter to the model. Raises UserError if the model has no such layers."""
        config = self.config
        self.model: PeftModel
        if self.start:
            self.model = PeftModel.from_pretrained(self.loaded.model, self.start, is_trainable=True)
        else:
            targets = config.targets if config.targets == "all-linear" else config.targets.split(",")
            lora = LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=targets, task_type="CAUSAL_LM")
            try:
                self.model = get_peft_model(self.loaded.model, lora)
            except ValueError:
                raise UserError(
                    f"The model has no layers named {shown(config.targets)}; name them as v_proj,o_proj."
                ) from None
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def loss(self, rows: list[RankedRow]) -> torch.Tensor:
        """The mean of the rows' losses []."""
        self.model.train()
        encoded = [encode(self.loaded, row, self.config) for row in rows]
        means = mean_log_probs_of_all(self.model.get_base_model(), [pair for pairs in encoded for pair in pairs])
        losses = []
        for row, part in zip(rows, means.split([len(pairs) for pairs in encoded]), strict=True):
            scores = torch.tensor(row.scores, device=part.device)
            losses.append(rrhf_loss(part, scores, self.config.rank_weight, self.config.tune_weight))
        return torch.stack(losses).mean()

    def measure(self, rows: list[RankedRow]) -> dict[str, float]:
        """Ranking accuracy: the share of ordered pairs that mean token log-probability orders right; ties count a
        half."""
        self.model.eval()
        right = total = 0.0
        for row in rows:
            means = mean_log_probs(self.model.get_base_model(), encode(self.loaded, row, self.config)).tolist()
            for i, worse in enumerate(row.scores):
                for j, better in enumerate(row.scores):
                    if worse < better:
                        right += 0.5 * (means[i] == means[j]) + (means[i] < means[j])
                        total += 1
        return {"ranking accuracy": right / total if total else float("nan")}

    def save(self, out: Path) -> None:
        """Write the adapter, scaled and in bf16."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(self.config.scale)
        self.model.to(torch.bfloat16).save_pretrained(out)


def rrhf_loss(
    means: torch.Tensor, scores: torch.Tensor, rank_weight: float = 1.0, tune_weight: float = 1.0
) -> torch.Tensor:
    """The loss of one query. means [k]: mean token log-probabilities; scores [k]. Equal scores make no pair; one
    response alone is supervised fine-tuning."""
    worse_better = scores[:, None] < scores[None, :]
    hinge = (means[:, None] - means[None, :]).clamp_min(0)
    rank = (hinge * worse_better).sum()
    return rank_weight * rank - tune_weight * means[scores.argmax()]


def encode(loaded: LoadedModel, row: RankedRow, config: RrhfConfig) -> list[tuple[list[int], list[int]]]:
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


def mean_log_probs(model, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """Mean token log-probability [n] of each response after its prompt. The head sees response positions only."""
    device = next(model.parameters()).device
    ids = [torch.tensor(p + r, device=device) for p, r in pairs]
    labels = [torch.tensor([IGNORED] * len(p) + r, device=device) for p, r in pairs]
    mask = pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
    hidden = model.model(input_ids=pad_sequence(ids, batch_first=True), attention_mask=mask, use_cache=False)[0]
    target = pad_sequence(labels, batch_first=True, padding_value=IGNORED)[:, 1:]
    wanted = target != IGNORED
    logits = model.lm_head(hidden[:, :-1][wanted]).float()
    token = logits.log_softmax(-1).gather(-1, target[wanted][:, None])[:, 0]
    row_of = wanted.nonzero()[:, 0]
    totals = torch.zeros(len(pairs), device=device).index_add(0, row_of, token)
    return totals / wanted.sum(1)


def mean_log_probs_of_all(model, pairs: list[tuple[list[int], list[int]]]) -> torch.Tensor:
    """`mean_log_probs` of many pairs, those of similar length in one batch: padding would cost as much as text."""
    by_length = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    parts = [by_length[i : i + TOGETHER] for i in range(0, len(pairs), TOGETHER)]
    means = torch.cat([mean_log_probs(model, [pairs[i] for i in part]) for part in parts])
    return means[torch.tensor(by_length, device=means.device).argsort()]
