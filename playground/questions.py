"""Questions with their gold answers, as people ask them with or without a passage, and how they are put to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from playground.errors import shown
from playground.jsonl import read_rows_as

CORRECT_FROM = 0.7
"""From this Rouge-L on an answer counts as right (ASPIRE, arXiv 2310.11689, §5.1)."""
MOST_TOKENS = 24
"""At most so many tokens an answer, wherever questions are asked: a confidence holds for answers of one kind."""


@dataclass(frozen=True)
class Question:
    """A question, the passage that it is about (or none), and its gold answers; one without any is unanswerable."""

    question: str
    context: str = ""
    answers: tuple[str, ...] = ()
    source: str = "not stated"
    licence: str = "not stated"

    @property
    def prompt(self) -> str:
        """What a model is asked."""
        return ask(self.question, self.context)


def ask(question: str, context: str = "") -> str:
    """The prompt of a question: the passage, if there is one, a blank line, the question. A question alone is asked as
    anybody would type it, so a lane of Compare reads what the Ask tab and the training read."""
    return f"{context.strip()}\n\n{question.strip()}" if context.strip() else question.strip()


def rouge_l(answer: str, gold: tuple[str, ...]) -> float:
    """The best Rouge-L F-measure of an answer against its gold answers, 0 to 1; 0 where there is none."""
    return max((_scorer().score(each, answer)["rougeL"].fmeasure for each in gold), default=0.0)


def is_correct(answer: str, gold: tuple[str, ...]) -> bool:
    """Whether an answer is right. One to an unanswerable question never is."""
    return rouge_l(answer, gold) >= CORRECT_FROM


@cache
def _scorer() -> RougeScorer:
    return RougeScorer(["rougeL"])


def read_questions(path: Path) -> tuple[list[Question], list[str]]:
    """The questions of a file of JSON Lines {"question", "context"?, "answers"}, and a sentence for each bad row.

    Raises UserError if the file cannot be read or holds none.
    """
    return read_rows_as(path, question_of, "holds no question with its answers")


def read_all(paths: list[Path], say: Callable[[str], None]) -> list[Question]:
    """The questions of several files; `say` is told of every bad row. Raises UserError as `read_questions` does."""
    found = []
    for path in paths:
        rows, problems = read_questions(path)
        found += rows
        for problem in problems:
            say(f"{path}, {problem}")
    return found


def question_of(content: Any) -> Question:
    """The question in a row of a file. Raises ValueError with what is wrong with it."""
    if not isinstance(content, dict):
        raise ValueError(f"a row must be an object, not {shown(content)}")
    if missing := {"question", "answers"} - content.keys():
        raise ValueError(
            f"lacks {', '.join(sorted(missing))}; a row has question, answers (none if it is unanswerable) and maybe "
            "context"
        )
    question, context, answers = content["question"], content.get("context") or "", content["answers"]
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"the question is {shown(question)}; it must be a text")
    if not isinstance(context, str):
        raise ValueError(f"the context is {shown(context)}; it must be a text")
    if not isinstance(answers, list) or not all(isinstance(a, str) and a.strip() for a in answers):
        raise ValueError(
            f"the answers are {shown(answers)}; they must be a list of texts, an empty one if there are none"
        )
    if content.get("wrong") and not answers:
        raise ValueError("only wrong answers are known, which does not make the question unanswerable")
    told = {key: content[key] for key in ("source", "licence") if isinstance(content.get(key), str)}
    return Question(question, context, tuple(answers), **told)
