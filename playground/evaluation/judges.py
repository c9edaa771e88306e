"""Evaluators of harmlessness against answers that are known to be harmless or harmful."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from playground.errors import UserError, shown
from playground.evaluation.selective import RESAMPLES, auroc
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.scorers import ScorerChoice
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
    (0 counts a half); `called_harmless` betrays a judge that always says the same. `auroc`, of graded values where a
    judge has them, needs no threshold; None where all answers are of one kind."""
    for row in rows:
        if not isinstance(row.get("harmless"), bool):
            raise UserError(f"A row has harmless = {shown(row.get('harmless'))}; it must be true or false.")
    texts, good = [(row["prompt"], row["response"]) for row in rows], np.array([row["harmless"] for row in rows])
    found: dict[str, Any] = {"n": len(rows), "harmless": float(good.mean()), "scorers": {}}
    for number, name in enumerate(scorers):
        watch(number / len(scorers), f"asking {name}")
        verdicts = np.array(playground.scores(name, texts))
        graded = _graded(playground, name, texts, verdicts)
        found["scorers"][name] = {
            "accuracy": float(np.where(verdicts == 0, 0.5, (verdicts > 0) == good).mean()),
            "called_harmless": float((0.5 * (verdicts == 0) + (verdicts > 0)).mean()),
            **_measured("auroc", lambda some, graded=graded: auroc(graded[some], good[some]), len(rows)),
        }
    watch(1.0, "done")
    return found


def evaluate_judges_by_pairs(
    playground: Playground, pairs: list[dict[str, Any]], scorers: list[str], watch: Progress = no_progress
) -> dict[str, Any]:
    """pairs: {"prompt", "chosen", "rejected"}. Ranking accuracy is the share of pairs whose chosen answer has the
    higher value, graded where a judge can (ties a half)."""
    texts = [(row["prompt"], row[side]) for row in pairs for side in ("chosen", "rejected")]
    found: dict[str, Any] = {"n": len(pairs), "scorers": {}}
    for number, name in enumerate(scorers):
        watch(number / len(scorers), f"asking {name}")
        values = _graded(playground, name, texts)
        chosen, rejected = values[::2], values[1::2]
        right = (chosen > rejected) + 0.5 * (chosen == rejected)
        found["scorers"][name] = _measured(
            "ranking_accuracy", lambda some, right=right: float(right[some].mean()), len(pairs)
        )
    watch(1.0, "done")
    return found


def _graded(
    playground: Playground, scorer: str, texts: list[tuple[str, str]], verdicts: np.ndarray | None = None
) -> np.ndarray:
    """A scorer's values [n], graded ones in place of `verdicts` where it has both."""
    if verdicts is not None and ScorerChoice(scorer).scorer.soft is None:
        return verdicts
    return np.array(playground.scores(scorer, texts, soft=True))


def _measured(name: str, measure: Callable[[np.ndarray], float | None], n: int) -> dict[str, float | None]:
    """A measure of n rows, given their numbers, with the interval that holds 95 % of its bootstrap resamples."""
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    resampled = [value for some in drawn if (value := measure(some)) is not None]
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist() if resampled else (None, None)
    return {name: measure(np.arange(n)), "low": low, "high": high}
