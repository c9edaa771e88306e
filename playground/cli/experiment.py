"""experiment: what docs/results.md tells of each paper's claim, measured again by one command."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import yaml

from playground.cli.common import Commands, command, group, service
from playground.errors import UserError
from playground.jsonl import as_lines, read_texts

CLAIMS: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8"))
"""By name: the claim, and the commands that measure it, each of which takes --json."""
DATA, WORK = "DATA", "WORK"


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    experiment = group(commands, "experiment", "repeat what a paper claims")
    for name, entry in CLAIMS.items():
        made = command(
            experiment,
            name,
            _measure,
            f"measure the claim: {entry['claim']}",
            f"experiment {name} --data-dir DIR   # as in docs/results.md",
        )
        _add_folders(made)
        made.set_defaults(name=name)
    _add_length(experiment)


def _add_folders(made: argparse.ArgumentParser) -> None:
    made.add_argument("--data-dir", required=True, type=Path, help="the folder of public data")
    made.add_argument("--work", type=Path, default=Path("train"), help="where what is made on the way goes, and stays")


def _measure(arguments: argparse.Namespace) -> None:
    """Run what the claim asks for. What was found is kept, so a call that was cut goes on with the next command."""
    from playground import cli

    arguments.work.mkdir(parents=True, exist_ok=True)
    kept = arguments.work / f"claim_{arguments.name}.jsonl"
    found = {row["command"]: row["found"] for row in read_texts(kept, ("command",))} if kept.is_file() else {}
    for words in commands_of(arguments.name, arguments.data_dir, arguments.work):
        line = shlex.join(words)
        print(f"# {line}", flush=True)
        if line not in found:
            with contextlib.redirect_stdout(io.StringIO()) as said:
                chosen = cli.parser().parse_args([*words, "--json"])
                chosen.run(chosen)
            found[line] = json.loads(said.getvalue())
            with kept.open("ab") as file:
                file.write(as_lines([{"command": line, "found": found[line]}]))
        print(json.dumps(found[line], indent=1), flush=True)
    print(f"# Kept in {kept}; remove that file to measure again.")


def commands_of(name: str, data: Path, work: Path) -> list[list[str]]:
    """The commands of a claim, each as words, with their folders. Raises UserError for a folder that is not there."""
    if not data.is_dir():
        raise UserError(f"--data-dir is {str(data)!r}, which is no folder; give the folder of public data.")
    folders = {DATA: data, WORK: work}

    def placed(word: str) -> str:
        head, slash, rest = word.partition("/")
        return str(folders[head] / rest) if slash and head in folders else word

    return [[placed(word) for word in shlex.split(line)] for line in CLAIMS[name]["commands"]]


def _add_length(experiment: Commands) -> None:
    length = command(
        experiment,
        "length",
        _length,
        "measure the claim: DeRa reaches what retraining at another strength reaches; the reward is the length",
        "experiment length --data-dir DIR   # DeRa's curve against retraining: docs/length.md",
    )
    _add_folders(length)
    length.add_argument("--docs", type=Path, default=Path("docs"), help="where the page and the figure go")


def _length(arguments: argparse.Namespace) -> None:
    from playground.experiment import length_experiment
    from playground.models.fetch import bar

    with service() as playground:
        length_experiment(playground, arguments.data_dir, arguments.work, arguments.docs, bar)
    print(f"The experiment is written up in {arguments.docs / 'length.md'}.")
