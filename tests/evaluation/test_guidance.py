"""Value guidance measured on the tiny model: the documented JSON, and numbers that follow from the definitions."""

import json
import math

import numpy as np
import pytest

from playground import cli
from playground.errors import UserError
from playground.evaluation import guidance
from playground.evaluation.guidance import distinct, drawn, evaluate_guidance, interval, lanes_of
from playground.requests import LaneRequest
from playground.scorers.log_prob import EMPTY
from playground.tasks import TASKS, prompt_of

ROWS = [
    {"prompt": "the fox", "label": "negative"},
    {"prompt": "a cake", "label": "positive"},
    {"prompt": "once upon a time", "label": "negative"},
]
NAMES = ["base", "best_of_n", "eft", "cbs", "ivg"]
KEYS = {"method", "lane", "mean_gold", "low", "high", "win_rate_over_base", "kl", "distinct2"}
PRICE = {"generated_tokens", "forward_tokens", "seconds"}
SMALL = {"width": 2, "successors": 2, "chunk": 2, "max_new_tokens": 6}


@pytest.fixture(scope="module")
def sentiment(tiny):
    return evaluate_guidance(tiny, "sentiment", ROWS, 2, tuned="adapted", gold="length", weight=1.5, **SMALL)


def test_the_json_is_as_documented(sentiment):
    assert sentiment.keys() == {"task", "n", "gold", "methods"}
    assert (sentiment["task"], sentiment["n"], sentiment["gold"]) == ("sentiment", 3, "length")
    assert [row["method"] for row in sentiment["methods"]] == NAMES
    assert all(row.keys() == KEYS | PRICE | {"positive_share", "by_label"} for row in sentiment["methods"])
    json.dumps(sentiment, allow_nan=False)


def test_lanes_are_written_so_that_they_can_be_run_again(sentiment):
    base, best, eft, cbs, ivg = (LaneRequest.parse(row["lane"]).options for row in sentiment["methods"])
    assert len({lane.temperature for lane in (base, best, eft, cbs, ivg)}) == 1
    assert best.n == cbs.width * cbs.successors == 4
    assert best.scorer == cbs.scorer == ivg.scorer == "value_sentiment"
    assert (eft.tuned, eft.weight) == (ivg.tuned, ivg.weight) == ("adapted", 1.5)


def test_numbers_are_means_over_prompts_and_seeds(tiny, sentiment):
    for row in sentiment["methods"]:
        lane = LaneRequest.parse(row["lane"])
        jobs = [(prompt_of("sentiment", each["prompt"]), lane, seed) for each in ROWS for seed in range(2)]
        answers = list(tiny.each(jobs, 6))
        golds = np.array(tiny.scores("length", [(p, a["text"]) for (p, _, _), a in zip(jobs, answers, strict=True)]))
        assert row["mean_gold"] == pytest.approx(golds.mean())
        assert row["low"] <= row["mean_gold"] <= row["high"]
        assert row["positive_share"] == 1
        for price in PRICE - {"seconds"}:
            assert row[price] == pytest.approx(np.mean([answer["cost"][price] for answer in answers]))
        negative = golds.reshape(3, 2)[[0, 2]]
        assert row["by_label"]["negative"]["mean_gold"] == pytest.approx(negative.mean())
        assert [each["n"] for each in row["by_label"].values()] == [2, 1]


def test_base_wins_half_against_itself_and_lies_at_no_distance(sentiment):
    base, best, eft, cbs, ivg = sentiment["methods"]
    assert (base["win_rate_over_base"], base["kl"]) == (0.5, 0)
    assert best["kl"] == pytest.approx(math.log(4) - 3 / 4)
    assert eft["kl"] > 0 and ivg["kl"] > 0
    assert cbs["kl"] is None


def test_without_weight_guidance_is_no_guidance(tiny):
    found = evaluate_guidance(tiny, "harmless", ROWS[:2], 1, weight=0, **SMALL)
    base, _, eft, cbs, ivg = found["methods"]
    same = ("mean_gold", "low", "high", "distinct2", "generated_tokens")
    assert found["gold"] == "refusal"
    assert base["positive_share"] == base["mean_gold"], "it says 1 or 0"
    assert [eft[name] for name in same] == [base[name] for name in same]
    assert [ivg[name] for name in same] == [cbs[name] for name in same]
    assert eft["kl"] == pytest.approx(0, abs=1e-4)


def test_rows_without_labels_are_not_split(tiny):
    found = evaluate_guidance(tiny, "harmless", [{"prompt": "the fox"}], 1, **SMALL)
    assert all("by_label" not in row for row in found["methods"])


def test_an_answer_without_text_is_judged_as_the_worst(tiny, monkeypatch):
    def scores(judge, texts, watch):
        return [EMPTY if n == 0 else float(n % 3 - 5) for n in range(len(texts))]

    monkeypatch.setattr(tiny, "scores", scores)
    base, *_ = evaluate_guidance(tiny, "harmless", ROWS[:1], 2, **SMALL)["methods"]
    assert base["mean_gold"] == pytest.approx((-5 + -4) / 2)


