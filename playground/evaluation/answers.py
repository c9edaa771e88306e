"""Answers of a method to many prompts, as measures want them: whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from playground.decoders import DECODERS
from playground.errors import UserError, shown
from playground.models.fetch import Progress, no_progress
from playground.record import LaneRecord
from playground.requests import LaneRequest
from playground.service import Playground

PLAIN = next(iter(DECODERS))
"""The plainest method, which writes to its end the answer of a search whose budget is spent."""


def answers(
    playground: Playground,
    lane: LaneRequest,
    prompts: Sequence[str],
    max_new_tokens: int,
    watch: Progress = no_progress,
) -> Iterator[LaneRecord]:
    """What `lane` answers to each of `prompts`, in shared batches. A search whose budget is spent leaves the beginning
    of an answer, in which nothing harmful, or nothing at all, may stand yet. So that answers can be compared, it is
    written to its end plainly, by the search's own policy, and costs what both cost. Raises UserError where a prompt
    cannot be answered."""
    for prompt, found in zip(
        prompts, playground.each([(prompt, lane, 0) for prompt in prompts], max_new_tokens, watch), strict=True
    ):
        yield to_its_end(playground, lane, prompt, whole(found, lane.method, prompt), max_new_tokens)


def to_its_end(
    playground: Playground, lane: LaneRequest, prompt: str, found: LaneRecord, max_new_tokens: int
) -> LaneRecord:
    """An answer as it is, or, where a spent budget cut it, written to its end plainly by the same policy."""
    if found["finish_reason"] != "budget":
        return found
    rest = LaneRequest.checked(method=PLAIN, options={"variant": lane.options.variant}, begin=tuple(found["token_ids"]))
    [end] = playground.each([(prompt, rest, 0)], max_new_tokens)
    cost = {name: found["cost"][name] + whole(end, PLAIN, prompt)["cost"][name] for name in found["cost"]}
    cost["generated_tokens"] -= len(rest.begin)  # written once
    written = {name: end[name] for name in ("text", "token_ids", "finish_reason")}
    return found | written | {"cost": cost}


def whole(record: LaneRecord, name: str, prompt: str) -> LaneRecord:
    """What a lane of the method `name` answered to a prompt, if it could. Raises UserError."""
    if record["error"]:
        raise UserError(f"{name} failed on {shown(prompt)}: {record['error']}")
    return record
