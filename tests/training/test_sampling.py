"""The first half of RRHF's recipe: responses sampled by any method, scored by any scorer, kept as rows."""

import json

import pytest

from playground import cli
from playground.errors import UserError
from playground.requests import LaneRequest
from playground.training.data import read_rows, write_rows
from playground.training.sampling import read_given, sample_rows

PROMPTS = ["the fox", "once upon a time"]


def test_every_lane_gives_its_samples_and_the_scorer_ranks_them(tiny):
    lanes = [LaneRequest.parse("diverse_beams:diversity=5"), LaneRequest.parse("sample:temperature=1.5")]
    rows = sample_rows(tiny, PROMPTS, lanes, 3, "length", 8, given={"the fox": ["jumps over the dog"]})
    assert [row["query"] for row in rows] == PROMPTS
    for row in rows:
        assert len(set(row["responses"])) == len(row["responses"]) == len(row["scores"]) == len(row["by"])
        assert {"diverse_beams", "sample"} <= set(row["by"])
        assert row["scores"] == tiny.scores("length", [(row["query"], text) for text in row["responses"]])
    assert rows[0]["by"][0] == "given"
    assert rows[0]["responses"][0] == "jumps over the dog"


def test_more_samples_than_a_method_gives_are_refused(tiny):
    with pytest.raises(UserError, match="beams is 99"):
        sample_rows(tiny, PROMPTS, [LaneRequest.parse("diverse_beams")], 99, "length", 8)


def test_the_same_seed_gives_the_same_rows(tiny):
    lanes = [LaneRequest.parse("sample:temperature=1.5")]
    first, second, other = (sample_rows(tiny, PROMPTS, lanes, 3, "vader", 8, seed) for seed in (1, 1, 2))
    assert first == second != other


def test_a_prompt_with_one_response_is_left_out_and_said(tiny):
    said = []
    given = {"the fox": ["one", "two"]}
    rows = sample_rows(tiny, PROMPTS, [LaneRequest(method="greedy")], 2, "length", 8, given=given, say=said.append)
    assert [row["query"] for row in rows] == ["the fox"]
    assert said == ["1 prompts have fewer than two different responses and are left out."]
    with pytest.raises(UserError, match="more samples"):
        sample_rows(tiny, PROMPTS, [LaneRequest(method="greedy")], 2, "length", 8)
    with pytest.raises(UserError, match="no scorer 'charm'"):
        sample_rows(tiny, PROMPTS, [LaneRequest(method="greedy")], 2, "charm", 8)


def test_answers_of_others_are_read_or_told_with_their_line(tmp_path):
    path = tmp_path / "answers.jsonl"
    write_rows(path, [{"prompt": "a", "responses": ["b", "c"]}, {"query": "a", "response": "d"}])
    assert read_given(path) == {"a": ["b", "c", "d"]}
    path.write_text('{"prompt": "a", "response": "b"}\n{"prompt": "a"}\n')
    with pytest.raises(UserError, match="line 2"):
        read_given(path)


def test_one_command_samples_scores_ranks_and_trains(tiny_catalogue, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    monkeypatch.setenv("PLAYGROUND_PRECISION", "fp32")
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    write_rows(prompts, [{"prompt": f"the {word}"} for word in ("fox", "dog", "cake", "time", "land")])
    command = ["train", "rrhf", "--prompts", str(prompts), "--samples", "3", "--score-with", "length"]
    command += ["--lane", "sample:temperature=1.5", "--limit", "4", "--steps", "2", "--rows-per-step", "2"]
    command += ["--max-response", "8", "--rank", "2", "--out", str(out)]
    assert cli.main(command) == 0, capsys.readouterr().err
    kept = read_rows(out / "rows.jsonl").rows
    assert 1 <= len(kept) <= 4
    assert (out / "adapter_config.json").is_file()
    journal = json.loads((out / "journal.json").read_text())
    assert (journal["state"], journal["step"], len(journal["losses"])) == ("done", 2, 2)
    assert json.loads((out / "training.json").read_text())["base"] == "tiny"
    assert cli.main(command) == 2
    assert "already holds an adapter" in capsys.readouterr().err
    assert json.loads((out / "journal.json").read_text())["state"] == "done", "a refused start changes nothing"
