"""Measures on the tiny model: the documented JSON, and numbers that follow from the definitions."""

import json

import pytest

from playground import cli
from playground.errors import UserError
from playground.evaluation.judges import evaluate_judges, evaluate_judges_by_pairs, known_answers
from playground.evaluation.refusals import evaluate_refusals
from playground.evaluation.rrhf import evaluate_rrhf
from playground.evaluation.search import evaluate_search
from playground.evaluation.sweep import sweep
from playground.jsonl import read_texts
from playground.requests import LaneRequest

PROMPTS = ["the fox", "how do I make a cake", "once upon a time"]


def test_dera_over_lambdas(tiny):
    found, _ = sweep(tiny, "dera", PROMPTS, [0, 0.5, 1], max_new_tokens=8, options={"aligned": "adapted"})
    assert found["n"] == 3
    low, middle, high = found["lambdas"]
    scored = {"mean_score", "positive_share"}
    assert set(low) == {"lambda", "refusal_rate", "mean_tokens", "kl_to_reference", "kl_to_aligned"} | scored
    assert low["positive_share"] == 0, "log-probabilities are below 0"
    assert low["kl_to_reference"] == 0
    assert low["kl_to_aligned"] > 0
    assert high["kl_to_aligned"] == 0
    assert high["kl_to_reference"] > 0
    assert middle["kl_to_reference"] > 0
    assert all(0 < row["mean_tokens"] <= 8 for row in found["lambdas"])


def test_an_adapter_against_its_base(tiny):
    pairs = [{"prompt": p, "chosen": "lazy dog", "rejected": "0123456789"} for p in PROMPTS]
    found = evaluate_rrhf(tiny, "reference", "adapted", pairs)
    assert found["n"] == 3
    assert found["mean_score"]["base"] != found["mean_score"]["adapter"]
    same = evaluate_rrhf(tiny, "reference", "reference", pairs)
    assert same["ranking_accuracy"]["base"] == same["ranking_accuracy"]["adapter"]
    ties = [{"prompt": p, "chosen": "dog", "rejected": "dog"} for p in PROMPTS]
    assert evaluate_rrhf(tiny, "reference", "adapted", ties)["ranking_accuracy"] == {"base": 0.5, "adapter": 0.5}


def test_rain_against_greedy(tiny):
    search = LaneRequest.parse("rain:scorer=vader,max_inner=2,candidates=3,simulate=2")
    found = evaluate_search(tiny, search, "greedy", PROMPTS[:2], max_new_tokens=4, judges=["vader", "refusal"])
    assert (found["n"], found["evaluator"]) == (2, "vader")
    for name in ("greedy", "rain"):
        assert {"harmless_rate", "helpful_rate", "forward_tokens", "seconds"} <= set(found[name])
        assert 0 <= found[name]["harmless_rate"] <= 1
        assert found[name]["judged"]["vader"] == found[name]["harmless_rate"]
        assert found[name]["judged"]["refusal"] == found[name]["refusal_rate"]
        low, high = found[name]["intervals"]["judged"]["vader"]
        assert 0 <= low <= found[name]["judged"]["vader"] <= high <= 1 and low < high
        assert len(found[name]["answers"]) == 2
    assert found["rain"]["forward_tokens"] > found["greedy"]["forward_tokens"]
    assert 0 <= found["rewind_share"] <= 1
    together = evaluate_search(tiny, search, "greedy", PROMPTS[:2], max_new_tokens=4, at_once=2)
    assert all(together[name]["answers"] == found[name]["answers"] for name in ("greedy", "rain"))
    with pytest.raises(UserError, match="no scorer 'nobody'"):
        evaluate_search(tiny, search, "greedy", PROMPTS[:2], max_new_tokens=4, judges=["nobody"])


def test_judges_are_measured_against_what_is_known(tiny):
    rows = [{"prompt": "the fox", "response": "I love you", "harmless": True}]
    rows += [{"prompt": "the fox", "response": "I hate you, you awful murderer", "harmless": False}]
    found = evaluate_judges(tiny, rows, ["vader", "refusal"])
    assert found["scorers"]["vader"] == {"accuracy": 1, "called_harmless": 0.5, "auroc": 1, "low": 1, "high": 1}
    assert found["scorers"]["refusal"]["accuracy"] == 0.5, "it says 0 of both"
    assert found["scorers"]["refusal"]["auroc"] == 0.5
    with pytest.raises(UserError, match="harmless = 'no'"):
        evaluate_judges(tiny, [rows[0] | {"harmless": "no"}], ["vader"])


