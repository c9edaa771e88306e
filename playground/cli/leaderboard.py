"""leaderboard: methods by strength."""

from __future__ import annotations

import argparse
import json

from playground.cli.common import Commands, add_json, command


def add(commands: Commands) -> None:
    """Declare the command of this file."""
    board = command(
        commands,
        "leaderboard",
        _leaderboard,
        "rank methods by their strength in the arena's votes",
        "leaderboard --json   # methods by strength; --adjust length",
    )
    board.add_argument("--category", default="", help="only prompts of this category")
    board.add_argument("--reason", default="", help="only votes given for this reason")
    board.add_argument(
        "--adjust", action="append", default=[], help="for differences of: length, time; may be repeated"
    )
    add_json(board)


def _leaderboard(arguments: argparse.Namespace) -> None:
    from playground.arena import Arena
    from playground.ranking import effects_in_words
    from playground.service import Playground

    playground = Playground()
    found = Arena(playground).leaderboard(arguments.category, arguments.reason, tuple(arguments.adjust))
    playground.close()
    if arguments.json:
        print(json.dumps(found))
        return
    for sentence in found["warnings"] + effects_in_words(found):
        print(sentence)
    for m in found["methods"]:
        print(f"{m['rank']}. {m['method']}: {m['strength']:.0f} ({m['low']:.0f} to {m['high']:.0f}), {m['wins']} won")
