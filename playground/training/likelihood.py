"""Log-probabilities of responses with gradients, for every objective that tunes what a model writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch.nn.utils.rnn import pad_sequence

Item = TypeVar("Item")
IGNORED = -100
TOGETHER = 6
"""Texts that are padded to one length."""
Pair = tuple[list[int], list[int]]
"""Prompt ids and response ids."""


def read(model, pairs: list[Pair], before: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Final hidden states [n, tokens, hidden_size] of each response behind its prompt, in front of which the vectors
    `before` [k, hidden_size] may stand; and the response's token at each place [n, tokens], IGNORED where none is."""
    device = next(model.parameters()).device
    ids = [torch.tensor(p + r, device=device) for p, r in pairs]
    labels = [torch.tensor([IGNORED] * len(p) + r, device=device) for p, r in pairs]
    mask = pad_sequence([torch.ones_like(i) for i in ids], batch_first=True)
    target = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
    embedded = model.get_input_embeddings()(pad_sequence(ids, batch_first=True))
    if before is not None:
        count = len(before)
        embedded = torch.cat([before.to(embedded.dtype).expand(len(pairs), -1, -1), embedded], 1)
        mask = torch.cat([mask.new_ones(len(pairs), count), mask], 1)
        target = torch.cat([target.new_full((len(pairs), count), IGNORED), target], 1)
    return model.model(inputs_embeds=embedded, attention_mask=mask, use_cache=False)[0], target


def mean_log_probs(model, pairs: list[Pair], before: torch.Tensor | None = None) -> torch.Tensor:
    """Mean token log-probability [n] of each response after its prompt. The head sees response positions only."""
    hidden, target = read(model, pairs, before)
    target = target[:, 1:]
    wanted = target != IGNORED
    logits = model.lm_head(hidden[:, :-1][wanted]).float()
    token = logits.log_softmax(-1).gather(-1, target[wanted][:, None])[:, 0]
    row_of = wanted.nonzero()[:, 0]
    totals = torch.zeros(len(pairs), device=token.device).index_add(0, row_of, token)
    return totals / wanted.sum(1)


def mean_log_probs_of_all(model, pairs: list[Pair], before: torch.Tensor | None = None) -> torch.Tensor:
    """`mean_log_probs` of many pairs."""
    return torch.stack(in_batches(lambda part: list(mean_log_probs(model, part, before)), pairs, length))


def length(pair: Pair) -> int:
    """How many ids a prompt and its response have."""
    return len(pair[0]) + len(pair[1])


def in_batches(
    work: Callable[[list[Item]], list[torch.Tensor]], items: list[Item], length: Callable[[Item], int]
) -> list[torch.Tensor]:
    """What `work` makes of each item, those of similar length in one batch: padding would cost as much as text."""
    by_length = sorted(range(len(items)), key=lambda i: length(items[i]))
    found: dict[int, torch.Tensor] = {}
    for start in range(0, len(items), TOGETHER):
        part = by_length[start : start + TOGETHER]
        found |= zip(part, work([items[i] for i in part]), strict=True)
    return [found[i] for i in range(len(items))]
