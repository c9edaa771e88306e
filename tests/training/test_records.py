"""Jobs as records: the command line, the page and the file of a job say the same thing."""

import json
from pathlib import Path

import pytest

from playground import cli
from playground.errors import UserError
from playground.training import process
from playground.training.records import (
    SAMPLER,
    RowsFile,
    RrhfConfig,
    RrhfJob,
    Sampling,
    Votes,
    checked,
    read_job,
    write_job,
)

SOURCES = [
    RowsFile(path="rows.jsonl"),
    Votes(),
    Sampling(prompts="p.jsonl", lanes=("sample", "greedy"), samples=3, answers="a.jsonl", limit=9),
]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.kind)
def test_a_job_comes_back_from_its_file(tmp_path, source):
    job = RrhfJob(out=tmp_path / "out", base="tiny", start="before", source=source, config=RrhfConfig(steps=7))
    write_job(job, job.out / "job.json")
    assert read_job(job.out / "job.json") == job
    assert job.start == Path("before").absolute(), "read in another folder it is the same"


@pytest.fixture
def jobs(monkeypatch):
    """What the command line hands to the process, as (job, resume)."""
    found = []
    monkeypatch.setattr(process, "run", lambda job, resume=False: found.append((job, resume)))
    return found


def test_the_command_line_builds_the_job_from_its_arguments(jobs):
    assert cli.main(["train", "rrhf", "--data", "rows.jsonl", "--out", "adapters/x"]) == 0
    assert jobs.pop() == (RrhfJob(out="adapters/x", source=RowsFile(path="rows.jsonl")), False)

    more = [
        "--steps",
        "9",
        "--learning-rate",
        "0.5",
        "--targets",
        "v_proj",
        "--base",
        "tiny",
        "--start",
        "y",
        "--resume",
    ]
    assert cli.main(["train", "rrhf", "--data", "votes", "--out", "adapters/x", *more]) == 0
    config = RrhfConfig(steps=9, learning_rate=0.5, targets="v_proj")
    assert jobs.pop() == (RrhfJob(out="adapters/x", base="tiny", start="y", source=Votes(), config=config), True)

    lanes = ["--lane", "sample:temperature=2", "--lane", "greedy"]
    given = ["--samples", "3", "--score-with", "length", "--answers", "a.jsonl", "--limit", "5"]
    assert cli.main(["train", "rrhf", "--prompts", "p.jsonl", "--out", "x", *lanes, *given]) == 0
    assert jobs.pop()[0].source == Sampling(
        prompts="p.jsonl",
        samples=3,
        score_with="length",
        lanes=("sample:temperature=2", "greedy"),
        answers="a.jsonl",
        limit=5,
    )
    assert cli.main(["train", "rrhf", "--prompts", "p.jsonl", "--out", "x"]) == 0
    assert jobs.pop()[0].source == Sampling(prompts="p.jsonl", lanes=(SAMPLER,))


def test_a_job_is_run_from_its_file(jobs, tmp_path):
    job = RrhfJob(out=tmp_path, source=Votes())
    write_job(job, tmp_path / "job.json")
    assert cli.main(["train", "job", str(tmp_path / "job.json"), "--resume"]) == 0
    assert jobs == [(job, True)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no training that can be read"),
        ("{", "no training that can be read"),
        ('{"kind": "magic"}', "no training that can be read"),
        (
            json.dumps({"kind": "rrhf", "out": "x", "source": {"kind": "votes"}, "config": {"steps": 0}}),
            "no training that can be read",
        ),
        (json.dumps({"kind": "rrhf", "out": "x", "source": {"kind": "air"}}), "no training that can be read"),
    ],
)
def test_a_file_that_is_no_job_is_told_in_one_sentence(tmp_path, capsys, content, words):
    file = tmp_path / "job.json"
    if content is not None:
        file.write_text(content)
    assert cli.main(["train", "job", str(file)]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert printed.count("\n") == 1


def test_a_setting_out_of_range_is_told_with_its_bound(jobs, capsys):
    with pytest.raises(UserError, match="steps is 0; it must be a whole number at least 1"):
        checked(RrhfConfig, steps=0)
    assert cli.main(["train", "rrhf", "--data", "x", "--out", "y", "--held-out", "1"]) == 2
    assert "held_out is 1.0; it must be a number at least 0 and below 1" in capsys.readouterr().err
    assert jobs == []


def test_every_setting_says_what_it_is():
    for record in (RrhfConfig, Sampling):
        for name, field in record.model_fields.items():
            assert field.description or name == "kind", name
