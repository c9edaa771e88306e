"""README and docs/ say what is there: commands, methods, settings, dependencies, folders."""

import ast
import itertools
import re
import shlex
import sys
from pathlib import Path

import pytest

from docs import outputs
from playground import cli, settings
from playground.cli.page import PAGE, all_commands, page
from playground.decoders import DECODERS
from playground.requests import LaneRequest
from playground.scorers import SCORERS, ScorerChoice

ROOT = Path(__file__).parents[1]
README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = {path: path.read_text(encoding="utf-8") for path in [README, *sorted(DOCS.glob("*.md"))]}
TEXT = "\n".join(PAGES.values())
COMMANDS = re.findall(r"^ *python -m playground (.+?)(?:  +#.*)?$", TEXT, re.MULTILINE)


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_documented_commands_are_understood(command):
    assert cli.parser().parse_args(shlex.split(command)).run


def test_documented_lanes_and_scorers_are_understood():
    """But for those of the plug-in's page, which is not installed here."""
    words = [shlex.split(command) for command in COMMANDS if command not in PAGES[DOCS / "plugins.md"]]
    given = [pair for line in words for pair in itertools.pairwise(line)]
    lanes = [LaneRequest.parse(value) for option, value in given if option == "--lane"]
    scorers = [ScorerChoice(value) for option, value in given if option in ("--scorer", "--score-with", "--judge")]
    assert lanes
    assert scorers


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


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt", "requirements-ray.txt"])
def test_every_dependency_is_pinned_and_has_its_reason(file):
    for line in (ROOT / file).read_text().splitlines():
        if line and not line.startswith("-r"):
            name, version = re.sub(r"\[.+\]", "", line).split("==")
            assert version
            assert re.search(rf"\b{re.escape(name)}\b", PAGES[DOCS / "dependencies.md"], re.IGNORECASE), name


def test_what_is_imported_is_pinned():
    """Packages imported by name stand in requirements.txt, even where another package would bring them; Ray is the one
    that is not in the base install."""
    pinned = {line.split("==")[0].lower().replace("-", "_") for line in (ROOT / "requirements.txt").read_text().split()}
    pinned.add("ray")
    names = {"yaml": "pyyaml", "gradio_client": "gradio", "sklearn": "scikit_learn"}
    imported = set()
    for path in (ROOT / "playground").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    foreign = {names.get(name, name).lower() for name in imported - set(sys.stdlib_module_names) - {"playground"}}
    assert foreign <= pinned


def test_the_readme_names_every_part_of_the_package():
    parts = [p for p in (ROOT / "playground").iterdir() if not p.name.startswith("_")]
    for part in parts:
        assert (f"{part.name}/" if part.is_dir() else part.name) in PAGES[README], part.name


def test_the_readme_is_short():
    assert len(PAGES[README].splitlines()) <= 150


def test_the_picture_in_the_readme_is_there_and_small():
    [picture] = re.findall(r"!\[.+\]\((.+)\)", PAGES[README])
    assert (ROOT / picture).stat().st_size < 300_000


def test_the_index_names_every_page():
    linked = set(links(PAGES[DOCS / "README.md"]))
    assert {path.name for path in PAGES if path.parent == DOCS} - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_are_there(page):
    for link in links(PAGES[page]):
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not heading or heading in anchors(target.read_text(encoding="utf-8")), link


def test_no_text_of_a_model_ends_its_block():
    for text in ("plain", "```\n# A heading", "a `````` b"):
        first, *inside, last, end = outputs.fenced(text).split("\n")
        assert first == f"{last}text" and end == ""
        assert "\n".join(inside) == text
        assert last not in text


def links(text: str) -> list[str]:
    """The targets of all links and pictures that lead to files here."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors(text: str) -> set[str]:
    """By what GitHub links to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", [name for name, owner in (DECODERS | SCORERS).items() if owner.options.model_fields])
def test_the_table_of_options_has_their_names_and_defaults(name):
    fields = (DECODERS | SCORERS)[name].options.model_fields
    assert tables_of_options()[name] == {option: as_written(field.default) for option, field in fields.items()}


def tables_of_options() -> dict[str, dict[str, str]]:
    """Of every method and scorer that has a table with the head "`NAME` option": option → default, as documented."""
    found = {}
    for head, rows in re.findall(r"^\| `(\w+)` option \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE):
        cells = [row.split("|") for row in rows.splitlines()]
        found[head] = {row[1].strip(" `"): row[2].strip(" `") for row in cells}
    return found


def as_written(default: object) -> str:
    """A default as a person would type it."""
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)
