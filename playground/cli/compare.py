"""compare and score: one prompt, by hand."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from playground.cli.common import Commands, command, service
from playground.errors import UserError, shown

CANDIDATE = 72
"""Characters that are printed of each of several answers."""


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    _add_compare(commands)
    _add_score(commands)


def _add_compare(commands: Commands) -> None:
    compare = command(
        commands,
        "compare",
        _compare,
        "run lanes on one prompt",
        'compare "How can I reduce stress?" --lane greedy --lane sample:temperature=0.8 --lane best_of_n:n=8 '
        "--lane dera:lambda_=0.5 --seed 7 --max-new-tokens 96 --json out.json",
        'compare "How can I reduce stress?" --lane rain --save run.json.gz   # a file that History opens',
    )
    compare.add_argument("prompt", help="what the model is asked")
    compare.add_argument(
        "--lane", action="append", required=True, metavar="METHOD[:OPTION=VALUE,…]", help="a lane; give it 1 to 6 times"
    )
    compare.add_argument("--system", default="", help="system prompt")
    compare.add_argument("--seed", default="0", help="of all random numbers")
    compare.add_argument("--max-new-tokens", default="128", help="at most so many tokens an answer")
    compare.add_argument(
        "--turn", action="append", default=[], nargs=2, metavar=("PERSON", "MODEL"), help="an earlier turn, may repeat"
    )
    compare.add_argument("--stop", action="append", default=[], help="text at which answers end; may be given again")
    compare.add_argument("--json", metavar="FILE", help="write the result here ('-': standard output)")
    compare.add_argument(
        "--sentences", action="store_true", help="cut the answers that are saved after their last whole sentence"
    )
    compare.add_argument("--save", metavar="FILE", help="write the run here, for History to open; .gz packs it")


def _compare(arguments: argparse.Namespace) -> int:
    from playground.models.fetch import bar, no_progress
    from playground.requests import LaneRequest, RunRequest
    from playground.service import Playground

    request = RunRequest.checked(
        prompt=arguments.prompt,
        system=arguments.system,
        lanes=[LaneRequest.parse(lane) for lane in arguments.lane],
        seed=arguments.seed,
        max_new_tokens=arguments.max_new_tokens,
        stop=arguments.stop,
        earlier=[tuple(turn) for turn in arguments.turn],
    )
    out = None if arguments.json in (None, "-") else _writable(arguments.json)
    saved = _writable(arguments.save) if arguments.save else None
    playground = Playground(progress=bar if sys.stderr.isatty() else no_progress)
    try:
        result = playground.compare(request, origin="command line")
        if saved:
            run = playground.archive.write(result["id"], sentences=arguments.sentences)
            saved.write_bytes(gzip.compress(run, mtime=0) if saved.suffix == ".gz" else run)
    finally:
        playground.close()
    if arguments.json == "-":
        print(json.dumps(result, ensure_ascii=False))
    else:
        if out:
            out.write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
        _print_lanes([lane.options.model_dump(exclude_defaults=True) for lane in request.lanes], result)
    return 1 if result["status"] == "failed" or result["notice"] else 0


def _writable(name: str) -> Path:
    """The file of that name, tried before anything is computed. Raises UserError."""
    path = Path(name)
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise UserError(
            f"The result cannot be written to {shown(name)} ({error.strerror}); name another file."
        ) from None
    return path


def _print_lanes(changed: list[dict[str, Any]], result: dict[str, Any]) -> None:
    """changed: of each lane, the options that differ from the defaults."""
    for written, lane in zip(changed, result["lanes"], strict=True):
        cost = lane["cost"]
        begin = {"begin": " ".join(map(str, lane["begin"]))} if lane["begin"] else {}
        options = ",".join(f"{name}={value}" for name, value in (written | begin).items())
        print(f"── {lane['method']}{':' if options else ''}{options}")
        print(lane["error"] or printable(lane["text"]))
        for number, candidate in enumerate(lane["detail"].get("candidates", ())):
            print(_candidate(number, candidate, number == lane["detail"].get("chosen")))
        print(
            f"   {cost['generated_tokens']} tokens generated, {cost['forward_tokens']} put through, "
            f"{cost['forward_passes']} passes, {cost['seconds']:.1f} s; ended: {lane['finish_reason']}\n"
        )
    print(result["notice"] or f"Saved as run {result['id']}.")


def _candidate(number: int, candidate: dict[str, Any], chosen: bool) -> str:
    """One of several answers with its scores, on one short line."""
    scores = [f"{name} {value:.3f}" for name, value in candidate.items() if isinstance(value, int | float)]
    text = textwrap.shorten(printable(candidate["text"]), CANDIDATE, placeholder="…")
    return f"   {'*' if chosen else ' '} {number + 1}. {', '.join(scores) or 'not scored'}: {text}"


def printable(text: str) -> str:
    """Model output without what could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _add_score(commands: Commands) -> None:
    score = command(
        commands,
        "score",
        _score,
        "score a response to a prompt",
        'score --scorer rrhf --prompt "Hi" --response "Hello!"',
    )
    score.add_argument("--scorer", required=True, help="the scorer's name")
    score.add_argument("--prompt", required=True, help="what was asked")
    score.add_argument("--response", required=True, help="what was answered")


def _score(arguments: argparse.Namespace) -> None:
    if not arguments.response.strip():
        raise UserError("The response is empty, so there is nothing to score; give some text.")
    with service() as playground:
        print(playground.scores(arguments.scorer, [(arguments.prompt, arguments.response)])[0])
