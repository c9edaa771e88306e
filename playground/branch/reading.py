"""What has been read of answers: kept as long as a lane lasts, so that nothing is read twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from playground.branch.lane import Draft, Lane
from playground.branch.text import Text
from playground.branch.together import together
from playground.engine.engine import Asking
from playground.policy import Policy

HELD = 512
"""Distributions that are held at once while answers are read under a mixture: 100 MB with 49,152 tokens."""
Measure = Callable[[Text, tuple[int, ...], int], Asking]
"""(text, tokens to put after it, tokens at a time) → a number for each of them, as a generator."""


@dataclass(frozen=True)
class Reading:
    """The prompt and an answer as read by a policy: the text, and a number for each token of the answer."""

    text: Text
    numbers: list[float]


_Known = dict[tuple[int, ...], Reading]
_OFFERED = "offered"


def keep(lane: Lane, text: Text, draft: Draft) -> None:
    """Let what a branch has read of its draft be known to whoever reads that answer later under the same policy. A fork
    of the text is kept."""
    _known(lane, text.policy, Text.score)[tuple(draft.token_ids)] = Reading(text.fork(), list(draft.log_probs))


@contextmanager
def offered(lane: Lane, texts: Iterable[tuple[tuple[int, ...], Text]]) -> Iterator[None]:
    """Meanwhile these texts stand still, each behind the token ids that are in it after the prompt: whoever wants
    values of answers that begin so goes on from there."""
    lane.kept[_OFFERED] = list(texts)
    try:
        yield
    finally:
        del lane.kept[_OFFERED]


def read(lane: Lane, policy: Policy, answers: list[list[int]], measure: Measure = Text.score) -> Asking:
    """Each answer, given as its token ids, read under `policy`, all in one batch; `measure` says which numbers are
    wanted, the tokens' log-probabilities or their values. Of an answer that grew, or shares its beginning with one that
    was read before, only the new tokens are put through. Those not among `answers` are forgotten. Returns a `Reading`
    each, which stays the lane's: fork its text to go on from it."""
    if not answers:
        return []
    known = _known(lane, policy, measure)
    wanted = {tuple(ids) for ids in answers}
    others = _read_by_others(lane, policy) if measure is Text.value else {}
    starts = others | known
    fresh = {ids: _longest(starts, ids) for ids in wanted if ids not in known}
    if None in fresh.values():
        starts[()] = known[()] = Reading((yield from lane.read(policy)), [])
        fresh = {ids: start or () for ids, start in fresh.items() if ids}
    texts = {ids: starts[start].text.fork() for ids, start in fresh.items()}
    for reading in others.values():
        reading.text.release()
    piece = max(1, HELD // max(1, len(fresh) * len(policy.names)))
    measured = yield from together(measure(texts[ids], ids[len(start) :], piece) for ids, start in fresh.items())
    for (ids, start), new in zip(fresh.items(), measured, strict=True):
        known[ids] = Reading(texts[ids], starts[start].numbers + new.tolist())
    for ids in known.keys() - wanted - {()}:
        known.pop(ids).text.release()
    return [known[tuple(ids)] for ids in answers]


def _known(lane: Lane, policy: Policy, measure: Measure) -> _Known:
    return lane.kept.setdefault(("read", lane.resolve(policy), measure), {})


def _read_by_others(lane: Lane, policy: Policy) -> _Known:
    """What was offered, as forks read by this policy's model, where one of those that have read it reads alike. It has
    valued none of these tokens: their numbers are NaN."""
    policy = lane.resolve(policy)
    if not policy.plain:
        return {}
    [name] = policy.names
    return {
        ids: Reading(Text(policy, {name: sequence.fork(variant=name)}, {}), [math.nan] * len(ids))
        for ids, text in lane.kept.get(_OFFERED, ())
        for variant, sequence in text.sequences.items()
        if lane.alike(variant) == lane.alike(name)
    }


def _longest(starts: _Known, ids: tuple[int, ...]) -> tuple[int, ...] | None:
    """The longest beginning of `ids` among `starts`, but never all of it: of what was offered the last token has no
    number yet."""
    return max(
        (start for start in starts if len(start) < len(ids) and ids[: len(start)] == start), key=len, default=None
    )
