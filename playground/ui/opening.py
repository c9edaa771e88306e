"""What the page opens with: one prompt answered at every setting of a dial, recorded from the real model, so that the
dial turns whole answers in the browser while no model is loaded."""

from __future__ import annotations

from typing import Any

from playground.record import RunRecord
from playground.scorers.refusal import refuses
from playground.ui.board import snapshot

SAYS = "Same model, same prompt, one dial."
_FIRST = 1.0
"""The setting that the dial stands at; beside it stands the answer at the lowest one."""


def opening(runs: list[RunRecord]) -> dict[str, Any] | None:
    """The board's value; `runs`: of one prompt, each lane at another setting of its dial. None where there are none."""
    lanes = [
        drawn | {"flips": [], "place": [run["id"], number], "refuses": refuses(lane["text"])}
        for run in runs
        for number, (lane, drawn) in enumerate(zip(run["lanes"], snapshot(run)["lanes"], strict=True))
    ]
    lanes.sort(key=lambda lane: lane["dial"]["value"])
    if not lanes:
        return None
    settings = [lane["dial"]["value"] for lane in lanes]
    dial = {
        "says": SAYS,
        "prompt": runs[0]["prompt"],
        "at": min(range(len(settings)), key=lambda place: abs(settings[place] - _FIRST)),
        "words": [in_words(setting) for setting in settings],
        "lanes": lanes,
    }
    return {"opening": dial, "status": "done"}


def in_words(setting: float) -> str:
    """How much alignment λ is."""
    if setting == 0:
        return "no alignment: the plain model"
    if setting == 1:
        return "the alignment as it was trained"
    return f"{setting:.0%} of the alignment" if setting < 1 else f"{setting:g} times the trained alignment"
