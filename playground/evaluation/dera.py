"""DeRa over many prompts: how refusal, length, divergence and score move with λ."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from playground.errors import UserError
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground


@dataclass
class _Sums:
    """What the answers of one λ add up to."""

    refused: int = 0
    tokens: int = 0
    kl_to_reference: float = 0.0
    kl_to_aligned: float = 0.0
    answers: list[str] = field(default_factory=list)

    def add(self, lane: dict[str, Any]) -> None:
        records = lane["detail"]["tokens"]
        self.refused += refuses(lane["text"])
        self.tokens += len(records)
        self.kl_to_reference += sum(record["kl_to_reference"] for record in records)
        self.kl_to_aligned += sum(record["kl_to_aligned"] for record in records)
        self.answers.append(lane["text"])


def sweep(
    playground: Playground,
    prompts: list[str],
    lambdas: list[float],
    scorer: str = "mean_log_prob",
    max_new_tokens: int = 64,
    options: dict[str, Any] | None = None,
    watch: Progress = no_progress,
) -> tuple[dict[str, Any], list[list[str]]]:
    """All λ on all prompts as one batch. Returns what `evaluate dera` reports, per λ: refusal rate, mean tokens, KL
    per token to reference and to aligned (nats), mean score; and the answers [λ][prompt]."""
    lanes = [LaneRequest(method="dera", options={**(options or {}), "lambda_": lambda_}) for lambda_ in lambdas]
    jobs = [(prompt, lane, 0) for lane in lanes for prompt in prompts]
    sums = [_Sums() for _ in lambdas]
    for number, lane in enumerate(playground.each(jobs, max_new_tokens, lambda s, what: watch(0.9 * s, what))):
        if lane["error"]:
            raise UserError(f"The sweep failed at λ = {lane['options']['lambda_']:g}: {lane['error']}")
        sums[number // len(prompts)].add(lane)
    watch(0.9, "scoring the answers")
    texts = [(prompt, answer) for one in sums for prompt, answer in zip(prompts, one.answers, strict=True)]
    scores = playground.scores(scorer, texts)
    watch(1.0, "done")
    n = len(prompts)
    rows = [
        {
            "lambda": lambda_,
            "refusal_rate": one.refused / n,
            "mean_tokens": one.tokens / n,
            "kl_to_reference": one.kl_to_reference / one.tokens,
            "kl_to_aligned": one.kl_to_aligned / one.tokens,
            "mean_score": statistics.fmean(scores[number * n : (number + 1) * n]),
        }
        for number, (lambda_, one) in enumerate(zip(lambdas, sums, strict=True))
    ]
    return {"n": n, "lambdas": rows}, [one.answers for one in sums]
