"""Trainings as processes of their own: watched, stopped, resumed, found dead; their adapters join the list."""

import contextlib
import json
import os
import shutil
import signal
import threading
import time

import pytest
import torch

from playground import cli
from playground.errors import UserError
from playground.models.specs import read_catalogue
from playground.service import Playground
from playground.settings import Settings
from playground.training import process
from playground.training.jobs import DATA, Trainings
from playground.training.journal import Journal, read_journal
from playground.training.loop import CHECKPOINT
from playground.training.records import RowsFile, RrhfConfig, RrhfJob

ROWS = "".join(
    json.dumps({"query": f"the {w}", "responses": [f"lazy {w}", "0123"], "scores": [1, 0]}) + "\n"
    for w in ("fox", "dog", "cake", "land", "time") * 2
)
SMALL = {"rows_per_step": 2, "rank": 2, "save_every": 5, "max_response": 8}


@pytest.fixture
def trainings(tiny_catalogue, tmp_path):
    shutil.copytree(tiny_catalogue.parent, tmp_path / "models")
    shutil.rmtree(tmp_path / "models" / "adapters", ignore_errors=True)
    settings = Settings(catalogue=tmp_path / "models" / "models.yaml", database=":memory:", precision="fp32")
    trainings = Trainings(settings)
    yield trainings
    trainings.close()


def job(trainings, name, **config):
    """Train on the data that `start` puts beside the result."""
    out = trainings.folder_of(name)
    return RrhfJob(out=out, source=RowsFile(path=out / DATA), config=RrhfConfig(**config))


def until(condition, what):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come about")


def test_a_training_is_stopped_resumed_and_its_adapter_joins_the_list(trainings):
    playground = Playground(trainings.settings)
    trainings.start(job(trainings, "mine", steps=100_000, **SMALL), ROWS)
    assert trainings.running() == "mine"
    with pytest.raises(UserError, match="still at work"):
        trainings.start(job(trainings, "other"), ROWS)
    until(lambda: trainings.read("mine")["step"] > 6, "the seventh step")
    trainings.stop("mine")
    until(lambda: trainings.running() is None, "the end")
    told = trainings.read("mine")
    assert told["state"] == "stopped"
    assert len(told["losses"]) == told["step"]
    assert "mine" not in read_catalogue(trainings.settings.catalogue).variants
    with pytest.raises(UserError, match="was not finished"):
        trainings.start(job(trainings, "mine"), ROWS)

    # Let it resume as a shorter training would: to the step after the one it stands at.
    folder = trainings.folder / "mine"
    steps = told["step"] + 1
    content = torch.load(folder / CHECKPOINT, weights_only=True)
    content["config"]["steps"] = steps
    torch.save(content, folder / CHECKPOINT)
    record = json.loads((folder / "job.json").read_text())
    record["config"]["steps"] = steps
    (folder / "job.json").write_text(json.dumps(record))
    trainings.resume("mine")
    until(lambda: trainings.read("mine")["state"] == "done", "the adapter")
    assert any("Resumed after step" in sentence for sentence in trainings.read("mine")["said"])

    assert "mine" not in playground.catalogue.variants
    models = playground.options_schema("dera")["properties"]["aligned"]["examples"]
    assert "mine" in models, "in the list of a page that was there before"
    assert "mine" in read_catalogue(trainings.settings.catalogue).variants
    playground.memory.ensure("mine")
    playground.close()
    with pytest.raises(UserError, match="done"):
        trainings.resume("mine")
    with pytest.raises(UserError, match="already an adapter"):
        trainings.start(job(trainings, "mine"), ROWS)


def test_a_training_stopped_while_it_gets_ready_is_stopped_not_failed(trainings, monkeypatch, tmp_path):
    asked, out = threading.Event(), trainings.folder / "mine"
    asked.set()
    monkeypatch.setattr(process, "_asked_to_stop", lambda: contextlib.nullcontext(asked))
    for name, value in trainings.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    assert cli.main(["train", "rrhf", "--data", str(tmp_path / "rows.jsonl"), "--out", str(out)]) == 130
    told = trainings.read("mine")
    assert (told["state"], told["step"], told["error"]) == ("stopped", 0, None)


def test_a_training_that_cannot_be_says_why(trainings):
    trainings.start(job(trainings, "bad"), '{"query": "q"}\n')
    until(lambda: trainings.read("bad")["state"] == "failed", "the failure")
    assert "no usable row" in trainings.read("bad")["error"]
    trainings.start(job(trainings, "bad", steps=1, **SMALL), ROWS)
    until(lambda: trainings.read("bad")["state"] == "done", "a good start under the same name")


def test_a_killed_training_is_seen_as_interrupted(trainings):
    trainings.start(job(trainings, "gone", steps=100_000, **SMALL), ROWS)
    until(lambda: trainings.read("gone")["step"] > 6, "the seventh step")
    os.kill(trainings.read("gone")["pid"], signal.SIGKILL)
    until(lambda: trainings.read("gone")["state"] == "interrupted", "its absence")
    assert (trainings.folder / "gone" / CHECKPOINT).exists()
    assert trainings.running() is None


@pytest.mark.parametrize("name", ["", "../up", "Große Namen", "a" * 60, "a/b"])
def test_names_that_are_no_folder_are_refused(trainings, name):
    with pytest.raises(UserError, match="cannot be used"):
        trainings.folder_of(name)


def test_a_journal_tells_errors_in_words(tmp_path):
    with pytest.raises(UserError), Journal(tmp_path, 5):
        raise UserError("The data is empty.")
    assert json.loads((tmp_path / "journal.json").read_text())["error"] == "The data is empty."


def test_a_journal_from_before_curves_had_names_still_opens(tmp_path):
    (tmp_path / "journal.json").write_text(json.dumps({"state": "done", "accuracies": [[0, 0.5]]}))
    assert read_journal(tmp_path) == {"state": "done", "curves": {"ranking accuracy": [[0, 0.5]]}}
