"""The command line: the documented JSON, and exit code 2 with one sentence for bad input."""

import json
import os
import re
import subprocess
import sys

import pytest

from playground import cli
from playground.cli.compare import printable
from playground.decoders import DECODERS
from playground.scorers import SCORERS
from playground.store.exchange import read_run


@pytest.fixture
def on_tiny(tiny_catalogue, tmp_path, monkeypatch):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    monkeypatch.setenv("PLAYGROUND_DATABASE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("PLAYGROUND_KV_MB", "64")
    return tmp_path


def test_compare_writes_the_documented_json(on_tiny, capsys):
    out = on_tiny / "out.json"
    lanes = [
        "--lane",
        "greedy",
        "--lane",
        "sample:temperature=0.8",
        "--lane",
        "best_of_n:n=3",
        "--lane",
        "dera:lambda_=0.5",
    ]
    code = cli.main(["compare", "the fox", *lanes, "--seed", "7", "--max-new-tokens", "9", "--json", str(out)])
    assert code == 0
    result = json.loads(out.read_text())
    assert (result["prompt"], result["seed"]) == ("the fox", 7)
    assert [lane["method"] for lane in result["lanes"]] == ["greedy", "sample", "best_of_n", "dera"]
    for lane in result["lanes"]:
        assert {"method", "options", "text", "token_ids", "finish_reason", "cost", "detail"} <= lane.keys()
        assert set(lane["cost"]) == {"generated_tokens", "forward_tokens", "forward_passes", "seconds"}
        assert 1 <= len(lane["token_ids"]) <= 9
    assert result["lanes"][1]["options"]["temperature"] == 0.8
    assert "generated" in capsys.readouterr().out


def test_printed_are_the_changed_options_and_every_candidate_with_its_score(on_tiny, capsys):
    lanes = ["--lane", "greedy", "--lane", "best_of_n:n=3,scorer=length,temperature=1", "--lane", "greedy:begin=the"]
    out = on_tiny / "out.json"
    assert cli.main(["compare", "the fox", *lanes, "--max-new-tokens", "6", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    heads = [line for line in printed.splitlines() if line.startswith("──")]
    assert heads[:2] == ["── greedy", "── best_of_n:n=3,scorer=length"]
    assert heads[2].startswith("── greedy:begin=")
    detail = json.loads(out.read_text())["lanes"][1]["detail"]
    found = re.findall(r"^   ([* ]) (\d)\. score (\d)\.000: ", printed, re.MULTILINE)
    assert [int(score) for _, _, score in found] == [len(c["token_ids"]) for c in detail["candidates"]]
    assert [int(number) - 1 for mark, number, _ in found if mark == "*"] == [detail["chosen"]]


@pytest.mark.parametrize("name", ["run.json", "run.json.gz"])
def test_a_saved_run_opens_again(on_tiny, name):
    file = on_tiny / name
    assert cli.main(["compare", "the fox", "--lane", "greedy", "--max-new-tokens", "5", "--save", str(file)]) == 0
    [lane] = read_run(file.read_bytes(), "file")["lanes"]
    assert lane["method"] == "greedy" and len(lane["token_ids"]) == 5
    assert (file.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_methods_lists_every_method_with_a_schema(capsys):
    assert cli.main(["methods", "--json"]) == 0
    listing = json.loads(capsys.readouterr().out)
    assert [m["name"] for m in listing] == list(DECODERS)
    assert all(m["options"]["type"] == "object" for m in listing)
    assert cli.main(["methods"]) == 0
    printed = capsys.readouterr().out
    assert "lambda_" in printed
    for name, scorer in SCORERS.items():
        assert (f"\n{name}: {scorer.title}" in printed) == (name != "classifier"), "none is set up"
    assert "\n    tuned (default aligned): The model with the reward in it" in printed


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["compare", "", "--lane", "greedy"], "empty"),
        (["compare", "x" * 70_000, "--lane", "greedy"], "70,000"),
        (["compare", "Hi", "--lane", "wizardry"], "wizardry"),
        (["compare", "Hi", "--lane", "greedy:luck=1"], "luck"),
        (["compare", "Hi", "--lane", "dera:lambda_=nan"], "nan"),
        (["compare", "Hi", "--lane", "best_of_n:n=1000000000"], "1000000000"),
        (["compare", "Hi", "--lane", "greedy:variant=nobody"], "nobody"),
        (["compare", "a\x07", "--lane", "greedy"], "U+0007"),
        (["compare", "Hi", "--lane", "greedy", "--seed", "x"], "'x'"),
        (["compare", "Hi"], "--lane"),
        (["compare", "Hi", "--lane", "greedy", "--json", "/nowhere/at/all.json"], "/nowhere/at/all.json"),
        (["compare", "Hi", "--lane", "greedy", "--json", "/proc/x.json"], "/proc/x.json"),
        (["compare", "Hi", "--lane", "greedy", "--json", "x" * 300], "cannot be written"),
        (["compare", "Hi", "--lane", "greedy", "--stop", "\udcff"], "U+DCFF"),
        (["score", "--scorer", "vader", "--prompt", "Hi", "--response", " "], "response is empty"),
        (["serve", "--port", "70000"], "70000"),
        (["serve", "--port", "many"], "many"),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(on_tiny, capsys, arguments, words):
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.err.count("\n") == 1, printed.err
    assert printed.out == ""
    assert not (on_tiny / "runs.db").exists() or words == "nobody"


def test_a_file_that_cannot_be_written_is_told_in_a_sentence(on_tiny, capsys):
    assert cli.main(["judgements", "export", "--out", "."]) == 2
    assert capsys.readouterr().err == "The file . cannot be used (Is a directory); name another.\n"


def test_half_a_character_in_any_argument_is_told_in_a_sentence(on_tiny, capsys):
    assert cli.main(["votes", "show", "\udcff", "--reason", "x"]) == 2
    assert "U+DCFF" in capsys.readouterr().err


def test_a_run_that_was_not_saved_or_failed_is_no_success(on_tiny, capsys, monkeypatch):
    from playground.store.runs import RunStore

    def full(self, run):
        raise OSError("disk full")

    monkeypatch.setattr(RunStore, "save", full)
    assert cli.main(["compare", "the fox", "--lane", "greedy", "--max-new-tokens", "3"]) == 1
    printed = capsys.readouterr().out
    assert "disk full" in printed
    assert "Saved as" not in printed


def test_as_a_process_it_prints_no_traceback(on_tiny):
    done = subprocess.run(
        [sys.executable, "-m", "playground", "compare", "Hi", "--lane", "dera:lambda_=nan"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "nan" in done.stderr


def test_help_loads_no_model_code():
    heavy = "{'torch', 'transformers', 'gradio', 'pandas'}"
    code = f"import sys; from playground.cli import parser; parser().format_help(); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_terminal_output_holds_no_control_characters():
    assert printable("a\x1b[31mb\n\u202ec") == "a\ufffd[31mb\n\ufffdc"
