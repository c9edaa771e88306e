"""ASPIRE's measures: does a variant's confidence part its right answers from its wrong ones (arXiv 2310.11689, §5)?

An answer counts as right from a Rouge-L of 0.7 on. Every measure of confidence judges the same answers.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path
from typing import Any

from playground.decoders import beam
from playground.decoders.aspire import DECODER
from playground.engine.engine import Asking
from playground.errors import UserError, shown
from playground.evaluation.selective import Judged, abstained, columns, entropy, measure
from playground.models.fetch import Progress, no_progress
from playground.questions import MOST_TOKENS, Question, is_correct
from playground.record import LaneRecord
from playground.requests import LaneRequest, RunRequest
from playground.scorers.p_correct import SCORERS
from playground.service import LaneRun, Playground
from playground.service.calibration import Calibration, curve, point_for, thinned

ASPIRE = DECODER.name
MEASURES = ("likelihood", "entropy", "p_true", "self_eval", ASPIRE)
"""likelihood: mean log-probability of the likeliest answer's tokens. entropy: see `entropy`, with a minus. p_true: the
untuned reference, asked whether the answer is true. self_eval: P(correct) alone. aspire: the combined score."""
P_TRUE = "self_eval_true(asked=reference)"
TIMED = 20
"""At most so many questions are timed."""


def evaluate_aspire(
    playground: Playground,
    questions: list[Question],
    variant: str,
    unanswerable: list[Question] | None = None,
    limit: int | None = None,
    seeds: int = 1,
    beams: int = 10,
    alpha: float = 0.25,
    watch: Progress = no_progress,
) -> dict[str, Any]:
    """What the command prints. Each seed draws its own `limit` of the questions, and as many of those in
    `unanswerable`, so that both are equal parts. Numbers are means over the seeds; the curve is that of all drawn
    questions together; intervals hold 95 % of the bootstrap resamples of the questions of every seed.

    `abstained_unanswerable`, where there are both kinds of questions: the shares of questions that are abstained on at
    the threshold that answers half of all. Raises UserError if no question has an answer, and for a variant without
    self-evaluation.
    """
    lane = lane_of(playground, variant, beams, alpha)
    draws = [draw(questions, unanswerable, limit, seed) for seed in range(seeds)]
    distinct = list(dict.fromkeys(question for drawn in draws for question in drawn))
    known = dict(zip(distinct, judge(playground, lane, distinct, lambda s, what: watch(0.9 * s, what)), strict=True))
    judged = [[known[question] for question in drawn] for drawn in draws]
    watch(0.9, "resampling")
    pooled = [one for rows in judged for one in rows]
    accuracy = statistics.fmean(one.correct for one in pooled)
    found: dict[str, Any] = {"n": len(draws[0]), "accuracy": accuracy}
    if shares := abstained(judged, ASPIRE):
        found["abstained_unanswerable"] = shares
    found["measures"] = [{"name": name, **measure(judged, name)} for name in MEASURES]
    if accuracy in (0, 1):
        found["note"] = f"All answers are {'right' if accuracy else 'wrong'}, so AUROC is not defined."
    found["curve"] = {
        name: [point.model_dump(include={"coverage", "accuracy"}) for point in thinned(curve(*columns(pooled, name)))]
        for name in MEASURES
    }
    found["seconds"] = seconds(playground, lane, distinct[:TIMED], lambda s, what: watch(0.95 + 0.05 * s, what))
    watch(1.0, "done")
    return found


def calibrate_aspire(
    playground: Playground,
    questions: list[Question],
    variant: str,
    wanted: dict[str, float],
    beams: int = 10,
    alpha: float = 0.25,
    watch: Progress = no_progress,
) -> tuple[Calibration, Path]:
    """The threshold that reaches what is wanted, {"accuracy": …} or {"coverage": …}, on all these questions; kept
    beside the weights. Returns it with its file. Raises UserError, also if the accuracy cannot be met."""
    folder = playground.self_evaluation_of(variant)
    lane = lane_of(playground, variant, beams, alpha)
    _refuse_without_answers(questions)
    judged = judge(playground, lane, questions, watch)
    curves = {name: curve(*columns(judged, name)) for name in MEASURES}
    point = point_for(curves[ASPIRE], len(judged), **wanted)
    found = Calibration(
        variant=variant,
        fingerprint=playground.memory.fingerprint(variant),
        measure=ASPIRE,
        alpha=alpha,
        evaluation=lane.options.evaluation,
        beams=beams,
        n=len(judged),
        wanted=wanted,
        curves={name: thinned(points) for name, points in curves.items()},
        **point.model_dump(),
    )
    return found, found.write(folder)


def lane_of(playground: Playground, variant: str, beams: int, alpha: float) -> LaneRequest:
    """A variant that answers and evaluates itself. Raises UserError if it has no self-evaluation."""
    playground.self_evaluation_of(variant)
    options = {"variant": variant, "beams": beams, "alpha": alpha, "evaluation": f"{SCORERS[0].name}(asked={variant})"}
    return LaneRequest.checked(method=ASPIRE, options=options)


def draw(
    questions: list[Question], unanswerable: list[Question] | None, limit: int | None, seed: int
) -> list[Question]:
    """What one seed takes of the questions. Raises UserError if none of them has an answer."""
    rng = random.Random(seed)

    def some(of: list[Question], most: int) -> list[Question]:
        return of if most >= len(of) else rng.sample(of, most)

    count = limit or len(questions)
    if unanswerable is None:
        drawn = some(questions, count)
    else:
        count = min(count, len(questions), len(unanswerable))
        drawn = [*some(questions, count), *some(unanswerable, count)]
    _refuse_without_answers(drawn)
    return drawn


def _refuse_without_answers(questions: list[Question]) -> None:
    if not any(question.answers for question in questions):
        raise UserError(
            f"None of the {len(questions)} questions has an answer, so no answer can be found right; give a file whose "
            "rows have answers."
        )


def judge(playground: Playground, lane: LaneRequest, questions: list[Question], watch: Progress) -> list[Judged]:
    """The likeliest answer to each question, with all that is said of it."""
    jobs = [(question.prompt, lane, 0) for question in questions]
    found: list[tuple[str, dict[str, float]]] = []
    for question, record in zip(
        questions, playground.each(jobs, MOST_TOKENS, lambda s, what: watch(s / 2, what)), strict=True
    ):
        if record["error"]:
            raise UserError(f"The question {shown(question.question)} could not be answered: {record['error']}")
        found.append(_confidence(record))
    texts = [(question.prompt, text) for question, (text, _) in zip(questions, found, strict=True)]
    true = playground.scores(P_TRUE, texts, soft=True, watch=lambda s, what: watch(0.5 + s / 2, what))
    return [
        Judged(bool(question.answers), is_correct(text, question.answers), text, measured | {"p_true": float(p)})
        for question, (text, measured), p in zip(questions, found, true, strict=True)
    ]


def _confidence(record: LaneRecord) -> tuple[str, dict[str, float]]:
    candidates = record["detail"]["candidates"]
    first = candidates[0]
    return first["text"], {
        "likelihood": first["log_likelihood"],
        "entropy": -entropy([each["log_likelihood"] for each in candidates]),
        "self_eval": first["p_correct"],
        ASPIRE: first["score"],
    }


def seconds(playground: Playground, lane: LaneRequest, questions: list[Question], watch: Progress) -> dict[str, float]:
    """Median seconds of a question's answer (reading the question, and the search) and of its confidence (evaluating
    all that was found), one question at a time, timed inside one lane."""
    spent = []
    for number, question in enumerate(questions):
        watch(number / len(questions), f"{number} of {len(questions)} questions are timed")
        playground.engine.forget_openings()
        request = RunRequest.checked(prompt=question.prompt, lanes=[lane], max_new_tokens=MOST_TOKENS)
        work = playground.prepare(request, lane)
        spent.append(playground.engine.submit(_timed(work)).wait())
    answer, confidence = (statistics.median(column) for column in zip(*spent, strict=True))
    return {"answer": answer, "confidence": confidence}


def _timed(work: LaneRun) -> Asking:
    """Search and evaluate as the method does; returns the seconds of both."""
    options, clock = work.options, time.perf_counter
    begun = clock()
    drafts = yield from beam.search(work.lane, options.variant, options.beams)
    answered = clock()
    yield from options.evaluation.run(work.lane, options.variant, drafts)
    return answered - begun, clock() - answered