def test_an_answer_of_spaces_is_no_neutral_one(tiny, monkeypatch):
    each = tiny.each

    def blank_first(*arguments):
        first, *rest = each(*arguments)
        return [first | {"text": " "}, *rest]

    monkeypatch.setattr(tiny, "each", blank_first)
    monkeypatch.setattr(tiny, "scores", lambda judge, texts, watch: [0.0 if not t.strip() else -1.0 for _, t in texts])
    for row in evaluate_guidance(tiny, "sentiment", ROWS[:1], 2, **{"tuned": "adapted", **SMALL})["methods"]:
        assert row["mean_gold"] == -1


@pytest.mark.parametrize("label", [["x"], 1])
def test_a_label_that_is_no_text_is_told_before_the_work(tiny, monkeypatch, label):
    monkeypatch.setattr(tiny, "each", None)
    with pytest.raises(UserError, match=r"label.*is no text"):
        evaluate_guidance(tiny, "harmless", [{"prompt": "the fox", "label": label}], 1, **SMALL)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"gold": "value_sentiment"}, "value_sentiment asks what guides.*let another one judge"),
        ({"gold": "value_sentiment(model=value_sentiment)"}, "asks what guides"),
        ({"gold": "value_harmless(model=value_sentiment)"}, "asks what guides"),
        ({"gold": "implicit(tuned=adapted)"}, "asks what guides"),
        ({"gold": "mean_log_prob(under=0.5*reference+0.5*adapted)"}, "asks what guides"),
        ({"scorer": "vader"}, "vader asks what guides"),
        ({"gold": "nobody"}, "no scorer 'nobody'"),
        ({"tuned": "nobody"}, "no variant 'nobody'"),
        ({"chunk": 0}, "chunk.*0.*1"),
        ({"width": 16, "successors": 32}, "n.*512.*32"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tiny, monkeypatch, options, words):
    monkeypatch.setattr(tiny, "each", None)
    with pytest.raises(UserError, match=words):
        evaluate_guidance(tiny, "sentiment", ROWS, 1, **{"tuned": "adapted", **options})


def test_a_task_that_nothing_is_shipped_for_says_so(tiny):
    with pytest.raises(UserError, match=r"summary.*--tuned and --scorer"):
        evaluate_guidance(tiny, "summary", ROWS, 1)


def test_each_task_has_a_prompt_and_a_judge_that_does_not_guide():
    assert guidance.TASKS.keys() == TASKS.keys()
    assert all("{text}" in prompt for prompt in TASKS.values())
    assert prompt_of("harmless", "a {text} {x}") == "a {text} {x}"
    for task in guidance.TASKS.values():
        assert task.gold != task.scorer
        if task.tuned and task.scorer:
            assert list(lanes_of(task.tuned, task.scorer)) == NAMES


def test_the_interval_is_that_of_the_prompts():
    golds = np.array([[0.0, 2.0], [1.0, 1.0]])
    assert interval(golds) == {"mean_gold": 1, "low": 1, "high": 1}, "seeds are averaged first"
    wide = interval(np.array([[0.0], [1.0]] * 50))
    assert 0.35 < wide["low"] < 0.45 < wide["mean_gold"] < 0.55 < wide["high"] < 0.65


def test_bigrams_are_counted_over_all_texts():
    assert distinct(["a b a b", "A b"]) == 2 / 4
    assert distinct(["word", ""]) is None


def test_the_same_rows_are_drawn_each_time_from_all_of_the_file():
    rows = [{"prompt": str(n)} for n in range(100)]
    some = drawn(rows, 10)
    assert some == drawn(rows, 10) and len(some) == 10
    assert [int(row["prompt"]) for row in some] == sorted(int(row["prompt"]) for row in some)
    assert int(some[-1]["prompt"]) > 50
    assert drawn(rows, None) == drawn(rows, 100) == rows


def test_the_command_prints_json_and_words(tiny_catalogue, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    command = ["evaluate", "ivg", "--task", "harmless", "--data", str(path), "--limit", "2", "--seeds", "1"]
    small = ["--width", "1", "--successors", "2", "--chunk", "2", "--max-new-tokens", "4", "--weight", "2"]
    assert cli.main([*command, *small, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 2 and "weight=2" in found["methods"][-1]["lane"]
    assert cli.main([*command, *small]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("harmless: 2 prompts, judged by refusal\nbase ")
    assert cli.main([*command, "--gold", "value_harmless"]) == 2
    assert "asks what guides" in capsys.readouterr().err
    assert cli.main([*command, "--seeds", "0"]) == 2
    assert "--seeds is 0; give at least 1" in capsys.readouterr().err
