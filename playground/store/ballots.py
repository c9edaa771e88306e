"""Votes as training rows and files, and back: RRHF rows, TRL's paired and unpaired rows, CSV and Parquet tables.

Every format carries the flat rows it was made of ("provenance"), so that reading it gives the same votes again; trl
holds the decided votes and kto the others, so these two together give all.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from playground.errors import UserError, shown
from playground.jsonl import as_lines
from playground.store.votes import CHOICES, FIELDS, JSON_FIELDS, REASONS, WAYS

FORMATS = ("rrhf", "trl", "kto", "csv", "parquet")
HOLDS = {"rrhf": "votes for A or B", "trl": "votes for A or B", "kto": "ties and votes for “both bad”"}
"""What formats hold that do not hold all votes."""
NOT_STATED = "not stated"
LARGEST = 4 << 20
"""Bytes of one vote, as JSON."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""Cells of a CSV file that a spreadsheet would compute; an apostrophe in front makes them text."""
_PROTECTED = re.compile(r"'+[=+\-@\t\r]")
_POINTS = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}
_TEXTS = ("battle", "created", "voter", "choice", "note", "category", "prompt", "system", "software", "method_a")
_TEXTS += ("withheld_a", "withheld_b", "method_b", "text_a", "text_b", "finish_reason_a", "finish_reason_b", "way")
_WHOLE = ("seed", "max_new_tokens", "forward_tokens_a", "forward_tokens_b")


def rrhf_rows(votes: list[dict[str, Any]], licence: str = NOT_STATED) -> list[dict[str, Any]]:
    """Rows {"query", "responses", "scores", "ended"}, one a prompt with a score for every different response: the mean
    of its votes (1 won, 0 lost, 0.5 tied); "ended" tells which are whole and not cut at the limit, "abstained" which
    are no answer but say that none is known. "Both bad" makes a
    row of its own, marked so, that nothing trains on."""
    by_prompt: dict[tuple, list[dict[str, Any]]] = defaultdict(list)
    rows = []
    for vote in votes:
        if vote["choice"] == "both_bad":
            rows.append(
                {
                    "query": vote["prompt"],
                    "responses": [vote["text_a"], vote["text_b"]],
                    "scores": [0.0, 0.0],
                    "ended": [_ended(vote, side) for side in "ab"],
                    "abstained": [_abstained(vote, side) for side in "ab"],
                    "both_bad": True,
                    "source": "votes",
                    "licence": licence,
                    "provenance": [vote],
                }
            )
        else:
            by_prompt[(vote["prompt"], vote["system"], json.dumps(vote["earlier"]))].append(vote)
    for (prompt, *_), group in by_prompt.items():
        points: dict[str, list[float]] = defaultdict(list)
        ended: dict[str, bool] = {}
        abstained: dict[str, bool] = {}
        for vote in group:
            for side, point in zip("ab", _POINTS[vote["choice"]], strict=True):
                points[vote[f"text_{side}"]].append(point)
                ended[vote[f"text_{side}"]] = _ended(vote, side)
                abstained[vote[f"text_{side}"]] = _abstained(vote, side)
        rows.append(
            {
                "query": prompt,
                "responses": list(points),
                "scores": [sum(p) / len(p) for p in points.values()],
                "ended": [ended[text] for text in points],
                "abstained": [abstained[text] for text in points],
                "source": "votes",
                "licence": licence,
                "provenance": group,
            }
        )
    return rows


def _ended(vote: dict[str, Any], side: str) -> bool:
    return vote[f"finish_reason_{side}"] != "length"


def _abstained(vote: dict[str, Any], side: str) -> bool:
    return vote[f"finish_reason_{side}"] == "abstained"


def trl_rows(votes: list[dict[str, Any]], licence: str = NOT_STATED) -> list[dict[str, Any]]:
    """Preference rows {"prompt", "chosen", "rejected"} of decided votes, each a list of messages {"role", "content"},
    as TRL's DPO and reward trainers take them."""
    rows = []
    for vote in votes:
        if vote["choice"] in ("a", "b"):
            other = "b" if vote["choice"] == "a" else "a"
            chosen, rejected = (_said("assistant", vote[f"text_{side}"]) for side in (vote["choice"], other))
            row = {"prompt": _messages(vote), "chosen": chosen, "rejected": rejected}
            rows.append(row | {"licence": licence, "provenance": vote})
    return rows


def kto_rows(votes: list[dict[str, Any]], licence: str = NOT_STATED) -> list[dict[str, Any]]:
    """Unpaired rows {"prompt", "completion", "label"} of ties (both answers good) and of "both bad" (neither), as
    TRL's KTO trainer takes them."""
    return [
        {
            "prompt": _messages(vote),
            "completion": _said("assistant", vote[f"text_{side}"]),
            "label": vote["choice"] == "tie",
            "licence": licence,
            "provenance": vote,
        }
        for vote in votes
        if vote["choice"] not in ("a", "b")
        for side in "ab"
    ]


