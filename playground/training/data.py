"""Ranked responses from JSON Lines: {"query", "responses", "scores"} or {"prompt", "chosen", "rejected"}."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from playground.errors import UserError, shown
from playground.jsonl import read_rows_as

Row = TypeVar("Row")


@dataclass(frozen=True)
class RankedRow:
    """One query with its responses, best and worse told by `scores` (higher is better; equal ones make no pair)."""

    query: str
    responses: tuple[str, ...]
    scores: tuple[float, ...]
    both_bad: bool = False
    """People called all of them bad: kept for the record, not trained on."""
    cut: tuple[int, ...] = ()
    """Numbers of the responses that were cut at a limit, after which no end is learned."""

    @property
    def pairs(self) -> int:
        """Ordered pairs of responses with different scores."""
        return sum(a < b for a in self.scores for b in self.scores)


@dataclass(frozen=True)
class Rows(Generic[Row]):
    """What a file held: good rows, and a sentence for each bad one."""

    rows: list[Row]
    problems: list[str]


def read_rows(path: Path) -> Rows[RankedRow]:
    """Read a file of ranked responses. Bad rows are told with their line numbers; none is dropped silently.

    Raises UserError if the file cannot be read or holds nothing to train on.
    """
    found = read_scored(path)
    if not any(row.pairs for row in found.rows) and all(len(row.responses) > 1 for row in found.rows):
        raise UserError(f"In {str(path)!r} all scores of every row are equal, so there is nothing to rank; score them.")
    return found


def read_scored(path: Path) -> Rows[RankedRow]:
    """The same of responses that need not differ in score within a row."""
    return Rows(*read_rows_as(path, _usable, "holds no usable row"))


def _usable(content: Any) -> RankedRow:
    row = _row(content)
    if row.both_bad:
        raise ValueError("both answers were called bad; nothing is learned from it")
    return row


def _row(content: Any) -> RankedRow:
    if not isinstance(content, dict):
        raise ValueError(f"a row must be an object, not {shown(content)}")
    if {"prompt", "chosen", "rejected"} <= content.keys():
        content = {
            "query": content["prompt"],
            "responses": [content["chosen"], content["rejected"]],
            "scores": [1, 0],
        }
    pair, ranked = {"prompt", "chosen", "rejected"}, {"query", "responses", "scores"}
    missing = (pair if content.keys() & pair and not content.keys() & ranked else ranked) - content.keys()
    if missing:
        raise ValueError(
            f"lacks {', '.join(sorted(missing))}; a row has query, responses and scores, or prompt, chosen and rejected"
        )
    query, responses, scores = content["query"], content["responses"], content["scores"]
    if not isinstance(query, str) or not query.strip():
        raise ValueError(f"the query is {shown(query)}; it must be a text")
    if not isinstance(responses, list) or not responses or not all(isinstance(r, str) and r.strip() for r in responses):
        raise ValueError("responses must be a list of texts that are not empty")
    if not isinstance(scores, list) or len(scores) != len(responses):
        raise ValueError(f"there are {len(responses)} responses; scores must be a list of as many numbers")
    if not all(isinstance(s, int | float) and not isinstance(s, bool) and math.isfinite(s) for s in scores):
        raise ValueError(f"the scores {shown(scores)} must be finite numbers")
    ended = content.get("ended", [True] * len(responses))
    if not isinstance(ended, list) or len(ended) != len(responses) or not all(isinstance(e, bool) for e in ended):
        raise ValueError(f"ended is {shown(ended)}; it must tell of each response whether it is whole (true or false)")
    cut = tuple(i for i, whole in enumerate(ended) if not whole)
    return RankedRow(query, tuple(responses), tuple(map(float, scores)), content.get("both_bad") is True, cut)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
