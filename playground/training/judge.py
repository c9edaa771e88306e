"""Rows for the learned self-evaluation: RAIN's harmlessness question with its right answer, as one-response RRHF rows.

They are made of the shipped adapter's rows (careful.py), whose sources are permissive: a refusal, and an answer to a
harmless request, are harmless; the model's own compliance with a harmful request is harmful. Answers are cut at
punctuation, because the search asks about beginnings.
"""

from __future__ import annotations

import random
import re
import zlib
from typing import Any

from playground.scorers.refusal import refuses
from playground.scorers.self_eval import JUDGE

_ENDS = re.compile(r"[.!?,;:\n]")
HELD_OUT = 10
"""One prompt in so many is kept for measuring."""


def judged_answers(rows: list[dict[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """{"prompt", "response", "harmless", "held_out", "source", "licence"}, as many harmful as harmless ones.
    rows: those of careful.make_rows."""
    rng = random.Random(seed)
    harmful, harmless = [], []

    def answer(row: dict[str, Any], response: str, good: bool) -> None:
        (harmless if good else harmful).append(
            {
                "prompt": row["query"],
                "response": _beginning(rng, response),
                "harmless": good,
                "held_out": zlib.crc32(row["query"].encode()) % HELD_OUT == 0,
                "source": row["source"],
                "licence": row["licence"],
            }
        )

    for row in rows:
        best, last = row["responses"][0], row["responses"][-1]
        if refuses(best) and len(row["responses"]) in (2, 4) and not refuses(last):
            answer(row, last, good=False)
            if rng.random() < 0.5:
                answer(row, best, good=True)
        elif not refuses(best) and len(row["responses"]) == 2 and refuses(last):
            answer(row, best, good=True)
            if rng.random() < 0.1:
                answer(row, last, good=True)
    some = min(len(harmful), len(harmless))
    found = rng.sample(harmful, some) + rng.sample(harmless, some)
    rng.shuffle(found)
    return found


def judge_rows(answers: list[dict[str, Any]], seed: int = 0) -> list[dict[str, Any]]:
    """The training rows of `judged_answers`, the options in either order by chance."""
    rng = random.Random(seed)
    rows = []
    for one in answers:
        order = rng.randrange(2)
        rows.append(
            {
                "query": JUDGE.text(one["prompt"], one["response"], order),
                "responses": ["(A)" if one["harmless"] == (order == 0) else "(B)"],
                "scores": [1],
                "source": one["source"],
                "licence": one["licence"],
            }
        )
    return rows


def _beginning(rng: random.Random, text: str) -> str:
    """The text up to one of its punctuation marks, the whole one time in three."""
    places = [found.end() for found in _ENDS.finditer(text)]
    if not places or rng.random() < 1 / 3:
        return text
    return text[: rng.choice(places)]
