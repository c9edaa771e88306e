"""Lanes as the page's state holds them: plain data, as a request has it, and the text that each begins with."""

from __future__ import annotations

from typing import Any

from playground.decoders import DECODERS, decoder
from playground.errors import UserError
from playground.models.specs import Catalogue
from playground.policy import Policy
from playground.record import LaneRecord, RunRecord
from playground.requests import LaneRequest
from playground.ui.board import changed

Lanes = list[dict[str, Any]]
"""Each {"method", "options", "begin", "begin_text"}: the last is how `begin`, where that is token ids, reads; with
"open" where its controls stand open."""
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
    """A lane of a run, as its controls show it."""
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


def continued(run: RunRecord, asked: dict[str, Any]) -> Lanes:
    """A lane of a run and its continuation: asked are `lane`, `at` (the tokens before it are kept), and `token` (taken
    next), `dial` (the lane's dial goes on at this setting) or both. Raises UserError."""
    try:
        lane, at = run["lanes"][int(asked["lane"])], int(asked["at"])
        token, dial = asked.get("token"), asked.get("dial")
        tokens = lane["detail"]["tokens"]
        method = decoder(lane["method"])
        options = LaneRequest.checked(method=method.name, options=lane["options"]).options
        if dial is not None:
            options = method.dial.turned(options, tokens, at, float(dial))
        begin, text = lane["token_ids"][:at], "".join(record["text"] for record in tokens[:at])
        if token is not None:
            text += next(candidate["text"] for candidate in tokens[at]["top"] if candidate["id"] == token)
            begin = [*begin, token]
    except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
        raise UserError("The answer cannot be continued from this place; click a token of an answer.") from None
    beside = LaneRequest.checked(method=method.name, options=options.model_dump(), begin=begin)
    return [recorded_lane(lane), lane_of(beside, text)]


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
