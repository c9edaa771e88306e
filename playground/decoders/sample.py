"""Plain sampling from one policy."""

from __future__ import annotations

from pydantic import Field

from playground.branch.branch import Branch
from playground.branch.lane import Lane
from playground.decoders.base import Decoder, Sampling
from playground.engine.engine import Asking
from playground.policy import Policy


class SampleOptions(Sampling):
    variant: Policy = Field(
        "reference", title="Model", description="A model, or a mixture as in `0.5*reference+0.5*aligned`"
    )


def run(lane: Lane, options: SampleOptions) -> Asking:
    """Draw token after token from `options.variant`."""
    branch = yield from Branch.open(lane, options.variant)
    yield from branch.grow(options.pick)


DECODER = Decoder(
    name="sample",
    title="Sampling",
    summary="Draws each token at random from the model's distribution, after temperature and truncation.",
    options=SampleOptions,
    run=run,
    in_front=("temperature", "top_p"),
)
