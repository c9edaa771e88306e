"""Runs as files: written whole, read back with every part checked, since a file may come from anywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.errors import UserError, shown

FORMAT = "realign-playground run 1"
RECORDED = Path(__file__).parent.parent / "recorded"
"""Runs that come with the project, gzipped."""
_LARGEST = 64 << 20


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Cost(_Strict):
    generated_tokens: int = Field(ge=0)
    forward_tokens: int = Field(ge=0)
    forward_passes: int = Field(ge=0)
    seconds: float = Field(ge=0, allow_inf_nan=False)


class _Lane(_Strict):
    method: str
    status: Literal["done", "stopped", "failed"]
    options: dict[str, Any]
    models: dict[str, str]
    text: str
    token_ids: list[int]
    finish_reason: str | None
    error: str | None
    cost: _Cost
    detail: dict[str, Any]


class _Run(_Strict):
    id: str
    created: str = Field(pattern=r"^\d{4}-\d\d-\d\dT[0-9:.+-]{8,20}Z?$")
    origin: str
    prompt: str = Field(min_length=1)
    system: str
    seed: int
    max_new_tokens: int = Field(ge=1)
    stop: list[str]
    earlier: list[tuple[str, str]] = []
    status: Literal["done", "stopped", "failed"]
    software: str
    lanes: list[_Lane] = Field(min_length=1, max_length=6)


def write_run(run: dict[str, Any]) -> bytes:
    """A run as the text of a file."""
    kept = {name: run[name] for name in _Run.model_fields}
    return json.dumps({"format": FORMAT, "run": kept}, ensure_ascii=False).encode()


def read_run(content: bytes, origin: str) -> dict[str, Any]:
    """A run from a file's content, gzipped or not. Its id comes from the content: the same file is the same run.

    Raises UserError that says what is wrong with a file that is none, or is damaged.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UserError(f"The file is larger than {_LARGEST >> 20} MiB, so it is no run; choose another.")
        told = json.loads(content)
    except (OSError, EOFError, ValueError, RecursionError):
        raise UserError(
            "The file is not a saved run, or it is cut off; save the run again and open that file."
        ) from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise UserError(f"The file is not a saved run of this version ({FORMAT}); save the run again.")
    try:
        run = _Run.model_validate(told.get("run")).model_dump()
        for number, lane in enumerate(run["lanes"], 1):
            _check_detail(lane["detail"], number)
    except ValidationError as error:
        problem = error.errors()[0]
        where = " → ".join(map(str, problem["loc"])) or "the run"
        raise UserError(
            f"The saved run is damaged: {where} is {shown(problem['input'])} ({problem['msg'].lower()})."
        ) from None
    run["id"] = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:10]
    return run | {"origin": origin}


def _check_detail(detail: dict[str, Any], lane: int) -> None:
    """The parts that the page draws: token records, and the steps of a search, which may only name known nodes."""
    try:
        for record in detail["tokens"]:
            if not isinstance(record["text"], str) or not isinstance(record["id"], int):
                raise TypeError
            for flip in record.get("flips", []):
                float(flip["lambda"]), int(flip["id"]), str(flip["text"])
        known = {0}
        for step in detail.get("tree", {}).get("steps", []):
            named = [*step.get("path", []), *(i for i, *_ in step.get("set", []) + step.get("priors", []))]
            for child in step.get("children", []):
                if child["id"] in known or not isinstance(child["text"], str):
                    raise ValueError
                known.add(child["id"])
            named += [step[key] for key in ("node", "sibling") if key in step]
            if not named or not known.issuperset(named) or not isinstance(step["kind"], str):
                raise ValueError
            if step["kind"] in ("evaluate", "backup"):
                float(step["value"])
    except (LookupError, TypeError, ValueError, AttributeError):
        raise UserError(f"The saved run is damaged: what lane {lane} kept of its tokens or its search.") from None


def recorded_runs() -> list[dict[str, Any]]:
    """The runs that come with the project."""
    return [read_run(path.read_bytes(), "recorded") for path in sorted(RECORDED.glob("*.json.gz"))]
