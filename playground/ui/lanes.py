"""Lanes as the page's state holds them: plain data, as a request has it, and the text that each begins with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playground.decoders import DECODERS, decoder
from playground.errors import UserError
from playground.models.specs import Catalogue
from playground.policy import Policy
from playground.record import LaneRecord, RunRecord
from playground.requests import MAX_LANES, LaneRequest
from playground.service import Continuation
from playground.ui.board import changed

Lanes = list[dict[str, Any]]
"""Each {"method", "options", "begin", "begin_text"}: the last is how `begin`, where that is token ids, reads; with
"open" where its controls stand open."""
_SHARED = ("prompt", "system", "earlier", "seed", "max_new_tokens", "stop")
"""What all lanes of a run have in common."""
MOST_KEPT = 12
"""Mixtures that a browser keeps; the oldest makes room."""


def lane_of(lane: LaneRequest, begin_text: str | None = None) -> dict[str, Any]:
    """A lane of the page. Without `begin_text` token ids are shown by their number."""
    if begin_text is None:
        begin_text = lane.begin if isinstance(lane.begin, str) else f"{len(lane.begin)} tokens" if lane.begin else ""
    options = lane.options.model_dump()
    return {"method": lane.method, "options": options, "begin": lane.begin, "begin_text": begin_text}


def summary(number: int, lane: dict[str, Any]) -> str:
    """A lane in one line: its method, and the options that are not as they come."""
    known = DECODERS[lane["method"]]
    return " · ".join((f"Lane {number + 1}: {known.title}", *changed(lane["options"], known)))


def first_lanes(catalogue: Catalogue) -> Lanes:
    """The lanes that the page opens with."""
    written = catalogue.page.lanes if catalogue.page else list(DECODERS)[:2]
    return [lane_of(LaneRequest.parse(lane)) for lane in written]


def lanes_for(catalogue: Catalogue, task: str) -> list[LaneRequest]:
    """The lanes that an example of a task brings."""
    written = catalogue.page.tasks.get(task, ()) if catalogue.page else ()
    return [LaneRequest.parse(lane) for lane in written]


def another_lane() -> dict[str, Any]:
    """A lane as "Add lane" adds it."""
    return lane_of(LaneRequest(method=next(iter(DECODERS))))


def recorded_lane(lane: LaneRecord) -> dict[str, Any]:
    """A lane of a run, as its controls show it; a method that is not here is shown as another lane."""
    if lane["method"] not in DECODERS:
        return another_lane()
    text = "".join(token["text"] for token in lane["detail"].get("tokens", ())[: len(lane["begin"])])
    return {name: lane[name] for name in ("method", "options", "begin")} | {"begin_text": text}


def edited(lane: dict[str, Any], options: dict[str, Any], begin_text: str) -> dict[str, Any]:
    """The lane with other options, and with another beginning if its text was changed."""
    lane = lane | {"options": options}
    return lane if begin_text == lane["begin_text"] else lane | {"begin": begin_text, "begin_text": begin_text}


def with_method(lane: dict[str, Any], method: str) -> dict[str, Any]:
    """The lane under another method: what the person has set goes along; what merely was the old method's default does
    not."""
    old, new = (decoder(name).options.model_fields for name in (lane["method"], method))
    options = {k: v for k, v in lane["options"].items() if k in new and v != old[k].default}
    return lane | {"method": method, "options": options}


def as_requested(lanes: Lanes) -> list[dict[str, Any]]:
    """The lanes as a request takes them."""
    return [{name: lane[name] for name in ("method", "options", "begin")} for lane in lanes]


def continued(run: RunRecord, asked: dict[str, Any], open_run: Callable[[str], RunRecord]) -> tuple[Continuation, dict]:
    """(where a new lane goes on from, that lane as the page's controls show it). asked are `lane`, `at` (the tokens
    before it are kept), and `token` (taken next), `dial` (the lane's dial goes on at this setting) or both; `beside`,
    [run id, number] each, where other lanes than those of the run stand there. Raises UserError."""
    try:
        number, at = int(asked["lane"]), int(asked["at"])
        lane, token, dial = run["lanes"][number], asked.get("token"), asked.get("dial")
        tokens = lane["detail"]["tokens"]
        method = decoder(lane["method"])
        if number < 0 or not 0 <= at < len(tokens) or not method.by_token:
            raise LookupError
        options = LaneRequest.checked(method=method.name, options=lane["options"]).options
        if dial is not None:
            options = method.dial.turned(options, tokens, at, float(dial))
        begin, text = lane["token_ids"][:at], "".join(record["text"] for record in tokens[:at])
        if begin != [record["id"] for record in tokens[:at]]:  # a file may come from anywhere
            raise ValueError
        if token is not None:
            text += next(candidate["text"] for candidate in tokens[at]["top"] if candidate["id"] == token)
            begin = [*begin, token]
        standing, parent = _standing(run, number, asked.get("beside"), open_run)
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        raise UserError("The answer cannot be continued from this place; click a token of an answer.") from None
    if len(standing) >= MAX_LANES:
        raise UserError(
            f"{MAX_LANES} lanes stand here, and there is no room for another. Remove one in its controls, press Run, "
            "and continue from there; this run stays in History."
        )
    beside = LaneRequest.checked(method=method.name, options=options.model_dump(), begin=begin)
    return Continuation(standing, parent, at), lane_of(beside, text)


def _standing(run: RunRecord, number: int, beside: Any, open_run: Callable[[str], RunRecord]) -> tuple[tuple, int]:
    """(the lanes that stand, each with the id of its run; which of them is lane `number` of the run)."""
    if not beside:
        return tuple((lane, run["id"]) for lane in run["lanes"]), number
    places = [(str(run_id), int(at)) for run_id, at in beside[:MAX_LANES]]
    runs = {run_id: open_run(run_id) for run_id, _ in places}
    if any(other[name] != run[name] for other in runs.values() for name in _SHARED):
        raise ValueError
    return tuple((runs[run_id]["lanes"][at], run_id) for run_id, at in places), places.index((run["id"], number))


def dialled(run: RunRecord, asked: dict[str, Any]) -> Policy:
    """The policy that a lane of a run writes with at a setting of its dial; asked are `lane` and `dial`. Raises
    UserError."""
    try:
        lane, setting = run["lanes"][int(asked["lane"])], float(asked["dial"])
        method = decoder(lane["method"])
        options = LaneRequest.checked(method=method.name, options=lane["options"]).options
        return method.dial.mixture(options, setting)
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError("This lane has no setting that can be kept as a model.") from None


def kept_policies(kept: Any) -> list[str]:
    """The mixtures that a browser keeps, newest last; what comes from there may be anything."""
    found = []
    for text in kept if isinstance(kept, list) else ():
        try:
            found.append(str(Policy(text)))
        except (UserError, TypeError):
            continue
    return list(dict.fromkeys(found))[-MOST_KEPT:]
