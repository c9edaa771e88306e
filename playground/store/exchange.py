"""Runs as files: written whole, read back with every part checked, since a file may come from anywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.errors import UserError, shown

FORMAT = "realign-playground run 1"
RECORDED = Path(__file__).parent.parent / "recorded"
"""Runs that come with the project, gzipped."""
_LARGEST = 64 << 20


Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, lt=2**53)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Open(BaseModel):
    """More may stand beside what is checked."""

    model_config = ConfigDict(extra="allow")


class _Cost(_Strict):
    generated_tokens: Whole
    forward_tokens: Whole
    forward_passes: Whole
    seconds: float = Field(ge=0, allow_inf_nan=False)


class _Flip(_Strict):
    lambda_: Number = Field(alias="lambda")
    id: Whole
    text: str


class _Top(_Strict):
    id: Whole
    text: str
    p: Number | None = None
    reference: Number | None = None
    aligned: Number | None = None
    mixed: Number | None = None


class _Token(_Strict):
    id: Whole
    text: str
    log_prob: Number = 0.0
    lambda_: Number | None = Field(None, alias="lambda")
    kl_to_reference: Number | None = None
    kl_to_aligned: Number | None = None
    entropy: Number | None = None
    flips: list[_Flip] = []
    top: list[_Top] = []
    node: Whole | None = None


class _Candidate(_Strict):
    text: str
    token_ids: list[Whole]
    finish_reason: str
    score: Number | None = None


class _Child(_Strict):
    id: Whole
    text: str
    tokens: list[Whole]
    prior: Number
    ended: bool


class _Order(_Strict):
    order: str
    answer: str
    p_good: Number


class _Select(_Strict):
    kind: Literal["select"]
    path: list[Whole] = Field(min_length=1)


class _Expand(_Strict):
    kind: Literal["expand", "widen"]
    node: Whole
    children: list[_Child]
    priors: list[tuple[Whole, Number]]


class _Evaluate(_Strict):
    kind: Literal["evaluate"]
    node: Whole
    text: str
    value: Number
    orders: list[_Order] = []


class _Backup(_Strict):
    kind: Literal["backup"]
    path: list[Whole] = Field(min_length=1)
    value: Number
    set: list[tuple[Whole, Number, Number]]


class _Similar(_Strict):
    kind: Literal["similar"]
    node: Whole
    sibling: Whole
    similarity: Number
    set: list[tuple[Whole, Number, Number]]


class _Commit(_Strict):
    kind: Literal["commit"]
    node: Whole
    rewind: bool
    priors: list[tuple[Whole, Number]]


class _Take(_Strict):
    kind: Literal["take"]
    path: list[Whole] = Field(min_length=1)


_Step = _Select | _Expand | _Evaluate | _Backup | _Similar | _Commit | _Take


class _Tree(_Open):
    steps: list[Annotated[_Step, Field(discriminator="kind")]]


class _Detail(_Open):
    """What the page draws of a lane."""

    tokens: list[_Token]
    candidates: list[_Candidate] = []
    chosen: Whole | None = None
    scorer: str | None = None
    warning: str | None = None
    evaluator: str = ""
    questions: list[str] = []
    tree: _Tree | None = None


class _Lane(_Strict):
    method: str
    status: Literal["done", "stopped", "failed"]
    options: dict[str, Any]
    models: dict[str, str]
    text: str
    token_ids: list[Whole]
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
    seed: int = Field(ge=0, lt=2**32)
    max_new_tokens: int = Field(ge=1, le=1_000_000)
    stop: list[str]
    earlier: list[tuple[str, str]] = []
    status: Literal["done", "stopped", "failed"]
    software: str
    lanes: list[_Lane] = Field(min_length=1, max_length=6)


def write_run(run: dict[str, Any]) -> bytes:
    """A run as the text of a file."""
    kept = {name: run[name] for name in _Run.model_fields}
    return json.dumps({"format": FORMAT, "run": kept}, ensure_ascii=False).encode()


def read_run(
    content: bytes, origin: str, known: Callable[[str], dict[str, Any] | None] = lambda run_id: None
) -> dict[str, Any]:
    """A run from a file's content, gzipped or not. Its id comes from the content: the same file is the same run. One
    that is here already (`known`: id → the run, or None) comes back as it is.

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
    here = known(run["id"])
    if here and _Run.model_validate({name: here[name] for name in _Run.model_fields}).model_dump() == run:
        return here
    run["id"] = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:10]
    return run | {"origin": origin}


def _check_detail(detail: dict[str, Any], lane: int) -> None:
    """The parts that the page draws; the steps of a search may only name nodes that came before."""
    try:
        checked = _Detail.model_validate(detail)
        known = {0}
        for step in checked.tree.steps if checked.tree else ():
            named = [getattr(step, key) for key in ("node", "sibling") if hasattr(step, key)]
            named += [*getattr(step, "path", ()), *(i for i, *_ in getattr(step, "set", ()))]
            if not known.issuperset(named):
                raise ValueError
            for child in getattr(step, "children", ()):
                if child.id in known:
                    raise ValueError
                known.add(child.id)
            if not known.issuperset(i for i, _ in getattr(step, "priors", ())):
                raise ValueError
        if not known.issuperset(token.node for token in checked.tokens if token.node is not None):
            raise ValueError
    except ValueError:
        raise UserError(f"The saved run is damaged: what lane {lane} kept of its tokens or its search.") from None


def recorded_runs() -> list[dict[str, Any]]:
    """The runs that come with the project."""
    return [read_run(path.read_bytes(), "recorded") for path in sorted(RECORDED.glob("*.json.gz"))]
