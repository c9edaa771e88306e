"""EFT, emulated fine-tuning: the implicit value guides every token (Mitchell et al., ICLR 2024, arXiv 2310.12962; as
weak-to-strong search Zhou et al., NeurIPS 2024, arXiv 2405.19262).

Tokens are drawn from base + weight · (tuned − untuned), in logits. A tuned model is its untuned self tilted by a
reward, so log tuned − log untuned is that reward, token by token; it may steer another, larger base model.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from playground.branch.branch import Branch, mixture_record
from playground.branch.lane import Colour, Lane
from playground.decoders.base import Decoder
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking
from playground.policy import Policy

VALUE, SUM = "implicit_value", "implicit_sum"
"""What a token's record calls its implicit value, Σ_i w_i (log tuned_i − log untuned) in nats, and the sum up to it."""
COLOUR = Colour(VALUE, "implicit value log tuned − log untuned, nats", 3.0)


class EftOptions(SampleOptions):
    temperature: float = Field(0.7, ge=0, le=5, title="Temperature", description="0 is greedy; 1 changes nothing")
    weight: float = Field(
        1.0,
        ge=-10,
        le=10,
        title="Guidance weight",
        description="How hard the implicit value pushes; 0 is the base model, below 0 steers away",
    )
    variant: Policy = Field("reference", title="Base model", description="What is guided; may be a larger model")
    tuned: Policy = Field(
        "aligned",
        title="Tuned model",
        description="The model with the reward in it, or several: aligned + 0.5*positive",
    )
    untuned: Policy = Field("reference", title="Untuned model", description="The same before it was tuned")


def guided(base: Policy, tuned: Policy, untuned: Policy, weight: float) -> Policy:
    """base + Σ_i weight · w_i · (tuned_i − untuned), for `tuned` = Σ_i w_i · tuned_i."""
    held_against = sum(share for _, share in tuned.terms)
    return Policy.mix((1.0, base), (weight, tuned), (-weight * held_against, untuned))


def open_guided(lane: Lane, options: EftOptions) -> Asking:
    """A branch whose tokens are drawn with the implicit value, and recorded with it."""
    base, tuned, untuned = map(lane.resolve, (options.variant, options.tuned, options.untuned))
    if options.weight < 0:
        lane.detail["warning"] = "A weight below 0 steers away from the tuned model; expect worse behaviour on purpose."
    lane.colour(COLOUR)

    def describe(branch: Branch, token: int) -> dict[str, Any]:
        parts = {"base": base, "tuned": tuned, "untuned": untuned}
        rows = {name: branch.text.under(part) for name, part in parts.items()}
        each = branch.text.rows
        value = sum(share * float(each[name][token] - rows["untuned"][token]) for name, share in tuned.terms)
        before = branch.draft.records[-1][SUM] if branch.draft.records else 0.0
        return {
            VALUE: round(value, 5),
            SUM: round(before + value, 5),
            **mixture_record(lane, rows, branch.log_probs, token),
        }

    branch = yield from Branch.open(lane, guided(base, tuned, untuned, options.weight), base, tuned, untuned)
    branch.describe = describe
    return branch


def curve(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The running sum of the implicit value over the answer's tokens, as a curve to draw."""
    points = [(place, record[SUM]) for place, record in enumerate(records, 1)]
    return {"title": "sum of the implicit value, nats", "points": points}


def run(lane: Lane, options: EftOptions) -> Asking:
    """Draw every token from the guided mixture."""
    branch = yield from open_guided(lane, options)
    try:
        yield from branch.grow(options.pick)
    finally:
        lane.detail["curves"] = [curve(branch.draft.records)]


DECODER = Decoder(
    name="eft",
    title="EFT",
    summary="Pushes every token by how much likelier a tuned model finds it than the same model untuned.",
    options=EftOptions,
    run=run,
    in_front=("weight", "tuned"),
    source="Mitchell et al., ICLR 2024, arXiv 2310.12962; Zhou et al., NeurIPS 2024, arXiv 2405.19262",
)