def _messages(vote: dict[str, Any]) -> list[dict[str, str]]:
    """All that stood before the answer."""
    turns = [m for person, model in vote["earlier"] for m in _said("user", person) + _said("assistant", model)]
    system = _said("system", vote["system"]) if vote["system"] else []
    return [*system, *turns, *_said("user", vote["prompt"])]


def _said(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def write_votes(votes: list[dict[str, Any]], form: str, licence: str = NOT_STATED) -> bytes:
    """Votes in one of FORMATS, under a licence, which all but tables state. Raises UserError for another."""
    if form == "rrhf":
        return as_lines(rrhf_rows(votes, licence))
    if form == "trl":
        return as_lines(trl_rows(votes, licence))
    if form == "kto":
        return as_lines(kto_rows(votes, licence))
    if form not in FORMATS:
        raise UserError(f"The format {shown(form)} is not known; choose one of: {', '.join(FORMATS)}.")
    table = pd.DataFrame(
        [{k: json.dumps(row[k], ensure_ascii=False) if k in JSON_FIELDS else row[k] for k in FIELDS} for row in votes],
        columns=list(FIELDS),
    )
    if form == "csv":
        table = table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell)
        # All texts in quotes: else a carriage return in one of them would end its row.
        return table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).encode()
    out = io.BytesIO()
    table.to_parquet(out, index=False)
    return out.getvalue()


def read_votes(path: Path) -> list[dict[str, Any]]:
    """The votes of a file that `write_votes` wrote, its format told by its content. Raises UserError with the line of
    a row that is none."""
    try:
        content = path.read_bytes()
        if content[:4] == b"PAR1":
            table = pd.read_parquet(io.BytesIO(content))
            rows = table.to_dict("records")
        elif content[:1] == b"{" or not content:
            rows = [json.loads(line) for line in content.decode().split("\n") if line]
            rows = [vote for row in rows for vote in _provenance(row)]
        else:
            rows = pd.read_csv(
                io.BytesIO(content), dtype=dict.fromkeys((*_TEXTS, *JSON_FIELDS), str), keep_default_na=False
            )
            rows = rows.map(lambda cell: cell[1:] if isinstance(cell, str) and _PROTECTED.match(cell) else cell)
            rows = rows.to_dict("records")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"The votes {str(path)!r} cannot be read ({error}); name a file that `votes export` wrote."
        ) from None
    seen: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, 1):
        vote = checked(row, number)
        seen.setdefault(vote["battle"], vote)
    return list(seen.values())


def _provenance(row: dict[str, Any]) -> list[dict[str, Any]]:
    found = row["provenance"]
    return found if isinstance(found, list) else [found]


def checked(row: dict[str, Any], number: int) -> dict[str, Any]:
    """A flat row as it is kept, from one that may come from anywhere. Raises UserError, which names its number."""
    row = {"withheld_a": "", "withheld_b": "", "way": "page", **row}  # files of earlier versions do not have them
    try:
        vote = {name: row[name] for name in FIELDS}
        for name in JSON_FIELDS:
            if isinstance(vote[name], str):
                vote[name] = json.loads(vote[name])
        for name in ("hidden", *_WHOLE):
            vote[name] = int(vote[name])
        for name in ("seconds_a", "seconds_b"):
            vote[name] = float(vote[name])
        datetime.fromisoformat(vote["created"])
        good = all(isinstance(vote[name], str) for name in _TEXTS) and vote["choice"] in CHOICES and vote["battle"]
        good = good and vote["way"] in WAYS and all(0 <= vote[name] < 2**63 for name in _WHOLE)
        good = good and all(
            isinstance(vote[name], dict) for name in JSON_FIELDS if name[:-1] in ("options_", "models_")
        )
        good = good and vote["hidden"] in (0, 1)
        good = good and isinstance(vote["reasons"], list) and set(vote["reasons"]) <= set(REASONS)
        turns = [text for a, b in vote["earlier"] for text in (a, b)]
        good = good and isinstance(vote["earlier"], list) and all(isinstance(text, str) for text in turns)
        # Half a character, a number that is none: these cannot be kept.
        good = good and len(json.dumps(vote, ensure_ascii=False, allow_nan=False).encode()) <= LARGEST
    except (KeyError, TypeError, ValueError, OverflowError):
        good = False
    if not good:
        raise UserError(f"Vote {number} of the file is damaged or lacks columns; nothing was imported.")
    return vote
