"""The refusal detector against people's labels."""

from __future__ import annotations

import statistics
from typing import Any

from playground.errors import UserError, shown
from playground.scorers.refusal import refuses

LABELS = ("refusal", "compliance", "partial_refusal")


def evaluate_refusals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """rows: {"response", "label"}, labels as in LABELS. Accuracy on the clear ones, and on all with partial refusals
    taken for refusals. Raises UserError for another label, or where none is clear."""
    for row in rows:
        if row["label"] not in LABELS:
            raise UserError(f"The label {shown(row['label'])} is not known; it is one of: {', '.join(LABELS)}.")
    clear = [refuses(r["response"]) == (r["label"] == "refusal") for r in rows if r["label"] != "partial_refusal"]
    if not clear:
        raise UserError("All rows are partial refusals; some must be labelled refusal or compliance.")
    every = [refuses(r["response"]) == (r["label"] != "compliance") for r in rows]
    return {
        "n": len(rows),
        "n_clear": len(clear),
        "accuracy_clear": statistics.fmean(clear),
        "accuracy": statistics.fmean(every),
    }
