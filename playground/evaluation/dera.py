"""DeRa over many prompts: how refusal, length, divergence and score move with λ."""

from __future__ import annotations

import statistics
from typing import Any

from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground


def evaluate_dera(
    playground: Playground,
    prompts: list[str],
    lambdas: list[float],
    scorer: str = "mean_log_prob",
    max_new_tokens: int = 64,
    options: dict[str, Any] | None = None,
    watch: Progress = no_progress,
) -> dict[str, Any]:
    """For each λ: refusal rate, mean tokens, KL per token to reference and to aligned (nats), mean score of answers."""
    found = []
    for number, lambda_ in enumerate(lambdas):
        lane = LaneRequest(method="dera", options={**(options or {}), "lambda_": lambda_})

        def part(share: float, what: str, number: int = number, lambda_: float = lambda_) -> None:
            watch((number + share) / len(lambdas), f"λ = {lambda_:g}: {what}")

        lanes = playground.each(prompts, lane, max_new_tokens, watch=part)
        tokens = [token for one in lanes for token in one["detail"]["tokens"]]
        scores = playground.scores(scorer, [(p, one["text"]) for p, one in zip(prompts, lanes, strict=True)])
        found.append(
            {
                "lambda": lambda_,
                "refusal_rate": statistics.fmean(refuses(one["text"]) for one in lanes),
                "mean_tokens": statistics.fmean(len(one["token_ids"]) for one in lanes),
                "kl_to_reference": statistics.fmean(t["kl_to_reference"] for t in tokens),
                "kl_to_aligned": statistics.fmean(t["kl_to_aligned"] for t in tokens),
                "mean_score": statistics.fmean(scores),
            }
        )
    return {"n": len(prompts), "lambdas": found}
