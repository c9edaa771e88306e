"""DeRa, decoding-time realignment (Liu et al., ICML 2024, arXiv 2402.02992).

Mixes the logits of a reference and an aligned model, (1 - λ)·reference + λ·aligned, which approximates a model
aligned with another KL strength: β/λ in place of β.
"""

from __future__ import annotations

import itertools
import math
import re
from functools import lru_cache
from typing import Any

from pydantic import Field, field_validator

from playground.branch import logits
from playground.branch.branch import Branch, mixture_record
from playground.branch.lane import Lane, divergence
from playground.decoders.base import Decoder, Dial, Sampling
from playground.engine.engine import Asking
from playground.errors import UserError, shown
from playground.policy import Policy

LOWEST, HIGHEST = -1.0, 5.0
"""The range of λ: from un-aligning to strong exaggeration."""


class DeraOptions(Sampling):
    lambda_: float = Field(
        0.5,
        ge=LOWEST,
        le=HIGHEST,
        title="λ",
        description="0: reference, 1: aligned model, above 1: more than aligned, below 0: the opposite",
    )
    reference: Policy = Field("reference", title="Reference model", description="What writes at λ = 0")
    aligned: Policy = Field("aligned", title="Aligned model", description="What writes at λ = 1")
    temperature: float = Field(0.0, ge=0, le=5, title="Temperature", description="0 is greedy; 1 changes nothing")
    schedule: str = Field(
        "",
        max_length=400,
        title="λ by token",
        description="Another λ for ranges of tokens, such as 1-8:0.2 20-:1.5; all other tokens use λ",
    )

    @field_validator("schedule")
    @classmethod
    def _ranges(cls, text: str) -> str:
        ranges_of(text)
        return text

    def lambda_at(self, place: int) -> float:
        """λ of the token at `place`, counted from 0."""
        return next((λ for first, last, λ in ranges_of(self.schedule) if first <= place + 1 <= last), self.lambda_)

    @property
    def scheduled(self) -> tuple[float, ...]:
        """Every λ that it uses."""
        return (self.lambda_, *(λ for _, _, λ in ranges_of(self.schedule)))


@lru_cache(256)
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
        parts.append(f"{first}-{last}:{value:.9f}".rstrip("0").rstrip("."))
        first = last + 1
    return " ".join(parts)


def turned(options: DeraOptions, tokens: list[dict[str, Any]], place: int, lambda_: float) -> DeraOptions:
    """The options that go on from `place` at another λ; every token before it keeps the λ that it was written at."""
    before = schedule_of([token.get("lambda", options.lambda_) for token in tokens[:place]])
    return options.model_copy(update={"lambda_": lambda_, "schedule": before})


def mixture(options: DeraOptions, lambda_: float) -> Policy:
    """What writes at a λ: (1 - λ)·reference + λ·aligned."""
    return Policy.mix((1 - lambda_, options.reference), (lambda_, options.aligned))


def run(lane: Lane, options: DeraOptions) -> Asking:
    """Draw every token from the mixture; both models then read it, in one batch where they share weights."""
    parts = {"reference": lane.resolve(options.reference), "aligned": lane.resolve(options.aligned)}
    options = options.model_copy(update=parts)
    if min(options.scheduled) < 0:
        lane.detail["warning"] = "λ below 0 steers away from the aligned model; expect worse behaviour on purpose."
    lane.colour(divergence("reference"))
    lane.detail["dial"] = {"title": "λ", "low": LOWEST, "high": HIGHEST, "value": options.lambda_}
    if options.schedule:
        lane.detail["dial"]["scheduled"] = True

    def describe(branch: Branch, token: int) -> dict[str, Any]:
        λ = options.lambda_at(len(branch.draft.token_ids))
        rows = {name: branch.text.under(part) for name, part in parts.items()}
        flips = logits.flip_points(rows["reference"], rows["aligned"], LOWEST, HIGHEST)
        return {
            "lambda": λ,
            **mixture_record(lane, rows, branch.log_probs, token),
            "flips": [{"lambda": round(at, 6), "id": i, "text": lane.decode_one(i)} for at, i in flips],
        }

    def pick(branch: Branch) -> int:
        λ = options.lambda_at(len(branch.draft.token_ids))
        branch.text.policy = mixture(options, λ)
        return options.pick(branch)

    branch = yield from Branch.open(lane, *parts.values())
    branch.describe = describe
    yield from branch.grow(pick)


DECODER = Decoder(
    name="dera",
    title="DeRa",
    summary="Mixes a reference and an aligned model at every token; λ sets how much of the alignment is used.",
    options=DeraOptions,
    run=run,
    in_front=("lambda_",),
    source="Liu et al., ICML 2024, arXiv 2402.02992",
    dial=Dial("lambda_", "λ", LOWEST, HIGHEST, turned, mixture),
)
