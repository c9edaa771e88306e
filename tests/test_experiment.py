"""`experiment NAME`: what docs/results.md tells is measured again by one command, and goes on where it was cut."""

import json

import pytest

from playground import cli
from playground.cli import experiment
from playground.cli.experiment import CLAIMS, commands_of
from tests.test_docs import COMMANDS

LABELLED = [
    {"prompt": "a", "response": "I can't help with that.", "label": "refusal"},
    {"prompt": "b", "response": "Red, green and blue.", "label": "compliance"},
]


@pytest.mark.parametrize("name", CLAIMS)
def test_the_commands_of_every_claim_are_understood_and_documented(name, tmp_path):
    for words in commands_of(name, tmp_path, tmp_path):
        assert cli.parser().parse_args([*words, "--json"]).run
        assert not [word for word in words if word.startswith(("DATA", "WORK"))]
    assert f"experiment {name} --data-dir ../shared/data" in COMMANDS


@pytest.fixture
def two_files(tmp_path, monkeypatch):
    """A claim that reads two files, of which the first is there."""
    lines = "".join(json.dumps(row) + "\n" for row in LABELLED)
    (tmp_path / "one.jsonl").write_text(lines)
    commands = [f"evaluate refusals --data DATA/{name}.jsonl" for name in ("one", "two")]
    monkeypatch.setitem(experiment.CLAIMS, "rrhf", {"claim": "none", "commands": commands})
    return tmp_path, lines


def test_what_was_found_is_kept_and_a_cut_experiment_goes_on(two_files, capsys):
    folder, lines = two_files
    words = ["experiment", "rrhf", "--data-dir", str(folder), "--work", str(folder / "work")]
    assert cli.main(words) == 2
    assert "two.jsonl" in capsys.readouterr().err
    kept = folder / "work" / "claim_rrhf.jsonl"
    [first] = map(json.loads, kept.read_text().splitlines())
    (folder / "one.jsonl").unlink()
    (folder / "two.jsonl").write_text(lines)
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert printed.count(json.dumps(first["found"], indent=1)) == 2
    assert [json.loads(line)["found"] for line in kept.read_text().splitlines()] == [first["found"]] * 2


def test_a_folder_that_is_not_there_is_told(tmp_path, capsys):
    assert cli.main(["experiment", "rrhf", "--data-dir", str(tmp_path / "none")]) == 2
    assert "which is no folder" in capsys.readouterr().err
