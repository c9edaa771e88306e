"""Files of JSON Lines: written, and read line by line, so that what is wrong can be told by its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from playground.errors import UserError

T = TypeVar("T")


def numbered_lines(path: Path, what: str = "data") -> list[tuple[int, str]]:
    """(number from 1, line) of every line that is not blank. A line ends at a line feed alone: other separators may
    stand inside a text. Raises UserError, which calls the file `what`, if it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"The {what} {str(path)!r} cannot be read ({error}); name a JSON Lines file in UTF-8."
        ) from None
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    """Rows as the content of a file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _whole(row: Any) -> Any:
    """The row. Raises ValueError if a text in it holds half a character (a lone surrogate), which nothing can write."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character (a lone surrogate)") from None
    return row


def read_rows_as(path: Path, made: Callable[[Any], T], none: str) -> tuple[list[T], list[str]]:
    """The rows of a file as `made` makes them, and a sentence with the line for each that is not JSON or at which it
    raises ValueError: no bad row is dropped silently. Raises UserError if the file cannot be read, or holds no good
    row; `none` says so, as in "holds no usable row"."""
    rows, problems = [], []
    for number, line in numbered_lines(path):
        try:
            rows.append(made(_whole(json.loads(line))))
        except json.JSONDecodeError as error:
            problems.append(f"line {number}: not JSON ({error.msg})")
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if not rows:
        first = f" First problem: {problems[0]}." if problems else ""
        raise UserError(f"The data {path.name!r} {none}.{first}")
    return rows, problems


def read_texts(path: Path, fields: tuple[str, ...], limit: int | None = None) -> list[dict[str, Any]]:
    """The first `limit` rows that have all `fields` as texts. Raises UserError with the line of one that has not."""
    rows = []
    for number, line in numbered_lines(path)[:limit]:
        try:
            row = _whole(json.loads(line))
            good = all(isinstance(row[field], str) for field in fields)
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise UserError(f"{path}, line {number}: a row needs the texts {', '.join(fields)}; mend or remove it.")
        rows.append(row)
    if not rows:
        raise UserError(f"The data {str(path)!r} holds no row; a row needs the texts {', '.join(fields)}.")
    return rows
