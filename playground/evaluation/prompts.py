"""Prompts and pairs from JSON Lines, for measuring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playground.errors import UserError
from playground.jsonl import numbered_lines


def read_rows(path: Path, fields: tuple[str, ...], limit: int | None = None) -> list[dict[str, Any]]:
    """The first `limit` rows that have all `fields` as texts. Raises UserError with the line of one that has not."""
    rows = []
    for number, line in numbered_lines(path)[:limit]:
        try:
            row = json.loads(line)
            good = all(isinstance(row[field], str) for field in fields)
        except (json.JSONDecodeError, KeyError, TypeError):
            good = False
        if not good:
            raise UserError(f"{path}, line {number}: a row needs the texts {', '.join(fields)}; mend or remove it.")
        rows.append(row)
    if not rows:
        raise UserError(f"The data {str(path)!r} holds no row; a row needs the texts {', '.join(fields)}.")
    return rows