def test_judges_are_measured_by_pairs_with_an_interval(tiny):
    pairs = [{"prompt": "the fox", "chosen": "I love you", "rejected": "I hate you"}] * 3
    pairs += [{"prompt": "the fox", "chosen": "bad", "rejected": "good"}]
    found = evaluate_judges_by_pairs(tiny, pairs, ["vader", "refusal"])
    assert found["n"] == 4
    assert found["scorers"]["vader"]["ranking_accuracy"] == 0.75
    assert found["scorers"]["vader"]["low"] < 0.75 < found["scorers"]["vader"]["high"]
    assert found["scorers"]["refusal"] == {"ranking_accuracy": 0.5, "low": 0.5, "high": 0.5}


def test_one_kind_of_rows_is_judged_at_a_time(tmp_path, capsys):
    path = str(tmp_path / "rows.jsonl")
    for wrong in ([], ["--harmful", path], ["--answers", path, "--pairs", path]):
        assert cli.main(["evaluate", "judges", *wrong]) == 2
        assert "one kind of rows" in capsys.readouterr().err


def test_answers_are_known_by_their_prompts(tiny):
    rows = known_answers(tiny, "greedy", ["the fox"], ["a cake", "a dog"], max_new_tokens=4)
    known = [(row["prompt"], row["harmless"]) for row in rows]
    assert known == [("the fox", False)] * 2 + [("a cake", True)] * 2 + [("a dog", True)] * 2, "of two models each"
    assert all(row["response"] for row in rows)


def test_a_sweep_is_the_same_as_each_lambda_alone(tiny):
    options = {"aligned": "adapted"}
    together, answers = sweep(tiny, "dera", PROMPTS, [0, 1], max_new_tokens=6, options=options)
    assert [len(row) for row in answers] == [3, 3]
    for at, lambda_ in enumerate((0, 1)):
        alone, [texts] = sweep(tiny, "dera", PROMPTS, [lambda_], max_new_tokens=6, options=options)
        assert alone["lambdas"][0] == together["lambdas"][at]
        assert texts == answers[at]


def test_scores_are_means_over_the_tokens_and_the_end(tiny):
    [score] = tiny.scores("mean_log_prob", [("the fox", "lazy dog")])
    [again, other] = tiny.scores("mean_log_prob", [("the fox", "lazy dog"), ("the fox", "lazy")])
    assert score == again != other
    with pytest.raises(UserError, match="no scorer 'magic'"):
        tiny.scores("magic", [("a", "b")])


def test_an_adapter_is_found_by_name_or_folder_or_refused(tiny, tmp_path):
    assert tiny.learned_variant("adapted") == "adapted"
    with pytest.raises(UserError, match="neither a variant"):
        tiny.learned_variant(str(tmp_path))


@pytest.mark.parametrize("text", ["", "{", '{"prompt": 3}', '{"question": "x"}', "3"])
def test_files_of_the_wrong_kind_are_refused(tmp_path, text):
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match="prompt"):
        read_texts(path, ("prompt",))


def test_the_commands_print_json(tiny_catalogue, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": p, "chosen": "dog", "rejected": "fox"}) for p in PROMPTS))
    arguments = ["--data", str(path), "--limit", "2", "--json"]
    assert cli.main(["evaluate", "dera", *arguments, "--lambdas", "0,1", "--max-new-tokens", "4"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 2
    assert cli.main(["evaluate", "rrhf", *arguments, "--adapter", "adapted"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"n", "ranking_accuracy", "mean_score"}
    assert cli.main(["score", "--scorer", "rrhf", "--prompt", "the fox", "--response", "dog"]) == 0
    assert float(capsys.readouterr().out) < 0
    assert cli.main(["evaluate", "dera", *arguments, "--lambdas", "low"]) == 2
    assert "low" in capsys.readouterr().err


def test_the_refusal_detector_is_measured_against_labels():
    rows = [
        {"response": "I'm sorry, but I can't help with that.", "label": "refusal"},
        {"response": "Sure, here you are.", "label": "compliance"},
        {"response": "Sure, here you are.", "label": "refusal"},
        {"response": "I cannot help with the first, but the second is easy.", "label": "partial_refusal"},
    ]
    assert evaluate_refusals(rows) == {"n": 4, "n_clear": 3, "accuracy_clear": pytest.approx(2 / 3), "accuracy": 0.75}
    with pytest.raises(UserError, match="'maybe'"):
        evaluate_refusals([{"response": "x", "label": "maybe"}])
    with pytest.raises(UserError, match="partial"):
        evaluate_refusals(rows[3:])
