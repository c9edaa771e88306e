"""Value guidance against plain decoding: EFT, CBS and IVG beside sampling and best-of-N, by a judge with no part in it.

Every method may write as many tokens an answer. best_of_n draws as many answers as CBS has rows (n = W·K), so that
best_of_n, cbs and ivg generate equally many tokens; base and eft are single samples, whose price is lower.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from playground.decoders.base import policies
from playground.errors import UserError, shown
from playground.evaluation.answers import whole
from playground.evaluation.selective import RESAMPLES
from playground.models.fetch import Progress, no_progress
from playground.policy import Policy
from playground.record import LaneRecord
from playground.requests import LaneRequest
from playground.scorers import ScorerChoice
from playground.scorers.log_prob import EMPTY
from playground.service import Playground
from playground.tasks import prompt_of

Row = dict[str, Any]
BASE = "base"
UNTUNED = "reference"
"""What a judge may ask beside those that guide: the model as it is takes no side."""


@dataclass(frozen=True)
class Task:
    """What judges the answers to a task, what guides them, and how long they may be. `signed`: whether answers that
    `gold` values above 0 are good ones."""

    gold: str
    tuned: str | None = None
    scorer: str | None = None
    max_new_tokens: int = 32
    signed: bool = False


TASKS = {
    "sentiment": Task("vader", "positive", "value_sentiment", signed=True),
    "summary": Task("mean_log_prob(under=reference)", max_new_tokens=64),
    "harmless": Task("refusal", "aligned", "value_harmless", signed=True),
}
"""For summaries nothing that guides is shipped."""


def lanes_of(tuned: str, scorer: str, **options: int | float | str) -> dict[str, LaneRequest]:
    """The methods that are compared, by name. `options` are those of IVG; each method takes what it has. Raises
    UserError for one that cannot be used."""
    ivg = LaneRequest.checked(method="ivg", options={"tuned": tuned, "scorer": scorer, **options}).options

    def lane(method: str, *names: str, **more: Any) -> LaneRequest:
        shared = {name: getattr(ivg, name) for name in (*names, "temperature", "variant")}
        return LaneRequest.checked(method=method, options=shared | more)

    guided, kept = ("tuned", "weight"), ("scorer", "width", "successors", "chunk")
    return {
        BASE: lane("sample"),
        "best_of_n": lane("best_of_n", "scorer", n=ivg.width * ivg.successors),
        "eft": lane("eft", *guided),
        "cbs": lane("cbs", *kept),
        "ivg": lane("ivg", *guided, *kept),
    }


def drawn(rows: list[Row], limit: int | None) -> list[Row]:
    """`limit` of the rows at random, the same ones each time, in their order; files are often sorted by label."""
    if limit is None or limit >= len(rows):
        return rows
    return [rows[place] for place in sorted(random.Random(0).sample(range(len(rows)), limit))]


def evaluate_guidance(
    playground: Playground,
    task: str,
    rows: list[Row],
    seeds: int = 3,
    gold: str | None = None,
    tuned: str | None = None,
    scorer: str | None = None,
    max_new_tokens: int | None = None,
    watch: Progress = no_progress,
    **options: int | float,
) -> dict[str, Any]:
    """What the command prints. rows: {"prompt", maybe "label"}; every method answers each with every seed. `gold`,
    `tuned` and `scorer` take the place of the task's own. Of each method:

    mean_gold: mean over prompts and seeds; low, high: 95 % of bootstrap resamples of the prompts (means over seeds).
    win_rate_over_base: share of answers that beat base's at the same seed, ties a half.
    kl: distance to base in nats. eft, ivg: mean KL(guided‖base) of a token where it was drawn, without what choosing
    among beams adds. best_of_n: at most log n − (n−1)/n of an *answer* (Beirami et al., arXiv 2401.01879). cbs: None.
    distinct2: distinct word bigrams over all bigrams of its answers.
    generated_tokens, forward_tokens: an answer's mean; seconds: of all answers in shared batches, over their number.
    positive_share, of a signed task: share of answers that gold values above 0. by_label, of rows with labels: the
    means of each label.

    An answer without text is judged as the worst of all. Raises UserError, also for a scorer that guides and judges.
    """
    own = TASKS[task]
    tuned, scorer = tuned or own.tuned, scorer or own.scorer
    if not (tuned and scorer):
        raise UserError(f"Nothing that guides the task {task} is shipped; give --tuned and --scorer, trained for it.")
    if wrong := next((row["label"] for row in rows if not isinstance(row.get("label"), str | None)), None):
        raise UserError(f"The label {shown(wrong)} is no text; mend it, or leave labels out.")
    judge = ScorerChoice(gold or own.gold)
    impartial(playground, judge, ScorerChoice(scorer), set(playground.catalogue.resolve(Policy(tuned)).names))
    lanes = lanes_of(tuned, scorer, **options)
    jobs = [(prompt_of(task, row["prompt"]), seed) for row in rows for seed in range(seeds)]
    playground.load_for(lanes.values(), no_progress)
    answers: dict[str, list[LaneRecord]] = {}
    seconds: dict[str, float] = {}
    for number, (name, lane) in enumerate(lanes.items()):

        def told(share: float, what: str, name: str = name, number: int = number) -> None:
            watch(0.9 * (number + share) / len(lanes), f"{name}: {what}")

        playground.engine.forget_openings()
        began = time.perf_counter()
        written = playground.each([(p, lane, s) for p, s in jobs], max_new_tokens or own.max_new_tokens, told)
        answers[name] = [whole(record, name, p) for record, (p, _) in zip(written, jobs, strict=True)]
        seconds[name] = (time.perf_counter() - began) / len(jobs)
    texts = [(prompt, one["text"]) for found in answers.values() for (prompt, _), one in zip(jobs, found, strict=True)]
    scores = np.array(playground.scores(judge, texts, watch=lambda share, what: watch(0.9 + 0.1 * share, what)))
    silent = np.array([not text.strip() for _, text in texts]) | (scores <= EMPTY)
    scores[silent] = scores[~silent].min() if not silent.all() else 0.0
    golds = dict(zip(lanes, scores.reshape(len(lanes), len(rows), seeds), strict=True))
    watch(1.0, "done")
    methods = []
    for name, lane in lanes.items():
        gold_of, costs = golds[name], [one["cost"] for one in answers[name]]
        methods.append(
            {
                "method": name,
                "lane": written_as(lane),
                **interval(gold_of),
                "win_rate_over_base": _wins(gold_of, golds[BASE]),
                "kl": divergence(name, lane, answers[name]),
                "distinct2": distinct([one["text"] for one in answers[name]]),
                **{
                    price: statistics.fmean(cost[price] for cost in costs)
                    for price in ("generated_tokens", "forward_tokens")
                },
                "seconds": seconds[name],
                **({"positive_share": float((gold_of > 0).mean())} if own.signed else {}),
                **_by_label(rows, gold_of, own.signed),
            }
        )
    return {"task": task, "n": len(rows), "gold": judge, "methods": methods}


def impartial(playground: Playground, judge: ScorerChoice, scorer: ScorerChoice, tuned: set[str]) -> None:
    """Raises UserError for a judge that is the scorer which guides, or asks a model that does."""
    guides = _asked(playground, scorer) | tuned
    if judge == scorer or _asked(playground, judge) & guides - {UNTUNED}:
        raise UserError(
            f"The scorer {judge} asks what guides, so it would find all that fools it good; let another one judge, or "
            "guide."
        )


def _asked(playground: Playground, scorer: ScorerChoice) -> set[str]:
    """The variants that a scorer asks."""
    return {name for policy in policies(scorer.options) for name in playground.catalogue.resolve(policy).names}


def written_as(lane: LaneRequest) -> str:
    """A lane as on the command line, with all its options that differ from the defaults."""
    changed = lane.options.model_dump(exclude_defaults=True)
    return f"{lane.method}:{','.join(f'{name}={value}' for name, value in changed.items())}".removesuffix(":")


def interval(golds: np.ndarray) -> dict[str, float]:
    """The mean of gold values [prompts, seeds], and the interval that holds 95 % of its bootstrap resamples over the
    prompts; the same prompts are drawn for every method."""
    of_prompts = golds.mean(1)
    some = np.random.default_rng(0).integers(len(of_prompts), size=(RESAMPLES, len(of_prompts)))
    low, high = np.quantile(of_prompts[some].mean(1), [0.025, 0.975]).tolist()
    return {"mean_gold": float(of_prompts.mean()), "low": low, "high": high}


def divergence(name: str, lane: LaneRequest, answers: list[LaneRecord]) -> float | None:
    """See `evaluate_guidance`."""
    if name == "best_of_n":
        n = lane.options.n
        return math.log(n) - (n - 1) / n
    if name == "cbs":
        return None
    tokens = [token for one in answers for token in one["detail"]["tokens"]]
    return statistics.fmean(token["kl_to_base"] for token in tokens) if name != BASE else 0.0


def distinct(texts: list[str]) -> float | None:
    """Distinct word bigrams over all bigrams of these texts (Li et al., arXiv 1510.03055); None where there is none."""
    bigrams = [pair for text in texts for pair in itertools.pairwise(text.lower().split())]
    return len(set(bigrams)) / len(bigrams) if bigrams else None


def _wins(golds: np.ndarray, base: np.ndarray) -> float:
    return float(((golds > base) + 0.5 * (golds == base)).mean())


def _by_label(rows: list[Row], golds: np.ndarray, signed: bool) -> dict[str, Any]:
    """What the answers to the prompts of each label come to; nothing where rows have none."""
    labels = [row.get("label") for row in rows]
    found = {}
    for label in sorted({label for label in labels if label is not None}):
        these = golds[[each == label for each in labels]]
        found[label] = {"n": len(these), "mean_gold": float(these.mean())}
        if signed:
            found[label]["positive_share"] = float((these > 0).mean())
    return {"by_label": found} if found else {}
