"""Selective prediction in numbers: how well a confidence parts right answers from wrong ones. No model is asked."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, roc_auc_score

from playground.service.calibration import Point, curve, point_for

RESAMPLES = 1000
HALF = 0.5


@dataclass(frozen=True)
class Judged:
    """The likeliest answer to a question, whether it is right, and what each measure says of it (higher is surer)."""

    answerable: bool
    correct: bool
    text: str
    confidence: dict[str, float]


def entropy(log_likelihoods: list[float]) -> float:
    """Predictive entropy in nats: −Σ p log p over the answers found, where p is proportional to exp of an answer's mean
    log-probability of a token (its length-normalised probability)."""
    shares = np.exp(np.array(log_likelihoods) - max(log_likelihoods))
    shares /= shares.sum()
    return -sum(p * math.log(p) for p in shares.tolist() if p > 0)


def measure(judged: list[list[Judged]], name: str) -> dict[str, float | None]:
    """AUROC of a measure with its interval, and AUACC, as means over what each seed drew. The interval holds 95 % of
    RESAMPLES bootstrap resamples of the questions of every seed, which are the same for every measure."""
    rng, resampled = np.random.default_rng(0), []
    pairs = [columns(rows, name) for rows in judged]
    for scores, right in (map(np.array, pair) for pair in pairs):
        for _ in range(RESAMPLES):
            some = rng.integers(len(right), size=len(right))
            if (value := auroc(scores[some], right[some])) is not None:
                resampled.append(value)
    defined = [value for pair in pairs if (value := auroc(*pair)) is not None]
    low, high = np.quantile(resampled, [0.025, 0.975]).tolist() if defined else (None, None)
    return {
        "auroc": statistics.fmean(defined) if defined else None,
        "low": low,
        "high": high,
        "auacc": statistics.fmean(auacc(curve(*pair)) for pair in pairs),
    }


def auroc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """The probability that a right answer scores above a wrong one (ties a half); None where there are only such or
    such."""
    return float(roc_auc_score(right, scores)) if len(set(right)) == 2 else None


def auacc(points: list[Point]) -> float:
    """The area under accuracy over coverage. From no coverage to the first point the accuracy is taken for that of the
    first point, so that answers that are all right give 1."""
    return float(auc([0.0, *(p.coverage for p in points)], [points[0].accuracy, *(p.accuracy for p in points)]))


def columns(rows: list[Judged], name: str) -> tuple[list[float], list[bool]]:
    """What a measure says of each answer, and whether it is right."""
    return [one.confidence[name] for one in rows], [one.correct for one in rows]


def abstained(judged: list[list[Judged]], name: str) -> dict[str, float | None] | None:
    """Shares of questions that are abstained on at the threshold of a measure that answers half of all, as means
    over the seeds; None if the questions are all of one kind."""
    shares = []
    for rows in judged:
        if len({one.answerable for one in rows}) == 2:
            threshold = point_for(curve(*columns(rows, name)), len(rows), coverage=HALF).threshold
            silent = [(one.answerable, one.confidence[name] < threshold) for one in rows]
            shares.append([statistics.fmean(s for a, s in silent if a == kind) for kind in (False, True)])
    if not shares:
        return None
    without, having = (statistics.fmean(column) for column in zip(*shares, strict=True))
    return {"unanswerable": without, "answerable": having, "ratio": without / having if having else None}
