"""Runs as files: written whole, read back with every part checked, since a file may come from anywhere."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from playground.errors import UserError, shown
from playground.record import Detail, RunRecord, upgraded

FORMAT = "realign-playground run 1"
RECORDED = Path(__file__).parent.parent / "recorded"
"""Runs that come with the project, gzipped."""
_LARGEST = 24 << 20
"""Bytes, unpacked."""
_CHARACTERS, _TOKENS, _LANES = 60_000, 4096, 6
"""Of a prompt, system prompt, turn or answer; of an answer; of a run."""
_RUN = TypeAdapter(RunRecord)


def write_run(run: RunRecord) -> bytes:
    """A run as the text of a file."""
    return json.dumps({"format": FORMAT, "run": _bare(run)}, ensure_ascii=False).encode()


def _bare(run: RunRecord) -> RunRecord:
    """What is in a file: the record without what was said when it was handed out."""
    return {name: run[name] for name in RunRecord.__annotations__}


def read_run(content: bytes, origin: str, known: Callable[[str], RunRecord | None] = lambda run_id: None) -> RunRecord:
    """A run from a file's content, gzipped or not. Its id comes from the content: the same file is the same run. One
    that is here already (`known`: id → the run, or None) comes back as it is.

    Raises UserError that says what is wrong with a file that is none, or is damaged.
    """
    try:
        if content[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(_LARGEST + 1)
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
        run = _RUN.validate_python(_upgraded(told.get("run")))
        for number, lane in enumerate(run["lanes"], 1):
            _check_search(lane["detail"], number)
            _check_fork(run, number)
        _check_size(run)
    except ValidationError as error:
        raise UserError(_damage(error)) from None
    try:
        json.dumps(run, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UserError("The saved run is damaged: it holds half a character (a lone surrogate).") from None
    here = known(run["id"])
    if here and _RUN.validate_python(_bare(here)) == run:
        return here
    run["id"] = hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()[:10]
    return run | {"origin": origin}


def _upgraded(run: Any) -> Any:
    """A run as this version writes it; what is none comes back as it is, to be told by who checks it."""
    if not isinstance(run, dict) or not isinstance(run.get("lanes"), list):
        return run
    lanes = [upgraded(lane) if isinstance(lane, dict) else lane for lane in run["lanes"]]
    return {"earlier": [], **run, "lanes": lanes}


def _damage(error: ValidationError) -> str:
    """The first thing wrong, as a sentence; deep inside a lane only the lane is named."""
    problem = error.errors()[0]
    place = problem["loc"]
    if place[:1] == ("lanes",) and "detail" in place:
        return f"The saved run is damaged: what lane {place[1] + 1} kept of its tokens or its search."
    where = " → ".join(map(str, place)) or "the run"
    return f"The saved run is damaged: {where} is {shown(problem['input'])} ({problem['msg'].lower()})."


def _check_size(run: RunRecord) -> None:
    """A run that this server could have made. Raises UserError for a larger one."""
    texts = [run["prompt"], run["system"], *run["stop"], *(text for turn in run["earlier"] for text in turn)]
    longest = max(len(text) for text in (*texts, *(lane["text"] for lane in run["lanes"])))
    if longest > _CHARACTERS:
        raise UserError(f"A text of the saved run is {longest:,} characters long; at most {_CHARACTERS:,} are read.")
    if len(run["lanes"]) > _LANES:
        raise UserError(f"The saved run has {len(run['lanes']):,} lanes; at most {_LANES} are read.")
    most = max(max(len(lane["token_ids"]), len(lane["detail"]["tokens"])) for lane in run["lanes"])
    if most > _TOKENS:
        raise UserError(f"An answer of the saved run has {most:,} tokens; at most {_TOKENS:,} are read.")


def _check_search(detail: Detail, lane: int) -> None:
    """The steps of a search may only name nodes that came before, and tokens only nodes that there are."""
    known = {0}
    for step in (detail.get("tree") or {"steps": []})["steps"]:
        named = [step[key] for key in ("node", "sibling") if key in step]
        named += [*step.get("path", ()), *step.get("nodes", ()), *(i for i, *_ in step.get("set", ()))]
        children = [child["id"] for child in step.get("children", ())]
        fresh = not known.intersection(children) and len(set(children)) == len(children)
        if not (known.issuperset(named) and fresh):
            break
        known.update(children)
        if not known.issuperset(i for i, _ in step.get("priors", ())):
            break
    else:
        if known.issuperset(token["node"] for token in detail["tokens"] if token.get("node") is not None):
            return
    raise UserError(f"The saved run is damaged: what lane {lane} kept of its tokens or its search.")


def _check_fork(run: RunRecord, lane: int) -> None:
    """A lane may only go on from tokens that another lane has, too."""
    own = run["lanes"][lane - 1]
    if not (fork := own["detail"].get("fork")):
        return
    if fork["lane"] != lane - 1 and fork["lane"] < len(run["lanes"]):
        parent = run["lanes"][fork["lane"]]
        if all(fork["at"] <= len(one["detail"]["tokens"]) for one in (own, parent)):
            return
    raise UserError(f"The saved run is damaged: where lane {lane} goes on from.")


def recorded_runs(folder: str = ".") -> dict[str, RunRecord]:
    """The runs that come with the project by their files' names: those of a folder inside `RECORDED`."""
    files = sorted((RECORDED / folder).glob("*.json.gz"))
    return {path.name.split(".")[0]: read_run(path.read_bytes(), "recorded") for path in files}
