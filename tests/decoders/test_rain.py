"""RAIN on scripted models and scripted values: what is committed, what is said, what is never done twice."""

import json
import math

import pytest
import torch

from playground.bench import by_our_kernels, by_transformers, plainly
from playground.decoders import DECODERS
from playground.errors import UserError
from playground.models.loading import load_model, pick_device
from playground.requests import LaneRequest
from playground.scorers import SCORERS
from playground.scorers.base import Scorer, Verdict
from playground.service import Playground
from playground.settings import Settings
from tests.fakes import END, VOCABULARY, random_script, run

SMALL = {"lengths": "1 2", "candidates": 4, "simulate": 4, "max_inner": 12, "min_visits": 2}


def scripted_scorer(monkeypatch, value_of):
    """Every text gets `value_of(text)`; returns the list of texts in the order in which they were judged."""
    judged = []

    def score(lane, writer, answers, options):
        judged.extend(answer.text for answer in answers)
        return [Verdict(value_of(answer.text), {"orders": []}) for answer in answers]
        yield

    monkeypatch.setitem(SCORERS, "vader", Scorer("vader", "scripted", score))
    return judged


def two_ways(variant, ids):
    """A model that writes "ok." with probability 1/4 and "no." else, then ends."""
    logits = torch.full((len(VOCABULARY),), -9.0)
    if not ids:
        logits[VOCABULARY.index("n")], logits[VOCABULARY.index("o")] = math.log(0.75), math.log(0.25)
    else:
        word = "no." if ids[0] == VOCABULARY.index("n") else "ok."
        logits[VOCABULARY.index(word[len(ids)]) if len(ids) < 3 else END] = 0.0
    return logits.log_softmax(-1)


def rain(script, **options):
    return run(DECODERS["rain"], {"scorer": "vader", **SMALL, **options}, script, max_new_tokens=8)


def test_the_bad_branch_is_left_and_the_good_one_committed(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: 1.0 if text.startswith("ok") else -1.0)
    lane = rain(two_ways)
    assert lane.answer.text == "ok."
    commits = [step for step in lane.detail["tree"]["steps"] if step["kind"] == "commit"]
    assert commits[0]["rewind"] is True, "the model alone would have said no"
    assert "warning" not in lane.detail


def test_the_model_gets_its_way_where_all_is_good(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: 1.0)
    lane = rain(two_ways)
    assert lane.answer.text == "no."
    assert not any(step.get("rewind") for step in lane.detail["tree"]["steps"])


def test_no_text_is_judged_twice(monkeypatch):
    judged = scripted_scorer(monkeypatch, lambda text: len(text) % 3 - 1.0)
    lane = rain(random_script(3))
    assert len(judged) == len(set(judged)) == lane.detail["tree"]["evaluations"]


def test_where_all_is_bad_the_least_bad_is_taken_and_said(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: -0.1 if text.startswith("ok") else -1.0)
    lane = rain(two_ways, max_inner=30)
    assert lane.answer.text == "ok."
    assert "taken as the least bad" in lane.detail["warning"]


def test_where_all_is_good_but_seldom_looked_at_nothing_is_warned_of(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: 1.0)
    assert "warning" not in rain(two_ways, max_inner=2, min_visits=50).detail


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_said(monkeypatch, value):
    scripted_scorer(monkeypatch, lambda text: value)
    with pytest.raises(UserError, match="vader gave"):
        rain(two_ways)


@pytest.mark.parametrize("limit", [{"max_nodes": 6}, {"max_seconds": 1e-9}])
def test_budgets_end_the_search_with_the_best_so_far(monkeypatch, limit):
    scripted_scorer(monkeypatch, lambda text: 0.0)
    script = random_script(1)
    lane = run(DECODERS["rain"], {"scorer": "vader", **SMALL, **limit}, script, max_new_tokens=8)
    assert lane.answer.finish_reason == "budget"
    assert "limit" in lane.detail["warning"]


def test_the_detail_is_plain_data_and_every_token_knows_its_node(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: 1.0 if text.startswith("ok") else -1.0)
    lane = rain(two_ways)
    tree = json.loads(json.dumps(lane.detail))["tree"]
    nodes = {node["id"]: node for node in tree["nodes"]}
    assert {"id", "parent", "text", "prior", "visits", "value"} <= set(nodes[1])
    assert [token for n in tree["committed"] for token in nodes[n]["tokens"]] == lane.answer.token_ids
    for record in lane.detail["tokens"]:
        assert record["id"] in nodes[record["node"]]["tokens"]
    for node in tree["nodes"][1:]:
        assert node["id"] in [child["id"] for s in tree["steps"] for child in s.get("children", [])]


