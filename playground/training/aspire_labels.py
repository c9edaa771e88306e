"""ASPIRE's second stage (arXiv 2310.11689, §4.2): the likeliest answers to each question, found by beam search and
labelled by Rouge-L against the gold answers.

The questions are others than those that the first stage learned from: there the model is right more often, and surer,
than it will be. Some are kept apart, unlabelled, for choosing the threshold.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from playground.errors import UserError
from playground.jsonl import numbered_lines, read_texts
from playground.models.fetch import Progress
from playground.questions import MOST_TOKENS, Question, is_correct, read_questions
from playground.requests import LaneRequest
from playground.service import Playground
from playground.settings import Settings
from playground.training.aspire_task import fits
from playground.training.data import write_rows
from playground.training.loop import seen, split
from playground.training.records import JOB, LabelConfig, TaskConfig, read_job

LABELLED, CALIBRATION = "labelled.jsonl", "calibration.jsonl"
SEARCH = "beam"
"""The method that finds the answers."""
AT_ONCE = 48
"""Questions whose answers are written to the file together."""


def label(
    out: Path,
    data: Path,
    config: LabelConfig,
    resume: bool,
    say: Callable[[str], None],
    watch: Progress,
    settings: Settings | None = None,
) -> None:
    """Label answers of what was learned in `out` to questions of `data`, into LABELLED there; `resume` goes on with a
    file that was begun. Raises UserError if there is nothing learned in `out`, or the file is damaged or has other
    questions."""
    job = read_job(out / JOB)
    with closing(Playground(replace(settings or Settings(), database=":memory:"), watch)) as playground:
        variant = playground.learned_variant(str(out))
        playground.memory.ensure(variant)
        tokenizer = playground.memory.model_of(variant).tokenizer
        fitting = {
            path: [question for question in read_questions(path)[0] if fits(tokenizer, question, job.config)]
            for path in {data.absolute(), job.source.path}
        }
        learned_from = [question for question in fitting[job.source.path] if question.answers]
        questions, calibration = choose(fitting[data.absolute()], learned_from, job.config, config)
        file = out / LABELLED
        done = _whole_lines(file, questions) if resume and file.exists() else 0
        write_rows(out / CALIBRATION, list(map(asdict, calibration)))
        with file.open("a" if done else "w", encoding="utf-8") as lines:
            for start in range(done, len(questions), AT_ONCE):
                watch(start / len(questions), f"{start} of {len(questions)} questions are labelled")
                for row in labelled(playground, variant, questions[start : start + AT_ONCE], config.beams):
                    lines.write(json.dumps(row, ensure_ascii=False) + "\n")
                lines.flush()
    rows = [json.loads(line) for _, line in numbered_lines(file)]
    right = sum(row["candidates"][0]["correct"] for row in rows)
    share = f"{right / len(rows):.0%}"
    say(f"{len(rows)} questions with labelled answers are in {file}; {share} of the first ones are right.")


def _whole_lines(file: Path, questions: list[Question]) -> int:
    """How many of the questions are labelled in a file; what a killed process left of another one is cut off."""
    written = file.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if whole != written:
        file.write_bytes(whole)
    rows = read_texts(file, ("question", "context")) if whole else []
    known = [(question.question, question.context) for question in questions[: len(rows)]]
    if [(row["question"], row["context"]) for row in rows] != known:
        raise UserError(
            f"{file} was begun with other questions or settings; start without --resume, or give the same ones again."
        )
    return len(rows)


def choose(
    questions: list[Question], learned_from: list[Question], task: TaskConfig, config: LabelConfig
) -> tuple[list[Question], list[Question]]:
    """Questions to label, which the first stage did not see, and questions for choosing the threshold: those that it
    held out, with as large a share of unanswerable ones as there is among all. learned_from: the rows of the first
    stage, in their order."""
    rng = random.Random(config.seed)
    held_out, rows = split(learned_from, task)
    unanswerable = [question for question in questions if not question.answers]
    rng.shuffle(unanswerable)
    count = min(len(unanswerable), round(len(held_out) * len(unanswerable) / len(learned_from)))
    used, given, known = {*seen(rows, task)}, {*questions}, {*learned_from}
    rest = [question for question in rows if question not in used and question in given]
    rest += [question for question in questions if question.answers and question not in known]
    rest += unanswerable[count:]
    if not rest:
        raise UserError("The first stage has seen every question; give more of them, or train it for fewer steps.")
    return rng.sample(rest, min(config.questions, len(rest))), [*held_out, *unanswerable[:count]]


def labelled(playground: Playground, variant: str, questions: list[Question], beams: int) -> Iterator[dict[str, Any]]:
    """Rows of a question with "candidates": [{"text", "token_ids", "log_likelihood", "correct"}], likeliest first;
    token_ids are without the end token. Answers that read the same are kept once."""
    lane = LaneRequest.checked(method=SEARCH, options={"beams": beams, "variant": variant})
    jobs = [(question.prompt, lane, 0) for question in questions]
    for question, found in zip(questions, playground.each(jobs, MOST_TOKENS), strict=True):
        candidates: dict[str, dict[str, Any]] = {}
        for each in found["detail"]["candidates"]:
            ended = each["finish_reason"] == "end"
            told = {
                "text": each["text"],
                "token_ids": each["token_ids"][:-1] if ended else each["token_ids"],
                "log_likelihood": each["score"],
                "correct": is_correct(each["text"], question.answers),
            }
            candidates.setdefault(each["text"].strip(), told)
        yield asdict(question) | {"candidates": list(candidates.values())}
