"""serve, bench and experiment: the page, and what is measured of the whole."""

from __future__ import annotations

import argparse
from pathlib import Path

from playground.cli.common import Commands, command, group, service


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    _add_serve(commands)
    _add_bench(commands)
    _add_length(group(commands, "experiment", "an experiment of a paper in the small"))


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


def _add_length(experiment: Commands) -> None:
    length = command(
        experiment,
        "length",
        _length,
        "compare DeRa's curve with retraining at three strengths; the reward is the length",
        "experiment length --data-dir DIR   # DeRa's curve against retraining: docs/length.md",
    )
    length.add_argument("--data-dir", required=True, type=Path, help="the folder of public data")
    length.add_argument("--work", type=Path, default=Path("train"), help="where rows and adapters go")
    length.add_argument("--docs", type=Path, default=Path("docs"), help="where the page and the figure go")


def _length(arguments: argparse.Namespace) -> None:
    from playground.experiment import length_experiment
    from playground.models.fetch import bar

    with service() as playground:
        length_experiment(playground, arguments.data_dir, arguments.work, arguments.docs, bar)
    print(f"The experiment is written up in {arguments.docs / 'length.md'}.")
