"""The board: lanes side by side, as a Gradio component of our own that draws plain data.

Its value is what `snapshot` makes; board.js draws it with textContent only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from playground.decoders import DECODERS

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
    """Shows a run. value: a dict made by `snapshot`, or None for an empty board."""

    def __init__(self, candidates, steps, saved, questions, **kwargs: Any):
        """Called by the browser: candidates: [run id, lane, token] → the token's record; steps: [run id, lane, first]
        → the steps of a search from `first` on; saved: [run id] → the run as the text of a file; questions:
        [run id, lane] → what the evaluator of a search was asked, in each order."""
        super().__init__(
            html_template='<div class="board"></div><div class="after"></div>',
            css_template="".join((_HERE / f).read_text(encoding="utf-8") for f in ("board.css", "tree.css")),
            js_on_load="".join((_HERE / f).read_text(encoding="utf-8") for f in ("tree.js", "board.js")),
            server_functions=[candidates, steps, saved, questions],
            **kwargs,
        )


def snapshot(run: dict[str, Any]) -> dict[str, Any]:
    """What the board needs of a run's result: texts token by token with one number each, costs, states. Token
    candidates stay on the server until they are asked for, so that an update is small."""
    return {
        "run": run["id"],
        "prompt": run["prompt"],
        "status": run["status"],
        "lanes": [_lane(lane, run["max_new_tokens"]) for lane in run["lanes"]],
    }


def _lane(lane: dict[str, Any], limit: int) -> dict[str, Any]:
    detail, cost = lane["detail"], lane["cost"]
    tokens = detail.get("tokens", [])
    # A stop string may end inside a token: then the text is shorter than its tokens.
    mixed = any("kl_to_reference" in t for t in tokens)
    known = DECODERS.get(lane["method"])
    return {
        "title": known.title if known else lane["method"],
        "options": _changed(lane, known),
        "status": lane["status"],
        "error": lane["error"],
        "warning": detail.get("warning"),
        "finish": lane["finish_reason"],
        "nodes": [t.get("node") for t in tokens],
        "evaluator": detail.get("evaluator", ""),
        "steps": len(detail.get("tree", {}).get("steps", ())),
        "pieces": [t["text"] for t in tokens],
        "heat": [_heat(t, mixed) for t in tokens],
        "flips": [[(f["lambda"], f["id"], f["text"]) for f in t.get("flips", ())] for t in tokens] if mixed else [],
        "ids": lane["token_ids"] if mixed else [],
        "lambda": lane["options"].get("lambda_"),
        "scheduled": bool(lane["options"].get("schedule")),
        "scale": "KL(mixed‖reference)" if mixed else "surprise −log p",
        "limit": limit,
        "length": len(tokens),
        "cost": cost,
        "candidates": detail.get("candidates", []),
        "chosen": detail.get("chosen"),
        "scorer": detail.get("scorer"),
        "models": list(lane["models"].items()),
    }


def _heat(token: dict[str, Any], mixed: bool) -> float:
    """The number that colours a token, in nats."""
    return round(token.get("kl_to_reference", 0.0) if mixed else -token.get("log_prob", 0.0), 3)


def _changed(lane: dict[str, Any], known) -> list[str]:
    """The options that differ from the method's defaults, and λ always."""
    fields = known.options.model_fields if known else {}
    shown = []
    for name, value in lane["options"].items():
        field = fields.get(name)
        if name == "lambda_" or field is None or value != field.default:
            shown.append(f"{(field.title if field else None) or name} {value}"[:_SHORT])
    return shown
