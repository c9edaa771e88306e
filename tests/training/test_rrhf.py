"""RRHF: the loss by hand, training that learns, resumes exactly after a kill, and refuses bad data in words."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from playground.errors import UserError
from playground.models.loading import load_model
from playground.models.specs import read_catalogue
from playground.settings import Settings
from playground.training.data import RankedRow, read_rows, write_rows
from playground.training.loop import Training
from playground.training.records import RowsFile, RrhfConfig, RrhfJob
from playground.training.rrhf import Rrhf, encode, mean_log_probs, rrhf_loss
from playground.training.session import train

CONFIG = RrhfConfig(
    steps=6, rows_per_step=2, learning_rate=5e-3, rank=4, evaluate_every=3, save_every=2, held_out=0.2, warmup=1
)
means = st.lists(st.floats(-8, 0), min_size=1, max_size=6)


def test_the_loss_of_a_case_by_hand():
    p, r = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([0.0, 2.0, 1.0])
    # Wrong pairs: (0 above 1) by 1, (0 above 2) by 2; right: 1 above 2. The best response is the second.
    assert float(rrhf_loss(p, r)) == pytest.approx(3 + 2)
    assert float(rrhf_loss(p, r, rank_weight=2, tune_weight=0)) == pytest.approx(6)


@given(means)
def test_equal_scores_make_no_pair_and_one_response_is_plain_fine_tuning(values):
    p = torch.tensor(values)
    assert float(rrhf_loss(p, torch.zeros(len(p)), tune_weight=0)) == 0
    assert float(rrhf_loss(p[:1], torch.tensor([3.0]))) == pytest.approx(-float(p[0]))


@given(means, st.randoms())
def test_the_loss_does_not_depend_on_the_order_of_responses(values, random):
    scores = [float(i // 2) for i in range(len(values) - 1)] + [99.0]
    pairs = list(zip(values, scores, strict=True))
    before = rrhf_loss(*map(torch.tensor, map(list, zip(*pairs, strict=True))))
    random.shuffle(pairs)
    assert torch.allclose(before, rrhf_loss(*map(torch.tensor, map(list, zip(*pairs, strict=True)))), atol=1e-5)


@given(means)
def test_responses_in_the_right_order_have_no_ranking_loss(values):
    p = torch.tensor(sorted(values))
    assert float(rrhf_loss(p, torch.arange(float(len(p))), tune_weight=0)) == 0


def changed(**settings):
    return CONFIG.model_copy(update=settings)


def job(out, config=CONFIG, data="rows.jsonl", **fields):
    return RrhfJob(out=out, source=RowsFile(path=data), config=config, **fields)


def training(loaded, rows, out, config=CONFIG, **fields):
    return Training(Rrhf(loaded, job(out, config, **fields)), rows, config, out)


@pytest.fixture
def rows():
    words = ["fox", "dog", "cake", "land", "time"]
    return [RankedRow(f"the {w}", (f"lazy {w}", f"quick {w} jumps", "0123"), (2.0, 1.0, 0.0)) for w in words * 4]


@pytest.fixture
def loaded(tiny_catalogue):
    def load():
        spec = read_catalogue(tiny_catalogue).models["tiny"]
        return load_model("tiny", spec, tiny_catalogue.parent, torch.device("cpu"), "fp32")

    return load


def test_mean_log_probs_are_those_of_the_plain_model(loaded):
    model = loaded()
    row = RankedRow("the fox", ("jumps over the dog", "0"), (1, 0))
    pairs = encode(model, row, CONFIG)
    together = mean_log_probs(model.model, pairs)
    for (prompt, response), mean in zip(pairs, together, strict=True):
        logits = model.model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        expected = [float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(response)]
        assert float(mean) == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_training_learns_the_ranking(loaded, rows, tmp_path):
    progress = training(loaded(), rows, tmp_path, changed(steps=40)).run()
    [(name, curve)] = progress.curves.items()
    assert name == "ranking accuracy"
    assert [step for step, _ in curve] == [0, *range(3, 40, 3), 40]
    assert curve[-1][1] > max(curve[0][1], 0.9)
    assert sum(progress.losses[-5:]) < sum(progress.losses[:5])


def test_a_killed_training_resumes_to_the_same_weights(loaded, rows, tmp_path):
    whole = training(loaded(), rows, tmp_path / "whole")
    whole.run()
    part = training(loaded(), rows, tmp_path / "part")

    class Killed(Exception):
        pass

    def kill(progress):
        if progress.step == 5:  # the last checkpoint is that of step 4
            raise Killed

    with pytest.raises(Killed):
        part.run(kill)
    again = training(loaded(), rows, tmp_path / "part")
    again.resume()
    assert again.progress.step == 4
    again.run()
    assert again.progress.losses == whole.progress.losses
    assert again.progress.curves == whole.progress.curves
    for name, expected in whole.parameters.items():
        assert torch.equal(again.parameters[name], expected), name


def test_a_training_may_start_from_an_adapter(loaded, rows, tmp_path):
    first = training(loaded(), rows, tmp_path / "first")
    first.run()
    [reached] = first.objective.measure(first.rows).values()
    first.finish("card", "tiny")
    second = training(loaded(), rows, tmp_path / "second", changed(seed=5), start=tmp_path / "first")
    [begun] = second.objective.measure(first.rows).values()
    assert begun == pytest.approx(reached, abs=0.05)  # saved in bf16
    assert second.run().step == CONFIG.steps


def test_a_session_writes_an_adapter_that_decodes_and_a_card(tiny_catalogue, tmp_path, rows, request_of):
    from playground.service import Playground

    data = tmp_path / "rows.jsonl"
    write_rows(
        data,
        [
            {
                "query": r.query,
                "responses": list(r.responses),
                "scores": list(r.scores),
                "source": "tests",
                "licence": "MIT",
            }
            for r in rows
        ]
        + [{"query": "bad"}],
    )
    said, out = [], tmp_path / "out"
    settings = Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32")
    first = job(out, data=data, base="tiny")
    progress = train(first, settings=settings, say=said.append)
    assert progress.step == CONFIG.steps
    assert any("line 21" in sentence and "responses" in sentence for sentence in said)
    assert any("1 left out" in sentence for sentence in said)
    card = (out / "README.md").read_text()
    assert card.startswith("# LoRA adapter for tiny, trained with RRHF\n")
    assert "| tests | MIT | 20 |" in card
    assert "seed: 0" in card
    assert "| step | ranking accuracy on held-out rows |" in card
    assert [line[:4] for line in card.splitlines()[-3:]] == ["| 0 ", "| 3 ", "| 6 "]
    numbers = json.loads((out / "training.json").read_text())
    assert (numbers["base"], numbers["config"], numbers["losses"]) == ("tiny", CONFIG.model_dump(), progress.losses)
    assert not list(out.glob("checkpoint*"))
    further = job(tmp_path / "further", changed(steps=2), data=data, base="tiny", start=out)
    train(further, settings=settings)
    assert "## Started from" in (tmp_path / "further" / "README.md").read_text()
    with pytest.raises(UserError, match="no adapter in"):
        train(job(tmp_path / "third", data=data, base="tiny", start=tmp_path), settings=settings)

    playground = Playground(settings)
    name = playground.learned_variant(str(out))
    lanes = playground.compare(request_of("greedy", f"greedy:variant={name}", max_new_tokens=12))["lanes"]
    assert lanes[0]["token_ids"] != lanes[1]["token_ids"]
    playground.close()
    with pytest.raises(UserError, match="already holds an adapter"):
        train(first, settings=settings)


def test_queries_over_the_limit_are_left_out_and_said(tiny_catalogue, tmp_path):
    data = tmp_path / "rows.jsonl"
    row = {"responses": ["jumps", "the dog"], "scores": [1, 0]}
    write_rows(data, [{"query": query, **row} for query in ("the fox", "a cake", "the fox " * 40)])
    said, settings = [], Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32")
    train(job(tmp_path / "out", changed(steps=1, max_prompt=60), data=data), settings=settings, say=said.append)
    assert said[0] == "1 rows are left out: the query is over 60 tokens long; raise --max-prompt."
    with pytest.raises(UserError, match="No row can be trained on: the query is over 2 tokens"):
        train(job(tmp_path / "none", changed(max_prompt=2), data=data), settings=settings)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "must be an object"),
        ({"query": "q"}, "lacks responses, scores"),
        ({"prompt": "q", "chosen": "a"}, "lacks rejected;"),
        ({"query": "", "responses": ["a"], "scores": [1]}, "query is ''"),
        ({"query": "q", "responses": [], "scores": []}, "not empty"),
        ({"query": "q", "responses": ["a", " "], "scores": [1, 2]}, "not empty"),
        ({"query": "q", "responses": ["a", "b"], "scores": [1]}, "2 responses"),
        ({"query": "q", "responses": ["a"], "scores": [float("nan")]}, "finite"),
        ({"query": "q", "responses": ["a"], "scores": [True]}, "finite"),
    ],
)
def test_bad_rows_are_told_with_their_line_and_kept_out(tmp_path, row, words):
    path = tmp_path / "rows.jsonl"
    good = {"prompt": "q", "chosen": "a", "rejected": "b"}
    path.write_text(f"{json.dumps(good)}\n\n{row if isinstance(row, str) else json.dumps(row)}\n")
    found = read_rows(path)
    assert found.rows == [RankedRow("q", ("a", "b"), (1.0, 0.0))]
    assert len(found.problems) == 1
    assert "line 3" in found.problems[0]
    assert words in found.problems[0]


def test_a_response_that_was_cut_teaches_no_end(tiny, tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"query": "the fox", "responses": ["jumps", "the dog"], "scores": [1, 0]}
    path.write_text("".join(json.dumps(row | more) + "\n" for more in ({"ended": [False, True]}, {"ended": [1]})))
    found = read_rows(path)
    assert "ended" in found.problems[0]
    loaded = tiny.memory.model_of("reference")
    (_, first), (_, second) = encode(loaded, found.rows[0], RrhfConfig())
    end = loaded.tokenizer.eos_token_id
    assert (first[-1] == end, second[-1] == end) == (False, True)


def test_a_line_separator_inside_a_text_ends_no_row(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "q\u2028r", "chosen": "a\x85b", "rejected": "c\u2029d"}
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_rows(path).rows == [RankedRow("q\u2028r", ("a\x85b", "c\u2029d"), (1.0, 0.0))]


def test_useless_data_is_refused_with_the_reason(tmp_path):
    path = tmp_path / "rows.jsonl"
    with pytest.raises(UserError, match="cannot be read"):
        read_rows(path)
    path.write_text("")
    with pytest.raises(UserError, match="no usable row"):
        read_rows(path)
    write_rows(path, [{"query": "q", "responses": ["a", "b"], "scores": [1, 1]}])
    with pytest.raises(UserError, match="nothing to rank"):
        read_rows(path)
