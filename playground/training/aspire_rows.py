"""The recipe of the shipped `answers` weights: questions with a passage, questions from memory, and unanswerable ones.

Sources are permissive: SQuAD 1.1 and SQuADShifts (CC BY-SA), Natural Questions Open (Apache-2.0), WebQuestions (CC BY),
OpenTriviaQA (CC BY-SA). The unanswerable questions are made from the first in the ways in which those of SQuAD 2.0 were
written (arXiv 1806.03822, table 2): a name or number is swapped for another one of the passage, a word for its antonym;
or the passage is another one of the same article.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from playground.jsonl import numbered_lines

Row = dict[str, Any]
PASSAGES = ("qa_train", "CC BY-SA 4.0")
FROM_MEMORY = (
    ("nqopen_train", "Apache-2.0"),
    ("webquestions_train", "CC BY 4.0"),
    ("opentrivia_train", "CC BY-SA 4.0"),
)
EACH_FROM_MEMORY = 1800
"""Rows of each source of questions without a passage."""
UNANSWERABLE = 0.3
"""Unanswerable questions, as a share of the answerable ones with a passage."""
_NAME = re.compile(r"(?<=[a-z,] )(?:[A-Z][\w'’-]+ ?)+\b|\b\d[\d,.]*\b")
"""A name (capitals inside a sentence) or a number."""
_OPPOSITES = (
    "first last, most least, largest smallest, highest lowest, before after, more fewer, oldest newest, increase "
    "decrease, north south, east west, best worst, higher lower, longest shortest, always never, beginning end, "
    "started stopped, largest smallest, greatest least, maximum minimum, earliest latest, with without, can cannot"
)
ANTONYMS = {word: other for pair in _OPPOSITES.split(", ") for word, other in (pair.split(), reversed(pair.split()))}


def aspire_rows(data: Path, seed: int = 0) -> list[Row]:
    """Rows {"question", "context"?, "answers", "source", "licence"} from the files below `data`. Raises UserError for a
    file that is not there."""
    rng = random.Random(seed)
    passages = _read(data, *PASSAGES)
    rows = [*passages, *unanswerable(passages, round(UNANSWERABLE * len(passages)), rng)]
    for source in FROM_MEMORY:
        rows += rng.sample(_read(data, *source), EACH_FROM_MEMORY)
    rng.shuffle(rows)
    return rows


def unanswerable(rows: list[Row], count: int, rng: random.Random) -> list[Row]:
    """So many questions of these rows, made unanswerable: half by a change of the question where there is one to make,
    the others by another passage."""
    by_title = defaultdict(set)
    for row in rows:
        by_title[row["title"]].add(row["context"])
    made: list[Row] = []
    for row in rng.sample(rows, len(rows)):
        changed = changed_question(row, rng) if len(made) % 2 else None
        other = None if changed else other_passage(row, sorted(by_title[row["title"]]))
        if len(made) < count and (changed or other):
            made.append(
                {**row, "question": changed or row["question"], "context": other or row["context"], "answers": []}
            )
    return made


def changed_question(row: Row, rng: random.Random) -> str | None:
    """The question with a name or number of it swapped for another one of the passage, or a word for its antonym."""
    question, answers = row["question"], " ".join(row["answers"])
    here = _NAME.findall(question)
    there = [
        name for name in _NAME.findall(row["context"]) if name.strip() not in question and name.strip() not in answers
    ]
    swaps = [(old.strip(), new.strip()) for old in here for new in there if old[0].isdigit() == new[0].isdigit()]
    opposite = [(word, ANTONYMS[word]) for word in question.split() if word in ANTONYMS]
    chosen = rng.choice(opposite) if opposite else rng.choice(swaps) if swaps else None
    return re.sub(rf"\b{re.escape(chosen[0])}\b", lambda _: chosen[1], question, count=1) if chosen else None


def other_passage(row: Row, passages: list[str]) -> str | None:
    """The passage that shares most words with the question and holds none of its answers."""
    asked = _words(row["question"])
    fitting = [p for p in passages if p != row["context"] and not any(a.lower() in p.lower() for a in row["answers"])]
    return max(fitting, key=lambda passage: len(asked & _words(passage)), default=None)


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}


def _read(data: Path, name: str, licence: str) -> list[Row]:
    rows = [json.loads(line) for _, line in numbered_lines(data / f"{name}.jsonl")]
    kept = ("question", "context", "title", "answers", "source")
    return [{key: row[key] for key in kept if key in row} | {"licence": licence} for row in rows]
