"""The command line. Bad input is one sentence on standard error and exit code 2.

Each group of commands is a file here: arguments, and right below them the function that runs the command. Nothing heavy
is imported before a command runs, so that --help is there at once.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from playground import __version__
from playground.cli import compare, evaluate, experiment, judgements, leaderboard, models, serve, train, votes
from playground.cli.common import Help
from playground.errors import UserError

GROUPS = (compare, models, train, evaluate, votes, judgements, leaderboard, experiment, serve)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are sentences."""

    def __init__(self, **settings: Any):
        super().__init__(formatter_class=Help, **settings)

    def error(self, message: str) -> None:
        raise UserError(f"{message[0].upper()}{message[1:]}; see: {self.prog} --help.")


def parser() -> Parser:
    """The arguments of every command."""
    top = Parser(prog="python -m playground", description="Compare decoding methods side by side.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    try:
        chosen = parser().parse_args(arguments)
        return chosen.run(chosen) or 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except UnicodeEncodeError as error:
        half = f"U+{ord(error.object[error.start]):04X}"
        print(f"A text holds {half}, half a character (a lone surrogate); give whole characters.", file=sys.stderr)
        return 2
    except OSError as error:
        if not error.filename:
            raise
        print(f"The file {error.filename} cannot be used ({error.strerror}); name another.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
