"""What the groups of commands share: how a command is declared, a service that keeps nothing, printing."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

from pydantic import BaseModel

Commands = argparse._SubParsersAction
"""Where commands are added; argparse has no public name for it."""
PROGRAM = "python -m playground"


class Help(argparse.RawDescriptionHelpFormatter):
    """Help that tells defaults and leaves examples as they are."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return f"{action.help} (default: %(default)s)" if has_default(action) else action.help


def has_default(action: argparse.Action) -> bool:
    """Whether an argument has a default that is worth telling."""
    return bool(action.option_strings) and action.nargs != 0 and action.default not in (None, "", [])


def command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int | None], what: str, *examples: str
) -> argparse.ArgumentParser:
    """Declare a command that `run` carries out (it returns an exit code, or None for 0). `what` says in a few words
    what it does; examples are written without the program's name, with a comment behind #."""
    lines = "".join(f"    {PROGRAM} {example}\n" for example in examples)
    made = commands.add_parser(name, help=what, description=_sentence(what), epilog=f"examples:\n\n{lines}")
    made.set_defaults(run=run)
    return made


def group(commands: Commands, name: str, what: str) -> Commands:
    """Declare a command that is a family of others."""
    made = commands.add_parser(name, help=what, description=_sentence(what))
    return made.add_subparsers(dest="what", required=True)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def add_fields(made: argparse._ActionsContainer, record: type[BaseModel], *names: str) -> None:
    """Arguments for fields of a record, by default for all: name, type, default and help are the record's."""
    for name in names or record.model_fields:
        field = record.model_fields[name]
        kinds = get_args(field.annotation) or (field.annotation,)
        made.add_argument(
            "--" + name.replace("_", "-"),
            type=next((kind for kind in (int, float) if kind in kinds), str),
            default=None if field.is_required() else field.default,
            help=field.description,
        )


def add_shared_fields(made: argparse._ActionsContainer, records: dict[str, type[BaseModel]]) -> None:
    """Arguments for the fields of several records, by what each record is for: a field of the same name is one
    argument, whose default is each record's own."""
    names = dict.fromkeys(name for record in records.values() for name in record.model_fields)
    for name in names:
        having = {what: record for what, record in records.items() if name in record.model_fields}
        fields = [record.model_fields[name] for record in having.values()]
        kinds = get_args(fields[0].annotation) or (fields[0].annotation,)
        told = ", ".join(f"{field.default} for {what}" for what, field in zip(having, fields, strict=True))
        same = len({field.default for field in fields}) == 1 and len(having) == len(records)
        made.add_argument(
            "--" + name.replace("_", "-"),
            type=next((kind for kind in (int, float) if kind in kinds), str),
            help=f"{fields[0].description} (default: {fields[0].default if same else told})",
        )


def fields_of(arguments: argparse.Namespace, record: type[BaseModel]) -> dict[str, Any]:
    """What was given for the fields of a record, by name."""
    given = vars(arguments)
    return {name: given[name] for name in record.model_fields if given.get(name) is not None}


@contextmanager
def service() -> Iterator[Any]:
    """A service that keeps nothing, closed at the end."""
    from playground.models.fetch import bar
    from playground.service import Playground
    from playground.settings import Settings

    playground = Playground(Settings(database=":memory:"), progress=bar)
    try:
        yield playground
    finally:
        playground.close()


def print_found(found: Any, as_json: bool) -> None:
    """Print what was measured: on one line for programs, on several for people."""
    print(json.dumps(found) if as_json else json.dumps(found, indent=1))


def add_json(made: argparse.ArgumentParser) -> None:
    """--json, for commands that print what they found."""
    made.add_argument("--json", action="store_true", help="print one line of JSON")


def add_limit(made: argparse.ArgumentParser, what: str = "only the first rows") -> None:
    """--limit, for commands that read files."""
    made.add_argument("--limit", type=int, default=None, help=what)