def test_segments_are_as_long_as_their_depth_says(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: -1.0)
    lane = rain(random_script(7), lengths="1 2 3", max_inner=20)
    tree = lane.detail["tree"]
    first_root = []
    for step in tree["steps"]:
        if step["kind"] == "commit":
            break
        first_root.append(step)
    depth = {0: 0}
    for step in first_root:
        for child in step.get("children", []):
            depth[child["id"]] = depth[step["node"]] + 1
            wanted = [1, 2, 3][min(depth[step["node"]], 2)]
            assert len(child["tokens"]) == wanted or child["ended"]


def test_further_candidates_are_as_long_as_their_siblings_below_every_root(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: -1.0)
    widened = roots = 0
    for salt in range(4):
        tree = rain(random_script(salt), lengths="1 2 3", max_inner=25, widen_below=10).detail["tree"]
        nodes, at = {node["id"]: node for node in tree["nodes"]}, set()
        for step in tree["steps"]:
            if step["kind"] == "commit":
                roots += 1
            if step["kind"] == "widen":
                at.add(roots)
                [new] = step["children"]
                lengths = {
                    len(n["tokens"]) for n in nodes.values() if n["parent"] == step["node"] and n["id"] < new["id"]
                }
                assert len(new["tokens"]) == max(lengths) or new["ended"]
        widened += len(at)
    assert widened > 4, "more than the first root was looked at"


def test_several_leaves_a_batch_find_the_good_branch_too(monkeypatch):
    scripted_scorer(monkeypatch, lambda text: 1.0 if text.startswith("ok") else -1.0)
    assert rain(two_ways, leaves=4).answer.text == "ok."


def test_graded_values_are_asked_for(monkeypatch):
    def graded(lane, writer, answers, options):
        return [0.25 for _ in answers]
        yield

    scripted_scorer(monkeypatch, lambda text: 1.0)
    monkeypatch.setitem(SCORERS, "vader", Scorer("vader", "scripted", SCORERS["vader"].run, soft=graded))
    values = {s["value"] for s in rain(two_ways, soft=True).detail["tree"]["steps"] if s["kind"] == "evaluate"}
    assert values == {0.25}


@pytest.mark.parametrize("lengths", ["", "1 two", "0", "1 99"])
def test_wrong_lengths_are_said(lengths):
    with pytest.raises(UserError, match="whole numbers"):
        LaneRequest(method="rain", options={"lengths": lengths})


def test_a_budget_of_forward_tokens_ends_the_search(tiny, request_of):
    [lane] = tiny.compare(request_of("rain:scorer=vader,max_forward=40", prompt="the fox", max_new_tokens=8))["lanes"]
    assert lane["finish_reason"] == "budget"
    assert "its limit is 40" in lane["detail"]["warning"]


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_the_plain_way_builds_the_same_tree(tiny_catalogue, request_of, precision):
    """The oracle: every text alone and from its beginning, nothing cached; in fp32 through transformers' own forward
    pass, in int4 through our kernels, where the numbers must be the same to the last bit."""
    playground = Playground(Settings(catalogue=tiny_catalogue, database=":memory:", precision=precision))
    options = "max_inner=3,candidates=4,simulate=4,soft=true,scorer=self_eval,max_seconds=600"
    request = request_of(f"rain:{options}", prompt="the fox", max_new_tokens=5, seed=3)
    [ours] = playground.compare(request)["lanes"]
    model = playground.catalogue.models["tiny"]
    if precision == "fp32":
        way, near = by_transformers(load_model("tiny", model, tiny_catalogue.parent, pick_device("cpu"), "fp32")), 1e-3
    else:
        way, near = by_our_kernels(playground.engine), 0
    work = playground.prepare(request, request.lanes[0])
    forward = plainly(work.asking(), way, playground.engine.readers)
    playground.close()
    assert work.lane.detail["tree"]["committed"] == ours["detail"]["tree"]["committed"]
    assert [n["tokens"] for n in work.lane.detail["tree"]["nodes"]] == [
        n["tokens"] for n in ours["detail"]["tree"]["nodes"]
    ]
    assert [n["visits"] for n in work.lane.detail["tree"]["nodes"]] == pytest.approx(
        [n["visits"] for n in ours["detail"]["tree"]["nodes"]], abs=near
    )
    assert forward > 2 * ours["cost"]["forward_tokens"]
