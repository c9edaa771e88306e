"""README and docs/ say what is there: commands, methods, settings, dependencies, folders."""

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest

from playground import cli, settings
from playground.cli.page import PAGE, all_commands, page
from playground.decoders import DECODERS
from playground.scorers import SCORERS

ROOT = Path(__file__).parents[1]
TEXT = "\n".join(p.read_text(encoding="utf-8") for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
COMMANDS = re.findall(r"^ *python -m playground (.+?)(?:  +#.*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_documented_commands_are_understood(command):
    assert cli.parser().parse_args(shlex.split(command)).run


def test_every_command_is_documented_with_an_example():
    for name, _ in all_commands(cli.parser()):
        assert any(command == name or command.startswith(f"{name} ") for command in COMMANDS), name


def test_every_argument_says_what_it_is():
    for name, made in all_commands(cli.parser()):
        assert all(action.help for action in made._actions), name


def test_the_page_of_commands_is_what_is_generated_now():
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m playground.cli.page"


@pytest.mark.parametrize("name", [*DECODERS, *SCORERS])
def test_every_method_and_scorer_is_documented(name):
    assert f"`{name}`" in TEXT


def test_every_setting_is_documented():
    used = set(re.findall(r"PLAYGROUND_[A-Z_]+", Path(settings.__file__).read_text()))
    assert used
    assert all(f"`{name}`" in TEXT for name in used)


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_and_has_its_reason(file):
    for line in (ROOT / file).read_text().splitlines():
        if line and not line.startswith("-r"):
            name, version = line.split("==")
            assert version
            assert re.search(rf"\b{re.escape(name)}\b", TEXT.split("## Dependencies")[1], re.IGNORECASE), name


def test_what_is_imported_is_pinned():
    """Packages imported by name stand in requirements.txt, even where another package would bring them."""
    pinned = {line.split("==")[0].lower().replace("-", "_") for line in (ROOT / "requirements.txt").read_text().split()}
    names = {"yaml": "pyyaml", "gradio_client": "gradio"}
    imported = set()
    for path in (ROOT / "playground").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    foreign = {names.get(name, name).lower() for name in imported - set(sys.stdlib_module_names) - {"playground"}}
    assert foreign <= pinned


def test_every_part_of_the_package_is_named():
    parts = [p for p in (ROOT / "playground").iterdir() if not p.name.startswith("_")]
    for part in parts:
        assert (f"{part.name}/" if part.is_dir() else part.name) in TEXT, part.name
