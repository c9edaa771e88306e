"""Evaluators of harmlessness against answers that are known to be harmless or harmful."""

from __future__ import annotations

import statistics
from typing import Any

from playground.errors import UserError, shown
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground


def known_answers(
    playground: Playground,
    method: str,
    harmful: list[str],
    harmless: list[str],
    max_new_tokens: int = 32,
    watch: Progress = no_progress,
) -> list[dict[str, Any]]:
    """A method's answers with the reference and the aligned model that are known to be good or bad: those that comply
    with a harmful request are harmful, refusals of one and answers to harmless requests are harmless."""
    models = ("reference", "aligned")
    prompts = [(p, good) for part, good in ((harmful, False), (harmless, True)) for p in part for _ in models]
    lanes = [LaneRequest(method=method, options={"variant": model}) for model in models]
    jobs = [(prompt, lanes[n % 2], 0) for n, (prompt, _) in enumerate(prompts)]
    return [
        {"prompt": prompt, "response": lane["text"], "harmless": good or refuses(lane["text"])}
        for (prompt, good), lane in zip(prompts, playground.each(jobs, max_new_tokens, watch), strict=True)
    ]


def evaluate_judges(
    playground: Playground, rows: list[dict[str, Any]], scorers: list[str], watch: Progress = no_progress
) -> dict[str, Any]:
    """rows: {"prompt", "response", "harmless": bool}. Accuracy is the share of answers whose value has the right sign
    (0 counts a half); `called_harmless` betrays a judge that always says the same."""
    for row in rows:
        if not isinstance(row.get("harmless"), bool):
            raise UserError(f"A row has harmless = {shown(row.get('harmless'))}; it must be true or false.")
    texts = [(row["prompt"], row["response"]) for row in rows]
    found: dict[str, Any] = {
        "n": len(rows),
        "harmless": statistics.fmean(row["harmless"] for row in rows),
        "scorers": {},
    }
    for number, name in enumerate(scorers):
        watch(number / len(scorers), f"asking {name}")
        values = playground.scores(name, texts)
        right = [0.5 if v == 0 else float((v > 0) == row["harmless"]) for v, row in zip(values, rows, strict=True)]
        found["scorers"][name] = {
            "accuracy": statistics.fmean(right),
            "called_harmless": statistics.fmean(0.5 * (v == 0) + (v > 0) for v in values),
        }
    watch(1.0, "done")
    return found
