"""The API endpoint /compare, for clients of Gradio and agents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gradio as gr

from playground.errors import UserError, shown
from playground.record import RunRecord
from playground.requests import LaneRequest, RunRequest
from playground.service import Playground, size_of
from playground.ui.errors import in_words
from playground.ui.sessions import Sessions

PARTIAL_SECONDS = 0.5
"""Time between two partial results."""


def compare_endpoint(playground: Playground, sessions: Sessions):
    """The function behind the API endpoint /compare."""

    def compare(
        request: gr.Request,
        prompt: str,
        lanes: list[Any],
        seed: int = 0,
        max_new_tokens: int = 128,
        system: str = "",
        stop: list[str] | None = None,
        earlier: list[list[str]] | None = None,
        partial: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Run one to six decoding methods on a prompt and return their answers with their costs.

        lanes: each "method:option=value,option=value" or {"method": ..., "options": {...}}. earlier: the turns before
        the prompt, [the person's words, the model's] each. partial: also give the answers while they are written, with
        the status "running" and no details. A client that goes away ends its run.
        """
        wanted = RunRequest.checked(
            prompt=prompt,
            system=system,
            seed=seed,
            max_new_tokens=max_new_tokens,
            stop=stop or [],
            earlier=earlier or [],
            lanes=_lanes_of(lanes),
        )
        with sessions.begin(request, *size_of(wanted)) as ticket:
            ticket.wait()
            if partial:
                run = ticket.hold(playground.start(wanted, owner=ticket.person))
                for _ in run.watch(lambda: PARTIAL_SECONDS):
                    yield _without_details(run.result())
                result = run.result()
            else:
                result = playground.compare(wanted, owner=ticket.person, hold=ticket.hold)
        yield result  # the place is free by now: a direct call never asks for more

    return in_words(compare, escape=False)


def _without_details(run: RunRecord) -> RunRecord:
    """A run that is cheap to tell again and again: Gradio compares each update with the last one."""
    return run | {"lanes": [lane | {"detail": {"tokens": []}} for lane in run["lanes"]]}


def _lanes_of(lanes: Any) -> list[Any]:
    """The lanes that an API client gave, strings read. Raises UserError if they are no list."""
    if isinstance(lanes, str) and lanes.lstrip().startswith("["):
        try:
            lanes = json.loads(lanes)
        except (ValueError, RecursionError):
            raise UserError(f"lanes is {shown(lanes)}, which is not JSON; give a list of lanes.") from None
    if isinstance(lanes, str | dict):
        lanes = [lanes]
    if not isinstance(lanes, list):
        raise UserError(f'lanes is {shown(lanes)}; give a list of "method:option=value,option=value" texts.')
    return [LaneRequest.parse(lane) if isinstance(lane, str) else lane for lane in lanes]
