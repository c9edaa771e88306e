"""Requests that a chat model thinks up itself: it is given an open user's turn to write (Magpie, arXiv 2406.08464)."""

from __future__ import annotations

import torch

from playground.models.fetch import Progress, no_progress
from playground.models.loading import LoadedModel
from playground.models.prompts import encode_chat

BATCH = 64
LENGTH = 48
"""Tokens of a request; one that is longer is left out."""


@torch.no_grad()
def imagine(loaded: LoadedModel, openings: list[str], seed: int, progress: Progress = no_progress) -> list[str]:
    """Requests that begin with `openings` ("" for any), sampled at temperature 0.9 from the model; different ones,
    in order, and only those that the model ended itself within `LENGTH` tokens."""
    torch.manual_seed(seed)
    tokenizer = loaded.tokenizer
    ids = encode_chat(tokenizer, "\ue000")
    mark = tokenizer("\ue000", add_special_tokens=False).input_ids
    at = next(i for i in range(len(ids)) if ids[i : i + len(mark)] == mark)
    found: dict[str, None] = {}
    for start in range(0, len(openings), BATCH):
        progress(start / len(openings), "thinking up requests")
        heads = [ids[:at] + tokenizer(o, add_special_tokens=False).input_ids for o in openings[start : start + BATCH]]
        width = max(map(len, heads))
        padded = torch.tensor([[tokenizer.eos_token_id] * (width - len(h)) + h for h in heads])
        mask = torch.tensor([[0] * (width - len(h)) + [1] * len(h) for h in heads])
        out = loaded.model.generate(
            input_ids=padded.to(loaded.device),
            attention_mask=mask.to(loaded.device),
            max_new_tokens=LENGTH,
            do_sample=True,
            temperature=0.9,
            top_p=0.95,
            pad_token_id=tokenizer.eos_token_id,
        )
        for opening, written in zip(openings[start:], out[:, width:].tolist(), strict=False):
            if tokenizer.eos_token_id in written:
                text = tokenizer.decode(written[: written.index(tokenizer.eos_token_id)])
                if len((opening + text).split()) > 2:
                    found[" ".join((opening + text).split())] = None
    progress(1.0, "thinking up requests")
    return list(found)
