"""Plain sampling from one variant."""

from __future__ import annotations

from pydantic import Field

from playground.decoders.base import Decoder, Lane, Sampling
from playground.engine.engine import Asking
from playground.engine.requests import Extend


class SampleOptions(Sampling):
    variant: str = Field("reference", title="Model", description="The variant that writes")


def run(lane: Lane, options: SampleOptions) -> Asking:
    """Draw token after token from `options.variant`."""
    draft = lane.answer = lane.draft()
    rng = lane.rng()
    [(sequence, log_probs)] = yield from lane.open(options.variant)
    while True:
        token = options.choose(log_probs, draft.token_ids, rng)
        draft.append(token, float(log_probs[token]), lane.record(log_probs, token))
        if draft.ended:
            return
        [log_probs] = yield [Extend(sequence, (token,))]


DECODER = Decoder(
    name="sample",
    title="Sampling",
    summary="Draws each token at random from the model's distribution, after temperature and truncation.",
    options=SampleOptions,
    run=run,
    in_front=("temperature", "top_p"),
)
