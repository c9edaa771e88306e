"""Greedy decoding: the most probable token every time, which is sampling at temperature 0."""

from __future__ import annotations

from playground.branch.lane import Lane
from playground.decoders import sample
from playground.decoders.base import Decoder, Options
from playground.engine.engine import Asking
from playground.policy import Policy


class GreedyOptions(Options):
    variant: Policy = sample.SampleOptions.model_fields["variant"]
    repetition_penalty: float = sample.SampleOptions.model_fields["repetition_penalty"]


def run(lane: Lane, options: GreedyOptions) -> Asking:
    """Take the most probable token of `options.variant`, again and again."""
    return sample.run(lane, sample.SampleOptions(temperature=0, **options.model_dump()))


DECODER = Decoder(
    name="greedy",
    title="Greedy",
    summary="Takes the most probable token every time. The same prompt always gives the same answer.",
    options=GreedyOptions,
    run=run,
    in_front=("variant",),
)
