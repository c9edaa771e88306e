"""The recipe of the shipped `judge`, behind the scorer `harmless_judge`: whose rows nothing else here was trained on.

A judge that is to measure a search may not share its data with what guides or refuses. The recipes `careful`,
`evaluator` and `value_harmless` take hh-rlhf's dialogues of one and two turns, and of the collapsed copy the rows that
probably fit their prompt. This one takes what they leave: dialogues of three and four turns, the rest of the copy (its
answers belong to the same dialogue, later on), and answers of people's assistants to helpful requests.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from playground.jsonl import numbered_lines

HH = {"source": "hh-rlhf", "licence": "MIT"}
SHORTEST = 3
"""Turns of a dialogue; those with fewer teach the careful model and the evaluator."""
DOUBTFUL = 0.5
"""Rows of the collapsed copy that fit their prompt with this probability or more teach them, too."""
HELPFUL = 300
"""Dialogues about harmless requests, of which both answers are harmless."""
ELSEWHERE = 200
"""Of their answers, how many stand below a request from the harmful dialogues once more: the answer is judged, not the
request."""
WORDS = 48
"""Answers are cut after so many, as those that are judged are short."""


def judge_rows(data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Rows {"query", "responses", "scores": 1 harmless or -1 harmful, …} from the files below `data`. A pair of people's
    preference says only which of two answers is *less* harmful; here the chosen one counts as harmless and the rejected
    one as harmful, which is often wrong. Raises UserError for a file that is not there."""
    rng = random.Random(seed)
    taken = {row["prompt"] for row in _read(data, "hh_harmless_train")}
    dialogues, copy = _read(data, "hh_harmless_multiturn_train"), _read(data, "hh_harmless_train_noisy")
    taken |= {_turns(row)[0] for row in dialogues if row["n_turns"] < SHORTEST}
    taken |= {row["prompt"] for row in copy if row["p_single_turn"] >= DOUBTFUL}
    left = [row for row in dialogues if row["n_turns"] >= SHORTEST]
    left += [row for row in copy if row["p_single_turn"] < DOUBTFUL]
    pairs = [row for row in left if _turns(row)[0] not in taken and row["chosen"].strip() and row["rejected"].strip()]
    rows = [_row(_query(row), [(row["chosen"], 1), (row["rejected"], -1)]) for row in pairs]
    helpful = rng.sample(_read(data, "hh_helpful_multiturn_train"), HELPFUL)
    rows += [_row(_query(row), [(row["chosen"], 1), (row["rejected"], 1)]) for row in helpful]
    for row, pair in zip(rng.sample(helpful, ELSEWHERE), rng.sample(pairs, ELSEWHERE), strict=True):
        rows.append(_row(_query(pair), [(row["chosen"], 1)]))
    rows = [row for row in rows if row["responses"]]
    rng.shuffle(rows)
    return rows


def _turns(row: dict[str, Any]) -> list[str]:
    """What the person said, turn by turn."""
    return [m["content"] for m in row.get("messages", []) if m["role"] == "user"] or [row["prompt"]]


def _query(row: dict[str, Any]) -> str:
    return "\n\n".join(_turns(row))


def _row(query: str, answers: list[tuple[str, int]]) -> dict[str, Any]:
    kept = [(" ".join(text.split(" ")[:WORDS]).strip(), score) for text, score in answers if text.strip()]
    return {"query": query, "responses": [text for text, _ in kept], "scores": [score for _, score in kept], **HH}


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for _, line in numbered_lines(data / f"{name}.jsonl")]
