"""An RRHF adapter against its base on held-out pairs: which ranks them better?"""

from __future__ import annotations

import statistics
from typing import Any

from playground.models.fetch import Progress, no_progress
from playground.service import Playground


def evaluate_rrhf(
    playground: Playground, base: str, adapter: str, pairs: list[dict[str, Any]], watch: Progress = no_progress
) -> dict[str, Any]:
    """pairs: {"prompt", "chosen", "rejected"}; base and adapter name variants. Ranking accuracy is the share of pairs
    whose chosen response has the higher mean token log-probability (ties a half); mean score that of the chosen."""
    texts = [(row["prompt"], row[side]) for row in pairs for side in ("chosen", "rejected")]
    accuracy, mean = {}, {}
    for number, (name, variant) in enumerate((("base", base), ("adapter", adapter))):
        watch(number / 2, f"scoring with {variant}")
        scores = playground.scores("mean_log_prob", texts, variant)
        chosen, rejected = scores[::2], scores[1::2]
        accuracy[name] = statistics.fmean((a > b) + 0.5 * (a == b) for a, b in zip(chosen, rejected, strict=True))
        mean[name] = statistics.fmean(chosen)
    watch(1, "done")
    return {"n": len(pairs), "ranking_accuracy": accuracy, "mean_score": mean}
