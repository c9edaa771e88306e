"""serve and bench: the page, and how fast the whole is."""

from __future__ import annotations

import argparse

from playground.cli.common import Commands, command


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    _add_serve(commands)
    _add_bench(commands)


def _add_serve(commands: Commands) -> None:
    serve = command(commands, "serve", _serve, "start the page", "serve --port 7860   # the page")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    serve.add_argument("--port", type=int, default=7860, help="the port to listen on")


def _serve(arguments: argparse.Namespace) -> None:
    from playground.ui.page import serve

    serve(host=arguments.host, port=arguments.port)


def _add_bench(commands: Commands) -> None:
    bench = command(
        commands,
        "bench",
        _bench,
        "measure the ratios that docs/measurements.md reports",
        "bench --json   # all ratios, measured",
        "bench side_by_side dera_step   # only these two",
    )
    bench.add_argument("--json", action="store_true", help="one JSON object")
    bench.add_argument("only", nargs="*", metavar="RATIO", help="measure just these: side_by_side, dera_step, …")


def _bench(arguments: argparse.Namespace) -> None:
    from playground import bench

    bench.main(only=arguments.only, as_json=arguments.json)
