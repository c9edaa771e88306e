"""The board: lanes side by side, as a Gradio component of our own that draws plain data.

Its value is what `snapshot` makes; board.js draws it with textContent only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from playground.decoders import DECODERS, colour_of
from playground.decoders.base import Decoder
from playground.record import ColourRecord, Detail, LaneRecord, RunRecord

_HERE = Path(__file__).parent
_SHORT = 60


class DataView(gr.HTML):
    """A component whose value is plain data, drawn by a script of ours. The value never becomes HTML."""

    def __init__(self, **kwargs: Any):
        super().__init__(apply_default_css=False, **kwargs)

    def get_block_name(self) -> str:
        return "html"

    def postprocess(self, value: Any) -> Any:
        return value

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}


class Board(DataView):
    """Shows a run. value: a dict made by `snapshot` or by `opening`, or None for an empty board."""

    def __init__(self, candidates, steps, saved, questions, **kwargs: Any):
        """Called by the browser: candidates: [run id, lane, token] → the token's record; steps: [run id, lane, first]
        → the steps of a search from `first` on; saved: [run id] → the run as the text of a file; questions:
        [run id, lane] → what the evaluator of a search was asked, in each order."""
        super().__init__(
            html_template='<p class="asked"></p>'
            + "".join(f'<div class="{part}"></div>' for part in ("opening", "board", "searches", "after")),
            css_template=_read("board.css", "opening.css", "tree.css"),
            js_on_load=_read("drawing.js", "tree.js", "opening.js", "share.js", "board.js"),
            server_functions=[candidates, steps, saved, questions],
            **kwargs,
        )


def _read(*files: str) -> str:
    return "".join((_HERE / file).read_text(encoding="utf-8") for file in files)


def snapshot(run: RunRecord) -> dict[str, Any]:
    """What the board needs of a run's result: texts token by token with one number each, costs, states. Token
    candidates stay on the server until they are asked for, so that an update is small."""
    return {
        "run": run["id"],
        "prompt": run["prompt"],
        "status": run["status"],
        "lanes": [_lane(lane, run["max_new_tokens"]) for lane in run["lanes"]],
    }


def _lane(lane: LaneRecord, limit: int) -> dict[str, Any]:
    detail, cost = lane["detail"], lane["cost"]
    tokens, dial = detail.get("tokens", []), detail.get("dial")
    # A stop string may end inside a token: then the text is shorter than its tokens.
    known = DECODERS.get(lane["method"])
    colour = detail.get("colour")
    return {
        "title": known.title if known else lane["method"],
        "options": changed(lane["options"], known),
        "status": lane["status"],
        "error": lane["error"],
        "warning": detail.get("warning"),
        "finish": lane["finish_reason"],
        "nodes": [t.get("node") for t in tokens],
        "evaluator": detail.get("evaluator", ""),
        "steps": len((detail.get("tree") or {}).get("steps", ())),
        "shape": (detail.get("tree") or {}).get("shape", "tree"),
        "pieces": [t["text"] for t in tokens],
        "heat": [round(colour["sign"] * _number(t.get(colour["number"])), 3) for t in tokens] if colour else [],
        "colour": colour and _in_words(colour),
        "hue": colour_of(lane["method"]),
        "dial": dial,
        "flips": [[(f["lambda"], f["id"], f["text"]) for f in t.get("flips", ())] for t in tokens] if dial else [],
        "ids": lane["token_ids"],
        "begin": len(lane["begin"]),
        "fork": detail.get("fork"),
        "continues": bool(known and known.by_token),
        "limit": limit,
        "length": len(tokens),
        "cost": cost,
        "curves": detail.get("curves", []),
        "candidates": detail.get("candidates", []),
        "chosen": detail.get("chosen"),
        "scorer": detail.get("scorer"),
        "decision": _decision(detail),
        "models": list(lane["models"].items()),
    }


def _in_words(colour: ColourRecord) -> dict[str, Any]:
    """What colours the tokens in plain words, `title`, and in the field's, `meaning`."""
    number = colour["number"]
    title = {"log_prob": "surprise", "kl_to_reference": "drift from the unaligned model"}.get(number)
    if title is None and number.startswith("kl_to_"):
        title = f"drift from {number.removeprefix('kl_to_')}"
    return {"title": title or colour["title"], "meaning": colour["title"], "full": colour["full"]}


def _decision(detail: Detail) -> dict[str, Any] | None:
    """Of a method that may abstain: its confidence, the threshold, and what it decided."""
    if "abstained" not in detail:
        return None
    return {name: detail.get(name) for name in ("confidence", "threshold", "abstained", "withheld")}


def changed(options: dict[str, Any], known: Decoder | None) -> list[str]:
    """The options that differ from the method's defaults, and always that of its dial."""
    fields = known.options.model_fields if known else {}
    dial = known.dial.option if known and known.dial else None
    shown = []
    for name, value in options.items():
        field = fields.get(name)
        if name == dial or field is None or value != field.default:
            text = f"{value:g}" if isinstance(value, float) else value
            shown.append(f"{(field.title if field else None) or name} {text}"[:_SHORT])
    return shown


def _number(value: Any) -> float:
    """A number of a token's record; 0 where it has none of that name."""
    return value if isinstance(value, int | float) else 0.0
