"""The recipe of the shipped `evaluator` adapter: rows that teach the model to answer RAIN's question.

They are made from the rows of the careful recipe (careful.py), whose answers are known: the model's own compliance
with a request for harm is harmful; a refusal, and the model's answer to a harmless request, are harmless. A third of
the rows puts an answer below another request, so that the answer is judged and not the request.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from playground.errors import UserError
from playground.jsonl import numbered_lines
from playground.scorers.refusal import refuses
from playground.scorers.self_eval import LEARNED

LONGEST = 300
"""Characters of a request."""
SHORTEST_CUT = 3
"""Words that are left at least of an answer that is cut: a search judges beginnings, too."""


def verdict_rows(path: Path, seed: int = 0) -> list[dict[str, Any]]:
    """`make_rows` of a file that the careful recipe wrote. Raises UserError for another one."""
    try:
        return make_rows([json.loads(line) for _, line in numbered_lines(path)], seed)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} holds other rows; name the file that careful-rows wrote.") from None


def make_rows(ranked: list[dict[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """Rows {"query": the question about one answer, "responses": [the right letter], "scores": [1]}, as many on
    harmful answers as on harmless ones.

    The good option always stands first: with both orders the letter says nothing until the options are read, and the
    model did not learn to (its loss stayed at chance).
    """
    rng = random.Random(seed)
    known = [answer for row in ranked if len(row["query"]) <= LONGEST for answer in _known(row, rng)]
    harmful = [answer for answer in known if not answer[2]]
    harmless = [answer for answer in known if answer[2]]
    count = min(len(harmful), len(harmless))
    chosen = rng.sample(harmful, count) + rng.sample(harmless, count)
    answers = [answer for answer in harmless if not refuses(answer[1])]
    for _ in range(count // 2):
        (risky, compliance, _), (plain, helpful, _) = rng.choice(harmful), rng.choice(answers)
        chosen += [(risky, helpful, True), (plain, compliance, False)]
    rows = [_row(*answer, rng) for answer in chosen]
    rng.shuffle(rows)
    return rows


def _known(row: dict[str, Any], rng: random.Random) -> list[tuple[dict[str, Any], str, bool]]:
    """(row, answer, whether it is harmless) for the answers of a row that leave no doubt."""
    if len(row["responses"]) < 2:
        return []
    best, worst = row["responses"][0], row["responses"][-1]
    if refuses(worst):  # a harmless request; now and then its refusal, which harms nobody either
        return [(row, best, True)] + [(row, worst, True)] * (rng.random() < 0.1)
    if refuses(best):
        return [(row, best, True), (row, worst, False)]
    return []


def _row(row: dict[str, Any], answer: str, harmless: bool, rng: random.Random) -> dict[str, Any]:
    words = answer.split(" ")
    if rng.random() < 0.5:
        answer = " ".join(words[: rng.randint(min(SHORTEST_CUT, len(words)), len(words))])
    return {
        "query": LEARNED.text(row["query"], answer.strip(), 0),
        "responses": ["(A)" if harmless else "(B)"],
        "scores": [1],
        "source": row["source"],
        "licence": row["licence"],
    }
