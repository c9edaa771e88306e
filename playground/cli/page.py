"""The page of all commands, made from the parsers: `python -m playground.cli.page` writes docs/commands.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from playground.cli import parser
from playground.cli.common import Commands, has_default
from playground.settings import ROOT

PAGE = ROOT / "docs" / "commands.md"
_TOP = """# Commands

This page is made from the arguments in `playground/cli/`; to change it, change them and run
`python -m playground.cli.page`. `python` is `.venv/bin/python`. Every command tells the same with `--help`. Bad input
gives one sentence and exit code 2.
"""


def page() -> str:
    """The whole page as Markdown."""
    commands = dict(all_commands(parser()))
    overview = "".join(
        f"| [`{name}`](#{name.replace(' ', '-')}) | {made.description} |\n" for name, made in commands.items()
    )
    return "\n".join([_TOP, f"| command | what it does |\n|---|---|\n{overview}", *map(_section, commands.items())])


def all_commands(
    top: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """(name, parser) of every command that runs, as ("votes export", …)."""
    families = [action for action in top._actions if isinstance(action, Commands)]
    if not families:
        yield " ".join(path), top
    for family in families:
        for name, made in family.choices.items():
            yield from all_commands(made, (*path, name))


def _section(command: tuple[str, argparse.ArgumentParser]) -> str:
    name, made = command
    either = {a for g in made._mutually_exclusive_groups if g.required for a in g._group_actions}
    rows = "".join(_row(action, action in either) for action in made._actions if action.dest != "help")
    table = f"\n| argument | what it is | default |\n|---|---|---|\n{rows}" if rows else ""
    examples = "".join(line + "\n" for line in made.epilog.splitlines() if line.startswith(" "))
    return f"## {name}\n\n{made.description}\n\n{examples}{table}"


def _row(action: argparse.Action, either: bool) -> str:
    needed = "one of these is required" if either else "required" if action.required and action.nargs != "*" else ""
    default = f"`{action.default}`" if has_default(action) else needed
    choices = f": {', '.join(map(str, action.choices))}" if action.choices else ""
    return f"| `{_written(action)}` | {action.help}{choices} | {default} |\n"


def _written(action: argparse.Action) -> str:
    """An argument as one types it."""
    values = action.metavar if isinstance(action.metavar, tuple) else [action.metavar or action.dest.upper()]
    return " ".join([*action.option_strings[-1:], *([] if action.nargs == 0 else values)])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
