"""DeRa, decoding-time realignment (Liu et al., ICML 2024, arXiv 2402.02992).

Mixes the logits of a reference and an aligned model, (1 - λ)·reference + λ·aligned, which approximates a model
aligned with another KL strength: β/λ in place of β.
"""

from __future__ import annotations

import itertools
import math
import re
from functools import cache
from typing import Any

import torch
from pydantic import Field, field_validator

from playground.decoders import logits
from playground.decoders.base import SHOWN, Decoder, Lane, Sampling
from playground.engine.engine import Asking
from playground.engine.requests import Extend
from playground.errors import UserError, shown

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
    schedule: str = Field(
        "",
        max_length=400,
        title="λ schedule",
        description="Another λ for ranges of tokens, as in 1-8:0.2 20-:1.5; the λ above holds for the others",
    )
    begin: str = Field(
        "",
        max_length=20_000,
        title="Begins with",
        description="Token ids that open the answer, as “Continue from here” fills them in",
    )

    @field_validator("schedule")
    @classmethod
    def _ranges(cls, text: str) -> str:
        ranges_of(text)
        return text

    @field_validator("begin")
    @classmethod
    def _ids(cls, text: str) -> str:
        if not re.fullmatch(r"(\s*\d{1,7}\b)*\s*", text, re.ASCII):
            raise UserError(f"dera: begin is {shown(text)}; it must be token ids with spaces between them, or empty.")
        return text

    def lambda_at(self, place: int) -> float:
        """λ of the token at `place`, counted from 0."""
        return next((λ for first, last, λ in ranges_of(self.schedule) if first <= place + 1 <= last), self.lambda_)


@cache
def ranges_of(schedule: str) -> tuple[tuple[int, float, float], ...]:
    """A λ schedule as (first token, last token, λ), tokens counted from 1. Raises UserError."""
    found = []
    for part in schedule.split():
        read = re.fullmatch(r"(\d{1,6})(-?)(\d{0,6}):(-?\d+(?:\.\d+)?)", part)
        if not read or not (read[2] or not read[3]):
            raise UserError(
                f"dera: {shown(part)} in the schedule is no range with its λ; write for example 1-8:0.2 20-:1.5."
            )
        first, last = int(read[1]), float(read[3] or (math.inf if read[2] else read[1]))
        λ = float(read[4])
        if not 1 <= first <= last:
            raise UserError(
                f"dera: {shown(part)} in the schedule is empty; count tokens from 1, the lower number first."
            )
        if not LOWEST <= λ <= HIGHEST:
            raise UserError(f"dera: the λ in {shown(part)} of the schedule must lie from {LOWEST:g} to {HIGHEST:g}.")
        found.append((first, last, λ))
    return tuple(found)


def schedule_of(lambdas: list[float]) -> str:
    """The schedule that gives token n the n-th λ."""
    parts, first = [], 1
    for value, same in itertools.groupby(lambdas):
        last = first + len(list(same)) - 1
        parts.append(f"{first}-{last}:{value:g}")
        first = last + 1
    return " ".join(parts)


def run(lane: Lane, options: DeraOptions) -> Asking:
    """Draw every token from the mixture; both models then read it, in one batch where they share weights.

    The tokens of `begin` are taken as if they had been drawn, so that a continuation has all its records."""
    draft = lane.answer = lane.draft()
    rng = lane.rng()
    begin = [int(part) for part in options.begin.split()]
    if min(options.lambda_, *(λ for _, _, λ in ranges_of(options.schedule)), 0) < 0:
        lane.detail["warning"] = "λ below 0 steers away from the aligned model; expect worse behaviour on purpose."
    opened = yield from lane.open(options.reference, options.aligned)
    sequences = [o.sequence for o in opened]
    reference, aligned = (o.log_probs for o in opened)
    if any(token >= len(reference) for token in begin):
        raise UserError(
            f"The answer begins with token {max(begin)}, but the model knows {len(reference):,} tokens only."
        )
    while True:
        place = len(draft.token_ids)
        λ = options.lambda_at(place)
        mixed = logits.mix(reference, aligned, λ)
        token = options.choose(mixed, draft.token_ids, rng)
        if place < len(begin):
            token = begin[place]
        draft.append(token, record={"lambda": λ, **token_record(lane, reference, aligned, mixed, token)})
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
