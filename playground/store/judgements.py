"""Judgements: what people say of an answer to a question, right or wrong. One mark per voter and answer.

An answer belongs to the weights that gave it (`fingerprint`): under others the same text has another confidence.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground.jsonl import as_lines
from playground.store.connection import Connection
from playground.store.votes import now

KEY = ("voter", "question", "context", "answer", "fingerprint")
FIELDS = (*KEY, "variant", "log_likelihood", "p_correct", "score", "right", "run", "created")
"""The parts of a judgement; `run` is the id of the run that gave the answer."""


class JudgementStore:
    """The judgements of a database. A mark is on the disk when `mark` returns."""

    def __init__(self, connection: Connection):
        self._db, self._reading, self._writing = connection.db, connection.reading, connection.writing

    def mark(self, judgement: dict[str, Any]) -> None:
        """Keep a judgement (FIELDS without `created`) in the place of the one that its voter gave before, if any."""
        with self._writing():
            self._db["judgements"].insert(judgement | {"created": now()}, pk=KEY, replace=True)

    def unmark(self, judgement: dict[str, Any]) -> None:
        """Remove the mark with this KEY, if there is one."""
        where = " and ".join(f"{name} = :{name}" for name in KEY)
        deletion = {"what": "judgement", "key": deletion_key(judgement), "created": now()}
        with self._writing():
            self._db.execute(f"delete from judgements where {where}", {name: judgement[name] for name in KEY})
            self._db["deletions"].insert(deletion, replace=True)

    def rows(self, **wanted: str) -> list[dict[str, Any]]:
        """All judgements in which these fields have these values, the oldest first; `right` is true or false."""
        where = "".join(f" and {name} = :{name}" for name in wanted)
        with self._reading():
            query = f"select * from judgements where 1 {where} order by created, rowid"
            found = list(self._db.query(query, wanted))
        return [row | {"right": bool(row["right"])} for row in found]


def deletion_key(judgement: dict[str, Any]) -> str:
    """How a deletion names a judgement: by its voter and a hash, without its texts."""
    named = json.dumps([judgement[name] for name in KEY]).encode()
    return f"{judgement['voter']} {hashlib.sha256(named).hexdigest()}"


def training_rows(judgements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows {"question", "context", "answers" (the right ones), "wrong", "source"}, one a question with its passage. The
    majority decides about an answer; one that is as often called right as wrong is left out."""
    balance: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in judgements:
        balance[row["question"], row["context"]][row["answer"]] += 1 if row["right"] else -1
    return [
        {
            "question": question,
            "context": context,
            "answers": [answer for answer, sum_ in marks.items() if sum_ > 0],
            "wrong": [answer for answer, sum_ in marks.items() if sum_ < 0],
            "source": "judgements",
        }
        for (question, context), marks in balance.items()
        if any(marks.values())
    ]


def write_judgements(judgements: list[dict[str, Any]], raw: bool) -> bytes:
    """JSON Lines: training rows, or the judgements as they are."""
    return as_lines(judgements if raw else training_rows(judgements))


@contextmanager
def open_judgements(database: Path) -> Iterator[JudgementStore]:
    """The judgements of a database file, which is closed at the end."""
    connection = Connection(database)
    try:
        yield JudgementStore(connection)
    finally:
        connection.close()
