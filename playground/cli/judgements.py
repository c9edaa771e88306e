"""judgements: what people called right and wrong on the Ask tab, as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from playground.cli.common import Commands, command, group


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    judgements = group(commands, "judgements", "what people called right and wrong")
    export = command(
        judgements,
        "export",
        _export,
        "write judgements as rows of questions with right and wrong answers",
        "judgements export --out judged.jsonl   # --raw: every mark with its confidence; --voter",
    )
    export.add_argument("--out", required=True, type=Path, help="the file to write, JSON Lines")
    export.add_argument("--raw", action="store_true", help="one row a mark, with voter, time and confidence")
    export.add_argument("--voter", help="only the marks of this voter, by the salted hash")


def _export(arguments: argparse.Namespace) -> None:
    from playground.settings import Settings
    from playground.store.judgements import open_judgements, write_judgements

    with open_judgements(Settings().database) as judgements:
        rows = judgements.rows(voter=arguments.voter) if arguments.voter else judgements.rows()
    arguments.out.write_bytes(write_judgements(rows, arguments.raw))
    print(f"{len(rows)} judgements are in {arguments.out}.")
