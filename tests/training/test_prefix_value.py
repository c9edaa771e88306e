"""Prefix values: a head that learns what reward an answer will end with, saved so that the engine gives the same."""

import json

import pytest
import torch

from playground.errors import UserError
from playground.models.loading import load_model
from playground.models.specs import read_catalogue
from playground.settings import Settings
from playground.training.data import RankedRow, write_rows
from playground.training.loop import Training
from playground.training.prefix_value import PrefixValue
from playground.training.records import Rewarded, RowsFile, ValueConfig, ValueJob
from playground.training.session import train
from playground.training.sources import rows_file

CONFIG = ValueConfig(
    steps=6, rows_per_step=2, learning_rate=1e-2, rank=4, evaluate_every=3, save_every=2, held_out=0.2, warmup=1
)


def job(out, data="rows.jsonl", **settings):
    return ValueJob(out=out, source=RowsFile(path=data), config=CONFIG.model_copy(update=settings))


def training(loaded, rows, out, **settings):
    wanted = job(out, **settings)
    return Training(PrefixValue(loaded, wanted), rows, wanted.config, out)


@pytest.fixture
def rows():
    words = ["fox", "dog", "cake", "land", "time"]
    return [
        RankedRow(f"the {w}", ("lazy dog jumps", "quick fox jumps", "0123"), (-10.0, 30.0, 10.0)) for w in words * 4
    ]


@pytest.fixture
def loaded(tiny_catalogue):
    spec = read_catalogue(tiny_catalogue).models["tiny"]
    return lambda: load_model("tiny", spec, tiny_catalogue.parent, torch.device("cpu"), "fp32")


@pytest.mark.parametrize("settings", [{}, {"form": "head"}, {"form": "head", "hidden": 0}], ids=str)
def test_it_learns_and_tells_more_the_more_it_has_seen(loaded, rows, tmp_path, settings):
    progress = training(loaded(), rows, tmp_path, steps=60, **settings).run()
    assert sum(progress.losses[-5:]) < 0.5 * sum(progress.losses[:5])
    assert set(progress.curves) == {"r at 25%", "r at 50%", "r at 75%", "r at 100%"}
    assert progress.curves["r at 100%"][-1][1] > 0.9
    assert progress.curves["r at 100%"][-1][1] >= progress.curves["r at 25%"][-1][1] - 0.05


def test_a_killed_training_resumes_to_the_same_weights(loaded, rows, tmp_path):
    whole, part = (training(loaded(), rows, tmp_path / name) for name in ("whole", "part"))
    whole.run()
    part.run(stopped=lambda: part.progress.step == 4)
    again = training(loaded(), rows, tmp_path / "part")
    again.resume()
    assert again.run().losses == whole.progress.losses
    for name, expected in whole.parameters.items():
        assert torch.equal(again.parameters[name], expected), name


@pytest.mark.parametrize("settings", [{}, {"form": "head"}], ids=str)
def test_what_is_saved_gives_the_same_values_in_the_rewards_own_units(loaded, rows, tmp_path, tiny_catalogue, settings):
    from playground.service import Playground

    data, out = tmp_path / "rows.jsonl", tmp_path / "valued"
    write_rows(data, [{"query": r.query, "responses": r.responses, "scores": r.scores} for r in rows])
    options = Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32", kv_megabytes=64)
    train(job(out, data, steps=40, **settings), settings=options)
    assert json.loads((out / "training.json").read_text())["writes"] is False
    assert "prefix values (FUDGE)" in (out / "README.md").read_text()
    playground = Playground(options)
    name = playground.learned_variant(str(out))
    texts = [("the fox", text) for text in rows[0].responses]
    found = playground.scores(f"value_sentiment(model={name})", texts)
    playground.close()
    assert found == pytest.approx(rows[0].scores, abs=12)
    assert sorted(found) == [found[i] for i in (0, 2, 1)]


def test_equal_rewards_teach_nothing(loaded, tmp_path):
    rows = [RankedRow("the fox", ("a", "b"), (1.0, 1.0))] * 4
    with pytest.raises(UserError, match="All rewards are 1"):
        training(loaded(), rows, tmp_path)


def test_int4_weights_are_refused(loaded, tmp_path):
    model = loaded()
    model.precision = "int4"
    with pytest.raises(UserError, match="int4"):
        PrefixValue(model, job(tmp_path))


def test_responses_of_a_file_are_scored_by_a_scorer(tiny_catalogue, tmp_path):
    data = tmp_path / "rows.jsonl"
    write_rows(data, [{"prompt": "the fox", "responses": ["good", "bad, very bad"], "licence": "MIT"}])
    source = Rewarded(path=data, reward="vader")
    wanted = ValueJob(out=tmp_path / "out", source=source, config=CONFIG)
    settings = Settings(catalogue=tiny_catalogue, database=":memory:", kv_megabytes=64)
    made = rows_file(wanted, settings, False, lambda said: None, lambda share, what: None)
    [row] = map(json.loads, made.read_text().splitlines())
    assert (row["query"], row["licence"]) == ("the fox", "MIT")
    assert row["scores"][0] > 0 > row["scores"][1]
