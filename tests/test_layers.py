"""Layers have one direction: ui → service → decoders → engine → models. Imports are read from the source."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "playground"
BUILT_IN = {path.stem for path in (PACKAGE / "decoders").glob("*.py")} - {"__init__", "base"}
# Each layer, and what it may import besides itself and the plain records.
PLAIN = {"errors", "types", "settings", "jsonl", "plugins", "policy", "options", "record", "tasks"}
MAY = {
    "errors": set(),
    "jsonl": {"errors"},
    "types": set(),
    "plugins": set(),
    "policy": {"errors"},
    "options": set(),
    "record": set(),
    "tasks": set(),
    "explain": {"errors"},
    "questions": {"errors", "jsonl"},
    "settings": {"errors"},
    "models": PLAIN,
    "engine": PLAIN | {"models"},
    "store": PLAIN,
    "figures": PLAIN,
    "branch": PLAIN | {"engine", "models"},
    "scorers": PLAIN | {"explain", "engine", "branch", "models"},
    "decoders": PLAIN | {"engine", "models", "branch", "scorers"},
    "training": PLAIN | {"explain", "questions", "models", "scorers", "decoders", "requests", "service", "store"},
    "requests": PLAIN | {"explain", "decoders"},
    "service": PLAIN | {"models", "engine", "branch", "decoders", "scorers", "store", "requests"},
    "evaluation": PLAIN | {"questions", "tasks", "engine", "service", "requests", "decoders", "scorers", "models"},
    "ui": PLAIN
    | {
        "explain",
        "service",
        "requests",
        "decoders",
        "scorers",
        "models",
        "figures",
        "evaluation",
        "training",
        "arena",
        "prepared",
        "selective",
        "ranking",
        "store",
        "tasks",
    },
    "load": PLAIN,
    "bench": PLAIN | {"service", "requests", "models", "engine", "load"},
    "ranking": PLAIN,
    "arena": PLAIN | {"service", "requests", "decoders", "store", "ranking"},
    "prepared": PLAIN | {"arena", "service"},
    "selective": PLAIN | {"service", "requests", "decoders", "scorers", "store", "models", "questions"},
    "experiment": PLAIN | {"service", "requests", "training", "evaluation", "figures", "models"},
    "cli": PLAIN
    | {
        "explain",
        "questions",
        "experiment",
        "ranking",
        "arena",
        "store",
        "service",
        "requests",
        "decoders",
        "scorers",
        "models",
        "ui",
        "bench",
        "training",
        "evaluation",
        "tasks",
    },
    "__main__": {"cli"},
    "__init__": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Layers that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" for a in node.names] if node.module == "playground" else [node.module]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("playground.")}
    return {name for name in found if name != "__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = layer(path)
    assert own in MAY, f"give the new layer {own} its place here"
    assert imported(path) - {own} <= MAY[own]


# Where methods may be named: their own folder, what measures or trains with certain ones, and a command's front.
NAMES_METHODS = (
    "decoders",
    "bench",
    "experiment",
    "training",
    "evaluation/aspire",
    "evaluation/attack",
    "evaluation/frontier",
    "evaluation/guidance",
    "cli/evaluate",
    "cli/train",
)
QUOTED = re.compile(r"""'([^'\n]*)'|"([^"\n]*)"|`([^`]*)`""")


def texts_of(path: Path) -> set[str]:
    """All string constants of a file, and the modules that it imports."""
    source = path.read_text()
    if path.suffix == ".js":
        return {next(filter(None, quoted), "") for quoted in QUOTED.findall(source)}
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def names_a_method(text: str) -> bool:
    name = text.removeprefix("playground.decoders.").split(".")[0].split(":")[0]
    return name in BUILT_IN


def test_no_method_is_named_outside_its_folder():
    for path in [*FILES, *sorted(PACKAGE.rglob("*.js"))]:
        place = str(path.relative_to(PACKAGE).with_suffix(""))
        if not any(place == allowed or place.startswith(f"{allowed}/") for allowed in NAMES_METHODS):
            assert not list(filter(names_a_method, texts_of(path))), path


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("a.py", 'x = {"method": "greedy"}'),
        ("a.py", 'x = f"rain:{options}"'),
        ("a.py", "from playground.decoders import dera"),
        ("a.py", "from playground.decoders.dera import turned"),
        ("a.py", "import playground.decoders.rain_tree"),
        ("a.js", "if (method === 'dera') draw();"),
        ("a.js", "const lane = `sample:temperature=${t}`;"),
    ],
)
def test_a_named_method_is_found(tmp_path, name, source):
    path = tmp_path / name
    path.write_text(source)
    assert list(filter(names_a_method, texts_of(path)))


def test_gradio_stays_in_the_ui_and_torch_out_of_it():
    for path in FILES:
        text = path.read_text()
        if layer(path) != "ui":
            assert "import gradio" not in text, path
        else:
            assert "import torch" not in text, path


def test_ray_stays_in_its_one_module():
    importing = {path.name for path in FILES if re.search(r"^\s*(import|from) ray\b", path.read_text(), re.MULTILINE)}
    assert importing == {"replicas.py"}


def test_every_module_says_what_it_is_for():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path
