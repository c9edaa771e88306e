"""DeRa, decoding-time realignment (Liu et al., ICML 2024, arXiv 2402.02992).

Mixes the logits of a reference and an aligned model, (1 - λ)·reference + λ·aligned, which approximates a model
aligned with another KL strength: β/λ in place of β.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from playground.decoders import logits
from playground.decoders.base import SHOWN, Decoder, Lane, Sampling
from playground.engine.engine import Asking
from playground.engine.requests import Extend

LOWEST, HIGHEST = -1.0, 5.0
"""The range of λ: from un-aligning to strong exaggeration."""


class DeraOptions(Sampling):
    lambda_: float = Field(
        0.5,
        ge=LOWEST,
        le=HIGHEST,
        title="λ",
        description="0 is the reference, 1 the aligned model, above 1 exaggerates, below 0 un-aligns",
    )
    reference: str = Field("reference", title="Reference model", description="The variant at λ = 0")
    aligned: str = Field("aligned", title="Aligned model", description="The variant at λ = 1")
    temperature: float = Field(0.0, ge=0, le=5, title="Temperature", description="0 is greedy; 1 leaves it as it is")


def run(lane: Lane, options: DeraOptions) -> Asking:
    """Draw every token from the mixture; both models then read it, in one batch where they share weights."""
    draft = lane.answer = lane.draft()
    rng = lane.rng()
    if options.lambda_ < 0:
        lane.detail["warning"] = "λ below 0 steers away from the aligned model; expect worse behaviour on purpose."
    opened = yield from lane.open(options.reference, options.aligned)
    sequences = [o.sequence for o in opened]
    reference, aligned = (o.log_probs for o in opened)
    while True:
        mixed = logits.mix(reference, aligned, options.lambda_)
        token = options.choose(mixed, draft.token_ids, rng)
        draft.append(token, record=token_record(lane, reference, aligned, mixed, token))
        if draft.ended:
            return
        reference, aligned = yield [Extend(sequence, (token,)) for sequence in sequences]


def token_record(
    lane: Lane, reference: torch.Tensor, aligned: torch.Tensor, mixed: torch.Tensor, token: int
) -> dict[str, Any]:
    """What is shown of a token: KL(mixed‖reference) and KL(mixed‖aligned) in nats, entropy of the mixture, and the
    top candidates of any of the three with all three probabilities, and which token the mixture would have preferred
    at which λ (`flips`). All before temperature and truncation."""
    rows = torch.stack([reference, aligned, mixed])
    ids = torch.cat([rows.topk(min(SHOWN, rows.shape[1])).indices.view(-1), torch.tensor([token])]).unique()
    ids = ids[rows[2, ids].argsort(descending=True)]
    names = ("reference", "aligned", "mixed")
    columns = rows[:, ids].exp().T.tolist()
    return {
        "log_prob": round(float(mixed[token]), 5),
        "kl_to_reference": round(float(logits.kl(mixed, reference)), 5),
        "kl_to_aligned": round(float(logits.kl(mixed, aligned)), 5),
        "entropy": round(float(logits.entropy(mixed)), 5),
        "flips": [
            {"lambda": round(at, 6), "id": i, "text": lane.decode_one(i)}
            for at, i in logits.flip_points(reference, aligned, LOWEST, HIGHEST)
        ],
        "top": [
            {"id": i, "text": lane.decode_one(i), **{n: round(p, 5) for n, p in zip(names, ps, strict=True)}}
            for i, ps in zip(ids.tolist(), columns, strict=True)
        ],
    }


DECODER = Decoder(
    name="dera",
    title="DeRa",
    summary="Mixes a reference and an aligned model at every token; λ sets how much of the alignment is used.",
    options=DeraOptions,
    run=run,
    in_front=("lambda_",),
    source="Liu et al., ICML 2024, arXiv 2402.02992",
    variants=lambda options: (options.reference, options.aligned),
)
