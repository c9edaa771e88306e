"""A method's dial over many prompts: how refusal, length, divergence and score move with it."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from playground.decoders import decoder
from playground.errors import UserError
from playground.models.fetch import Progress, no_progress
from playground.record import LaneRecord
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground


@dataclass
class _Sums:
    """What the answers at one setting add up to; `divergences` by their names in the records of tokens."""

    refused: int = 0
    tokens: int = 0
    divergences: Counter[str] = field(default_factory=Counter)
    answers: list[str] = field(default_factory=list)

    def add(self, lane: LaneRecord) -> None:
        records = lane["detail"]["tokens"]
        self.refused += refuses(lane["text"])
        self.tokens += len(records)
        for record in records:
            self.divergences.update({name: value for name, value in record.items() if name.startswith("kl_to_")})
        self.answers.append(lane["text"])


def sweep(
    playground: Playground,
    method: str,
    prompts: list[str],
    settings: list[float],
    scorer: str = "mean_log_prob",
    max_new_tokens: int = 64,
    options: dict[str, Any] | None = None,
    watch: Progress = no_progress,
    owner: tuple[str, ...] = (),
) -> tuple[dict[str, Any], list[list[str]]]:
    """All settings of the method's dial on all prompts as one batch. Returns what `evaluate` reports, for each setting:
    refusal rate, mean tokens, KL per token to the models that it mixes (nats), mean score, share of answers scored
    above 0; and the answers [setting][prompt]. A dial `lambda_` gives {"n", "lambdas": [{"lambda", …}]}. Raises
    UserError."""
    dial = decoder(method).dial
    option, name = dial.option, dial.name
    lanes = [LaneRequest(method=method, options={**(options or {}), option: setting}) for setting in settings]
    jobs = [(prompt, lane, 0) for lane in lanes for prompt in prompts]
    sums = [_Sums() for _ in settings]
    found = playground.each(jobs, max_new_tokens, lambda s, what: watch(0.9 * s, what), owner)
    for number, lane in enumerate(found):
        if lane["error"]:
            raise UserError(f"The sweep failed at {name} = {lane['options'][option]:g}: {lane['error']}")
        sums[number // len(prompts)].add(lane)
    watch(0.9, "scoring the answers")
    texts = [(prompt, answer) for one in sums for prompt, answer in zip(prompts, one.answers, strict=True)]
    scores = playground.scores(scorer, texts)
    watch(1.0, "done")
    n = len(prompts)
    rows = [
        {
            name: setting,
            "refusal_rate": one.refused / n,
            "mean_tokens": one.tokens / n,
            **{kl: total / one.tokens for kl, total in one.divergences.items()},
            "mean_score": statistics.fmean(scores[number * n : (number + 1) * n]),
            "positive_share": statistics.fmean(score > 0 for score in scores[number * n : (number + 1) * n]),
        }
        for number, (setting, one) in enumerate(zip(settings, sums, strict=True))
    ]
    return {"n": n, f"{name}s": rows}, [one.answers for one in sums]
