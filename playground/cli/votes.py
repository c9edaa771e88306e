"""votes: what people preferred in the arena, as files and row by row."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground.cli.common import Commands, command, group


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    votes = group(commands, "votes", "the arena's votes")
    for add_one in (_add_export, _add_import, _add_backup, _add_push, _add_hide_and_show, _add_of, _add_forget):
        add_one(votes)


@contextmanager
def _votes() -> Iterator[Any]:
    """The votes of the database that the settings name."""
    from playground.settings import Settings
    from playground.store.votes import open_votes

    with open_votes(Settings().database) as votes:
        yield votes


def _add_export(votes: Commands) -> None:
    export = command(
        votes,
        "export",
        _export,
        "write votes as training rows or tables",
        "votes export --format rrhf --out votes.jsonl   # or trl, kto, csv, parquet; --method, --since",
    )
    export.add_argument("--format", required=True, choices=("rrhf", "trl", "kto", "csv", "parquet"), help="of the file")
    export.add_argument("--out", required=True, type=Path, help="the file to write")
    export.add_argument("--method", help="only votes in which this method took part")
    export.add_argument("--since", metavar="DATE", help="only votes since then, as in 2026-11-22")


def _export(arguments: argparse.Namespace) -> None:
    from playground.settings import Settings
    from playground.store.ballots import write_votes

    with _votes() as votes:
        rows = votes.rows(arguments.method, arguments.since)
    arguments.out.write_bytes(write_votes(rows, arguments.format, Settings().votes_licence))
    print(f"{len(rows)} votes are in {arguments.out}.")


def _add_import(votes: Commands) -> None:
    take = command(
        votes,
        "import",
        _import,
        "take in votes from a file that export wrote",
        "votes import votes.jsonl   # exactly what was exported, in any format",
    )
    take.add_argument("file", type=Path, help="the file to read")


def _import(arguments: argparse.Namespace) -> None:
    from playground.store.ballots import read_votes

    rows = read_votes(arguments.file)
    with _votes() as votes:
        new = votes.take(rows)
    print(f"{new} votes were new, {len(rows) - new} were known.")


def _add_backup(votes: Commands) -> None:
    backup = command(
        votes,
        "backup",
        _backup,
        "copy the whole database",
        "votes backup copy.db   # while the server runs",
    )
    backup.add_argument("file", type=Path, help="the file to write")


def _backup(arguments: argparse.Namespace) -> None:
    from playground.settings import Settings
    from playground.store.connection import Connection

    connection = Connection(Settings().database)
    connection.backup(arguments.file)
    connection.close()
    print(f"The database is copied to {arguments.file}.")


def _add_push(votes: Commands) -> None:
    push = command(
        votes,
        "push",
        _push,
        "add a snapshot of the votes to a data set of the Hugging Face Hub",
        "votes push OWNER/NAME   # a snapshot to a private data set of the Hub",
    )
    push.add_argument("repository", metavar="OWNER/NAME", help="the data set; made if it is not there")
    push.add_argument("--public", action="store_true", help="if the data set is made: for all to see")


def _push(arguments: argparse.Namespace) -> None:
    from playground.store.hub import push_votes

    with _votes() as votes:
        rows = votes.rows()
    address = push_votes(rows, arguments.repository, arguments.public)
    print(f"{len(rows)} votes were pushed: {address}")


def _add_hide_and_show(votes: Commands) -> None:
    for name, hidden, what, example in (
        ("hide", True, "leave a vote out of counts and exports", '"spam"   # nothing is deleted'),
        ("show", False, "count a hidden vote again", '"a mistake"'),
    ):
        act = command(votes, name, _hide_or_show, what, f"votes {name} BATTLE --reason {example}")
        act.add_argument("battle", help="the id of the vote's battle")
        act.add_argument("--reason", required=True, help="why, for the log")
        act.set_defaults(hidden=hidden)


def _hide_or_show(arguments: argparse.Namespace) -> None:
    with _votes() as votes:
        votes.hide(arguments.battle, arguments.hidden, arguments.reason)


def _add_of(votes: Commands) -> None:
    mine = command(
        votes,
        "of",
        _of,
        "print all votes of a voter as JSON Lines",
        "votes of VOTER   # all that one voter gave",
    )
    mine.add_argument("voter", help="the voter's salted hash")


def _of(arguments: argparse.Namespace) -> None:
    with _votes() as votes:
        for row in votes.rows(voter=arguments.voter, hidden=True):
            print(json.dumps(row, ensure_ascii=False))


def _add_forget(votes: Commands) -> None:
    forget = command(votes, "forget", _forget, "delete all votes of a voter", "votes forget VOTER   # delete it")
    forget.add_argument("voter", help="the voter's salted hash")


def _forget(arguments: argparse.Namespace) -> None:
    with _votes() as votes:
        print(f"{votes.forget(arguments.voter)} votes were deleted.")
