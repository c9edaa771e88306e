"""The loop, by an objective that has nothing of RRHF: a value head learns to tell a reward from a text's beginning."""

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from pydantic import Field

from playground.errors import UserError
from playground.models.loading import load_model
from playground.models.specs import read_catalogue
from playground.settings import Settings
from playground.training import session
from playground.training.card import _measured, sources
from playground.training.data import Rows
from playground.training.loop import CHECKPOINT, Training, order_of
from playground.training.records import JOBS, Config, Job, RowsFile, read_job, write_job

TEXTS = ["the fox", "a cake", "once upon a time", "the lazy dog", "0123", "in a far land"]


@dataclass(frozen=True)
class RewardedText:
    text: str
    reward: float


class ValueConfig(Config):
    longest: int = Field(32, ge=1)


class ValueJob(Job):
    result: ClassVar[str] = "head.pt"
    kind: Literal["value"] = "value"
    config: ValueConfig = ValueConfig()


class ValueHead:
    """Mean squared error of w·h + b, h the last hidden state of every prefix."""

    name, makes, writes = "prefix values", "Value head", False

    def __init__(self, loaded, job):
        self.loaded, self.longest = loaded, job.config.longest

    @staticmethod
    def read(path):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return Rows([RewardedText(**row) for row in rows], [])

    def misfit(self, row):
        return None if len(self.loaded.tokenizer(row.text).input_ids) <= self.longest else "the text is too long"

    def build(self, rows):
        self.head = torch.nn.Linear(self.loaded.model.config.hidden_size, 1)
        return dict(self.head.named_parameters())

    def loss(self, rows):
        return torch.stack([self._errors(row).square().mean() for row in rows]).mean()

    def measure(self, rows):
        errors = torch.cat([self._errors(row) for row in rows])
        return {"squared error": float(errors.square().mean()), "bias": float(errors.mean())}

    def save(self, out):
        torch.save(self.head.state_dict(), out / "head.pt")

    def _errors(self, row):
        with torch.no_grad():
            ids = torch.tensor([self.loaded.tokenizer(row.text).input_ids])
            hidden = self.loaded.model.model(ids)[0][0]
        return self.head(hidden.float())[:, 0] - row.reward


CONFIG = ValueConfig(
    steps=30, rows_per_step=3, learning_rate=0.02, warmup=2, evaluate_every=10, save_every=4, held_out=0.2
)
ROWS = [RewardedText(text + tail, float(len(text))) for text in TEXTS for tail in ("", " and", "!")]


@pytest.fixture(scope="module")
def loaded(tiny_catalogue):
    spec = read_catalogue(tiny_catalogue).models["tiny"]
    return load_model("tiny", spec, tiny_catalogue.parent, torch.device("cpu"), "fp32")


def training(loaded, out, config=CONFIG):
    job = ValueJob(out=out, source=RowsFile(path="rows.jsonl"), config=config)
    return Training(ValueHead(loaded, job), ROWS, config, out)


def test_the_order_of_rows_goes_through_all_of_them_each_epoch():
    order = order_of(7, seed=3)
    first, second = ([next(order) for _ in range(7)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_another_objective_learns_in_the_same_loop(loaded, tmp_path):
    progress = training(loaded, tmp_path).run()
    assert set(progress.curves) == {"squared error", "bias"}
    steps, errors = zip(*progress.curves["squared error"], strict=True)
    assert steps == (0, 10, 20, 30)
    assert errors[-1] < errors[0]
    assert len(progress.losses) == 30


@pytest.mark.parametrize("stop_after", [1, 4, 10, 29])
def test_a_stopped_training_resumes_to_the_same_numbers(loaded, tmp_path, stop_after):
    whole = training(loaded, tmp_path / "whole")
    whole.run()
    part = training(loaded, tmp_path / "part")
    part.run(stopped=lambda: part.progress.step == stop_after)
    assert part.progress.step == stop_after
    torch.manual_seed(999)  # what happens between does not matter
    again = training(loaded, tmp_path / "part")
    again.resume()
    again.run()
    assert (again.progress.losses, again.progress.curves) == (whole.progress.losses, whole.progress.curves)
    for name, expected in whole.parameters.items():
        assert torch.equal(again.parameters[name], expected), name


def test_a_kill_while_a_checkpoint_is_written_leaves_the_old_one(loaded, tmp_path, monkeypatch):
    first = training(loaded, tmp_path)
    first.run(stopped=lambda: first.progress.step == 2)

    def killed(state, file):
        file.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    again = training(loaded, tmp_path)
    again.resume()
    assert again.progress.step == 2


def test_resuming_needs_a_checkpoint_of_the_same_training(loaded, tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        training(loaded, tmp_path).resume()
    training(loaded, tmp_path).save_checkpoint()
    with pytest.raises(UserError, match="learning_rate"):
        training(loaded, tmp_path, CONFIG.model_copy(update={"learning_rate": 1.0})).resume()
    other = training(loaded, tmp_path)
    other.objective.name = "RRHF"
    with pytest.raises(UserError, match="is not of RRHF"):
        other.resume()


def test_a_session_needs_a_record_and_an_objective_only(tiny_catalogue, tmp_path, monkeypatch):
    monkeypatch.setitem(JOBS, "value", ValueJob)
    monkeypatch.setitem(session.OBJECTIVES, "value", ValueHead)
    data, out = tmp_path / "rows.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps({"text": row.text, "reward": row.reward}) + "\n" for row in ROWS))
    write_job(ValueJob(out=out, source=RowsFile(path=data), config=CONFIG), out / "job.json")
    settings = Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32")
    said = []
    session.train(read_job(out / "job.json"), settings=settings, say=said.append)
    assert said == ["18 rows to train on; 0 left out."]
    assert torch.load(out / "head.pt", weights_only=True).keys() == {"weight", "bias"}
    card = (out / "README.md").read_text()
    assert card.startswith("# Value head for tiny, trained with prefix values\n")
    assert "| step | squared error on held-out rows | bias on held-out rows |\n|---|---|---|\n| 0 | " in card
    assert json.loads((out / "training.json").read_text())["curves"].keys() == {"squared error", "bias"}
    assert not (out / CHECKPOINT).exists()
    with pytest.raises(UserError, match="already holds"):
        session.train(read_job(out / "job.json"), settings=settings)


def test_a_card_bears_a_number_that_was_not_defined_at_a_step_and_a_source_that_is_no_text(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"source": ["a", "b"]}\n')
    assert sources(rows) == "| ['a', 'b'] | not stated | 1 |"
    table = _measured({"r": [(0, 0.5), (2, 0.25)], "s": [(2, 1.0)]}).splitlines()
    assert table[2:] == ["| 0 | 0.500 | – |", "| 2 | 0.250 | 1.000 |"]
