"""Methods and scorers from elsewhere: the package that docs/plugins.md shows, and those that are broken."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from playground import plugins
from playground.decoders.base import Decoder, Sampling
from playground.scorers import SCORERS
from playground.scorers.base import Scorer

ROOT = Path(__file__).parents[1]
PAIR = ("--prompt", "the fox", "--response", "jumps over")
SHOWN = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The documented package, installed into a folder of its own; the environment that finds it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    lines = 0
    for name, text in re.findall(r"`([\w.]+)`\n\n```\w+\n(.*?)```", SHOWN, re.DOTALL):
        (source / name).write_text(text)
        lines += len(text.splitlines())
    assert 0 < lines < 80, "short enough to be read"
    offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", target, source], check=True)
    return os.environ | {"PYTHONPATH": str(target)}


def run(environment, *arguments):
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_installed_method_and_scorer_are_there_and_work(installed, tiny_catalogue, tmp_path):
    environment = installed | {
        "PLAYGROUND_MODELS": str(tiny_catalogue),
        "PLAYGROUND_DATABASE": str(tmp_path / "runs.db"),
        "PLAYGROUND_KV_MB": "64",
    }
    assert "\nturns: Greedy and random" in run(environment, "playground", "methods")
    saved = tmp_path / "run.json"
    lanes = ("--lane", "turns:every=3", "--lane", "best_of_n:n=2,scorer=cheer(mark=o)", "--max-new-tokens", "6")
    answered = run(environment, "playground", "compare", "the fox", *lanes, "--save", str(saved))
    assert "── turns:" in answered and "scorer=cheer(mark=o)" in answered
    assert float(run(environment, "playground", "score", "--scorer", "surest", *PAIR)) < 0
    assert '"method": "turns"' in saved.read_text()


def test_the_laws_of_all_methods_hold_for_an_installed_one(installed):
    told = run(installed, "pytest", "tests/decoders/test_laws.py", "-k", "turns", "-p", "no:cacheprovider")
    assert re.search(r"[1-9]\d* passed", told)


class Point:
    """An entry point that loads `found`, or raises it."""

    def __init__(self, found):
        self.value, self.found = "elsewhere:THING", found

    def load(self):
        if isinstance(self.found, BaseException):
            raise self.found
        return self.found


@pytest.mark.parametrize("wrong", [{"in_front": ("colour",)}, {"in_front": (), "many": "colour"}])
def test_a_method_that_names_an_option_it_does_not_have_cannot_be_made(wrong):
    with pytest.raises(ValueError, match="the method odd has no option 'colour'"):
        Decoder("odd", "Odd", "Odd.", Sampling, None, **wrong)


@pytest.mark.parametrize(
    "found, words",
    [
        (ImportError("no module named 'nothing'"), "no module named 'nothing'"),
        (SyntaxError("invalid syntax"), "invalid syntax"),
        (SystemExit(1), "SystemExit"),
        ("a text", "it is a str, not a Scorer"),
        (Scorer("length", "Another", None), "the name 'length' is taken"),
        (Scorer("<b>", "Bold", None), "small letters"),
    ],
)
def test_a_broken_plug_in_is_left_out_and_named(monkeypatch, found, words):
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point(found)])
    monkeypatch.setattr(plugins, "PROBLEMS", [])
    known = dict(SCORERS)
    plugins.add_plugins("any", Scorer, known)
    assert known == SCORERS
    [problem] = plugins.PROBLEMS
    assert "elsewhere:THING" in problem and words in problem
