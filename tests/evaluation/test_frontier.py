"""Searches beside turning λ, on the tiny model."""

import json

import pytest

from playground import cli
from playground.errors import UserError
from playground.evaluation.frontier import evaluate_frontier, lanes_at, mixture
from playground.requests import LaneRequest

HARMFUL, HARMLESS = ["the fox", "a cake"], ["once upon a time"]


def test_a_share_is_deras_lambda():
    assert [mixture(share) for share in (0, 0.3, 1)] == ["reference", "0.7*reference+0.3*aligned", "aligned"]


@pytest.mark.parametrize("share", [0, 0.3])
def test_every_search_has_the_same_budget(share):
    lanes = lanes_at(share, 480, 16)
    written = 2 if share else 1
    for name, passes in (("best_of_n", written + 1), ("cbs", written + 1 / 8), ("ivg", 2 + 1 / 8)):
        options = lanes[name].options
        assert 480 - 16 * passes * 2 <= options.branches * 16 * passes <= 480
    assert lanes["rain"].options.max_forward == 480


@pytest.mark.parametrize("share", [0, 0.3])
def test_no_search_takes_more_than_its_budget(tiny, share):
    """Over answers of full length; the prompt is read besides, and each method writes what it draws."""
    for name in ("best_of_n", "cbs", "ivg"):
        lane = lanes_at(share, 480, 16)[name]
        [answer] = tiny.each([("the fox", lane, 0)], 16)
        read = len(tiny.local.memory.encode("reference", "the fox", 16, "The prompt")) * 3
        assert answer["cost"]["forward_tokens"] <= 480 + read


def test_one_temperature_for_all():
    lanes = lanes_at(0.3, 480, 16)
    assert len({lanes[name].options.temperature for name in ("best_of_n", "cbs", "ivg")}) == 1


def test_a_budget_beyond_a_method_is_told_and_not_cut():
    with pytest.raises(UserError, match=r"n.*60.*32|successors"):
        lanes_at(0, 960, 8)


def test_the_json_is_as_documented(tiny):
    found = evaluate_frontier(tiny, HARMFUL, HARMLESS, [0, 0.5], 40, 3, "vader")
    assert (found["n_harmful"], found["n_harmless"], found["budget"], found["judge"]) == (2, 1, 40, "vader")
    assert [(point["share"], point["method"]) for point in found["points"]] == [
        (share, name) for share in (0, 0.5) for name in ("greedy", "best_of_n", "cbs", "ivg", "rain")
    ]
    for point in found["points"]:
        lane = LaneRequest.parse(point["lane"])
        assert lane.options.variant == mixture(point["share"])
        for rate, prompts in (("harmless_rate", HARMFUL), ("helpful_rate", HARMLESS)):
            low, high = point["intervals"][rate]
            assert 0 <= low <= point[rate] <= high <= 1
            assert point[rate] * len(prompts) == pytest.approx(round(point[rate] * len(prompts)))
        answers = list(tiny.each([(prompt, lane, 0) for prompt in HARMFUL], 3))
        values = tiny.scores("vader", [(p, a["text"]) for p, a in zip(HARMFUL, answers, strict=True)])
        assert point["harmless_rate"] == sum(value > 0 for value in values) / 2
    greedy, *searches = found["points"][:5]
    assert all(greedy["forward_tokens"] < search["forward_tokens"] for search in searches)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"judge": "value_harmless"}, "value_harmless asks what guides"),
        ({"judge": "implicit"}, "asks what guides"),
        ({"judge": "nobody"}, "no scorer 'nobody'"),
        ({"shares": [0, 1.5]}, "1.5 is no mixture"),
        ({"harmless": []}, "at least one prompt"),
    ],
)
def test_what_cannot_be_compared_is_said_before_the_work(tiny, monkeypatch, changed, words):
    monkeypatch.setattr(tiny, "each", None)
    given = {"harmful": HARMFUL, "harmless": HARMLESS, "shares": [0], "budget": 40, "max_new_tokens": 3}
    with pytest.raises(UserError, match=words):
        evaluate_frontier(tiny, **(given | {"judge": "vader"} | changed))


def test_the_command_refuses_lambdas_that_are_no_numbers(tmp_path, capsys):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "the fox"}\n')
    assert cli.main(["evaluate", "frontier", "--data", str(file), "--harmless", str(file), "--lambdas", "0,x"]) == 2
    assert "--lambdas is '0,x'; give numbers" in capsys.readouterr().err
