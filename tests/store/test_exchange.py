"""Runs as files: what is written is read back; what is damaged is told."""

import gzip
import json

import pytest

from playground.errors import UserError
from playground.service import Playground
from playground.settings import Settings
from playground.store.exchange import read_run, recorded_runs, write_run

RAIN = "rain:scorer=vader,max_inner=3,candidates=3,simulate=2"


@pytest.fixture(scope="module")
def content(tiny, request_of):
    result = tiny.compare(
        request_of("dera:lambda_=0.5", RAIN, prompt="the fox", max_new_tokens=6, earlier=[("Hi", "Ho")])
    )
    return tiny.export_run(result["id"])


def test_a_run_comes_back_as_it_was_in_another_place(tiny, tiny_catalogue, content):
    other = Playground(Settings(catalogue=tiny_catalogue, database=":memory:"))
    run_id = other.import_run(content, "me")
    assert other.import_run(gzip.compress(content), "me") == run_id, "the same file is the same run"
    there, here = other.open_run(run_id), json.loads(content)["run"]
    assert {k: v for k, v in there.items() if k not in ("id", "origin", "notice")} == {
        k: v for k, v in here.items() if k not in ("id", "origin")
    }
    assert [run["id"] for run in other.recent("me")] == [run_id]
    assert not other.are_ready("reference"), "no model was needed"
    other.close()


def test_opening_a_saved_run_where_it_was_made_opens_that_run(tiny, content):
    before = [run["id"] for run in tiny.recent(None)]
    assert tiny.import_run(content, "me") == json.loads(content)["run"]["id"]
    assert [run["id"] for run in tiny.recent(None)] == before, "it is not listed twice"
    forged = json.loads(content)
    forged["run"]["prompt"] = "another"
    assert tiny.import_run(json.dumps(forged).encode(), "me") not in before


def change(content, path, value):
    told = json.loads(content)
    at = told
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return json.dumps(told).encode()


STEPS = ("run", "lanes", 1, "detail", "tree", "steps")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), "other", "not a saved run of this version"),
        (("run",), None, "damaged"),
        (("run", "prompt"), 5, "prompt is 5"),
        (("run", "seed"), "x", "seed is 'x'"),
        (("run", "created"), "<b>", "created"),
        (("run", "lanes"), [], "lanes"),
        (("run", "lanes", 0, "cost", "seconds"), -1, "seconds"),
        (("run", "lanes", 0, "status"), "running", "status"),
        (("run", "lanes", 0, "detail"), {}, "lane 1"),
        (("run", "lanes", 0, "detail", "tokens", 0, "flips"), [{"lambda": "x"}], "lane 1"),
        (("run", "seed"), 10**30, "seed"),
        (("run", "lanes", 0, "detail", "tokens", 0, "kl_to_reference"), "much", "lane 1"),
        (("run", "lanes", 1, "detail", "candidates"), "abc", "lane 2"),
        ((*STEPS, 0), {"kind": "expand", "node": 5, "children": [], "priors": []}, "lane 2"),
        ((*STEPS, 0, "children", 0, "id"), 0, "lane 2"),
        ((*STEPS, 0, "kind"), 5, "lane 2"),
        ((*STEPS, 1, "path"), [99999], "lane 2"),
        ((*STEPS, 0, "children"), "abc", "lane 2"),
    ],
)
def test_damage_is_told_where_it_is(content, path, value, words):
    with pytest.raises(UserError, match=words):
        read_run(change(content, path, value), "me")


def test_a_run_with_a_method_or_options_of_another_version_is_told(tiny, content):
    with pytest.raises(UserError, match="no method 'magic'"):
        tiny.import_run(change(content, ("run", "lanes", 0, "method"), "magic"), "me")
    with pytest.raises(UserError, match="lambda_ is 'x'"):
        tiny.import_run(change(content, ("run", "lanes", 0, "options", "lambda_"), "x"), "me")


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_cut_off_file_is_told(content, cut):
    with pytest.raises(UserError, match="not a saved run"):
        read_run(content[:cut], "me")
    with pytest.raises(UserError, match="not a saved run"):
        read_run(gzip.compress(content)[:cut], "me")


def test_the_recorded_runs_are_whole():
    for run in recorded_runs():
        assert read_run(write_run(run), "recorded")["lanes"] == run["lanes"]
        assert any(lane["detail"].get("tree") for lane in run["lanes"])
