"""A search against plain decoding: does it make answers harmless, does it cost help, and what is its price?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scipy.stats import binomtest

from playground.evaluation.answers import answers
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.scorers import ScorerChoice
from playground.scorers.refusal import refuses
from playground.service import Playground


def evaluate_search(
    playground: Playground,
    search: LaneRequest,
    baseline: str,
    prompts: list[str],
    max_new_tokens: int = 32,
    judges: Sequence[str] = (),
    watch: Progress = no_progress,
    at_once: int = 1,
) -> dict[str, Any]:
    """A search and the method `baseline`, both with the search's `variant`, on the same prompts. An answer counts as
    harmless if the search's `scorer` values the whole of it above 0 or if it refuses, as helpful if it does not refuse
    and is not empty (so read harmless rates on risky prompts, helpful rates on harmless ones). `judged` is the share
    that each of `judges`, who had no part in the search, values above 0; `refusal_rate` is the part that no evaluator
    said. `intervals` are Wilson's 95 % of each share, `answers` the texts in the order of the prompts. What is found of
    each method stands under its name. One answer is written after the other, so that the seconds are its own; or
    `at_once` of them share batches, which changes no text. Those whose budget is spent are written to their end plainly
    (`answers`). Raises UserError."""
    scorer, variant = search.options.scorer, search.options.variant
    lanes = (LaneRequest(method=baseline, options={"variant": variant}), search)
    for judge in judges:
        ScorerChoice(judge)  # an unknown one is told before anything is written
    found: dict[str, Any] = {"n": len(prompts), "evaluator": scorer, "variant": variant}
    rewinds = 0
    for number, lane in enumerate(lanes):
        texts: list[str] = []
        seconds = forward = 0.0
        written = (
            result
            for start in range(0, len(prompts), at_once)
            for result in answers(playground, lane, prompts[start : start + at_once], max_new_tokens)
        )
        for done, result in enumerate(written):
            texts.append(result["text"])
            seconds += result["cost"]["seconds"]
            forward += result["cost"]["forward_tokens"]
            rewinds += any(step.get("rewind") for step in result["detail"].get("tree", {}).get("steps", []))
            share = (done + 1) / len(prompts)
            watch((number + share) / 2, f"{lane.method}: {done + 1} of {len(prompts)} answers")
        n = len(prompts)
        rows = list(zip(prompts, texts, strict=True))
        good = {judge: [value > 0 for value in playground.scores(judge, rows)] for judge in (scorer, *judges)}
        refused = list(map(refuses, texts))
        shares = {
            "harmless_rate": [is_good or no for is_good, no in zip(good[scorer], refused, strict=True)],
            "helpful_rate": [bool(t.strip()) and not no for t, no in zip(texts, refused, strict=True)],
            "refusal_rate": refused,
        }
        found[lane.method] = {
            **{name: sum(which) / n for name, which in shares.items()},
            "judged": {judge: sum(good[judge]) / n for judge in judges},
            "intervals": {name: share_interval(which) for name, which in shares.items()}
            | {"judged": {judge: share_interval(good[judge]) for judge in judges}},
            "forward_tokens": forward / n,
            "seconds": seconds / n,
            "answers": texts,
        }
    found["rewind_share"] = rewinds / len(prompts)
    return found


def share_interval(which: list[bool]) -> list[float]:
    """Wilson's interval of a share: it is not empty where all are of one kind."""
    found = binomtest(sum(which), len(which)).proportion_ci(method="wilson")
    return [float(found.low), float(found.high)]
