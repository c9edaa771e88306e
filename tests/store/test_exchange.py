"""Runs as files: what is written is read back; what is damaged is told."""

import gzip
import json

import gradio as gr
import pytest

from playground.errors import UserError
from playground.service import Playground
from playground.settings import Settings
from playground.store.exchange import read_run, recorded_runs, write_run
from playground.ui.board import snapshot
from playground.ui.history import HistoryTab

RAIN = "rain:scorer=vader,max_inner=3,candidates=3,simulate=2"


@pytest.fixture(scope="module")
def content(tiny, request_of):
    result = tiny.compare(
        request_of("dera:lambda_=0.5", RAIN, prompt="the fox", max_new_tokens=6, earlier=[("Hi", "Ho")])
    )
    return tiny.archive.write(result["id"])


def test_a_run_comes_back_as_it_was_in_another_place(tiny, tiny_catalogue, content):
    other = Playground(Settings(catalogue=tiny_catalogue, database=":memory:"))
    run_id = other.archive.read(content, "me")
    assert other.archive.read(gzip.compress(content), "me") == run_id, "the same file is the same run"
    there, here = other.open_run(run_id), json.loads(content)["run"]
    assert {k: v for k, v in there.items() if k not in ("id", "origin", "notice")} == {
        k: v for k, v in here.items() if k not in ("id", "origin")
    }
    assert [run["id"] for run in other.archive.recent("me")] == [run_id]
    assert not other.memory.are_ready("reference"), "no model was needed"
    other.close()


def test_opening_a_saved_run_where_it_was_made_opens_that_run(tiny, content):
    before = [run["id"] for run in tiny.archive.recent(None)]
    assert tiny.archive.read(content, "me") == json.loads(content)["run"]["id"]
    assert [run["id"] for run in tiny.archive.recent(None)] == before, "it is not listed twice"
    forged = json.loads(content)
    forged["run"]["prompt"] = "another"
    assert tiny.archive.read(json.dumps(forged).encode(), "me") not in before


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
        ((*STEPS, 1, "children", 0, "id"), 0, "lane 2"),
        ((*STEPS, 0, "kind"), 5, "lane 2"),
        ((*STEPS, 0, "path"), [99999], "lane 2"),
        ((*STEPS, 1, "children"), "abc", "lane 2"),
        (("run", "lanes", 0, "detail", "tokens", 0, "text"), "\ud800", "half a character"),
    ],
)
def test_damage_is_told_where_it_is(content, path, value, words):
    with pytest.raises(UserError, match=words):
        read_run(change(content, path, value), "me")


def beams(**changes):
    """A run of a method that no version has yet: a search by beams, a value for every token, a confidence."""
    child = {"text": "a", "tokens": [1, 2], "prior": 0.5, "ended": False}
    steps = [
        {"kind": "expand", "node": 0, "children": [{"id": n, **child} for n in (1, 2, 3)], "priors": [[1, 0.5]]},
        {"kind": "evaluate", "node": 1, "text": "a", "value": 0.7},
        {"kind": "keep", "nodes": [1, 3]},
        {"kind": "take", "path": [1]},
    ]
    detail = {
        "tokens": [
            {"id": 1, "text": "a", "node": 1, "implicit_value": -0.2, "top": [{"id": 1, "text": "a", "base": 0.5}]}
        ],
        "colour": {"number": "implicit_value", "title": "implicit value", "full": 2.0, "sign": 1},
        "candidates": [
            {"text": "a", "token_ids": [1], "finish_reason": "end", "p_correct": 0.4, "log_likelihood": -2.0}
        ],
        "tree": {"steps": steps, "shape": "beams"},
        "confidence": 0.4,
        "withheld": "a",
        **changes,
    }
    cost = {"generated_tokens": 1, "forward_tokens": 1, "forward_passes": 1, "seconds": 0.1}
    lane = {"method": "greedy", "status": "done", "options": {}, "begin": [7], "models": {}, "text": "a", "error": None}
    lane |= {"token_ids": [1], "finish_reason": "end", "cost": cost, "detail": detail}
    run = {
        "id": "x",
        "created": "2026-11-25T10:00:00.000+00:00",
        "origin": "me",
        "prompt": "Hi",
        "system": "",
        "seed": 0,
    }
    run |= {"max_new_tokens": 9, "stop": [], "earlier": [], "status": "done", "software": "x", "lanes": [lane]}
    return json.dumps({"format": "realign-playground run 1", "run": run}).encode()


def test_records_of_methods_to_come_are_read_whole(tiny):
    run = read_run(beams(), "me")
    told = json.loads(beams())["run"]["lanes"][0]
    assert json.loads(json.dumps(run["lanes"][0])) == told
    opened = tiny.open_run(tiny.archive.read(beams(), "me"))
    assert opened["lanes"][0] == told


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": [{"id": 1, "text": "a", "value": "much"}]},
        {"tokens": [{"id": 1, "text": "a", "node": 9}]},
        {"candidates": [{"text": "a", "token_ids": [1], "finish_reason": "end", "p_correct": "yes"}]},
        {"colour": {"number": "x", "title": "x", "full": 0, "sign": 1}},
        {"tree": {"steps": [{"kind": "keep", "nodes": [4]}]}},
        {"tree": {"steps": [], "shape": "spiral"}},
    ],
)
def test_damaged_records_of_methods_to_come_are_told(changes):
    with pytest.raises(UserError, match="lane 1"):
        read_run(beams(**changes), "me")


def test_a_run_with_a_method_or_options_of_another_version_is_told(tiny, content):
    with pytest.raises(UserError, match="no method 'magic'"):
        tiny.archive.read(change(content, ("run", "lanes", 0, "method"), "magic"), "me")
    with pytest.raises(UserError, match="lambda_ is 'x'"):
        tiny.archive.read(change(content, ("run", "lanes", 0, "options", "lambda_"), "x"), "me")


@pytest.mark.parametrize("fork", [{"lane": 0, "at": 0}, {"lane": 7, "at": 0}, {"lane": 1, "at": 2}])
def test_a_lane_that_goes_on_from_nowhere_is_told(fork):
    told = json.loads(beams(fork=fork))
    told["run"]["lanes"].append(json.loads(beams())["run"]["lanes"][0])
    with pytest.raises(UserError, match="where lane 1 goes on from"):
        read_run(json.dumps(told).encode(), "me")


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_cut_off_file_is_told(content, cut):
    with pytest.raises(UserError, match="not a saved run"):
        read_run(content[:cut], "me")
    with pytest.raises(UserError, match="not a saved run"):
        read_run(gzip.compress(content)[:cut], "me")


def test_the_recorded_runs_are_whole():
    for run in recorded_runs().values():
        assert read_run(write_run(run), "recorded")["lanes"] == run["lanes"]


@pytest.mark.parametrize("options", [[], "x", {"begin": "9" * 5000}, {"begin": "²"}])
def test_odd_options_of_an_earlier_version_are_told_or_left(content, options):
    told = json.loads(content)
    lane = told["run"]["lanes"][0]
    del lane["begin"], lane["detail"]["colour"]
    lane["options"] = options
    try:
        run = read_run(json.dumps(told).encode(), "me")
    except UserError as error:
        assert "damaged" in str(error)
    else:
        assert run["lanes"][0]["begin"] == []


@pytest.mark.parametrize("number", ["text", "top", "flips", "nothing"])
def test_a_colour_that_names_no_number_colours_nothing(content, number):
    run = read_run(change(content, ("run", "lanes", 0, "detail", "colour", "number"), number), "me")
    assert not any(snapshot(run)["lanes"][0]["heat"])


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("run", "prompt"), "x" * 60_001, "60,001 characters"),
        (("run", "lanes", 0, "text"), "x" * 60_001, "60,001 characters"),
        (("run", "lanes", 0, "token_ids"), [1] * 4097, "4,097 tokens"),
        (("run", "earlier"), [["x" * 60_001, "y"]], "60,001 characters"),
    ],
)
def test_a_run_that_no_server_could_have_made_is_refused(content, path, value, words):
    with pytest.raises(UserError, match=words):
        read_run(gzip.compress(change(content, path, value)), "me")


def test_a_small_file_that_unpacks_to_much_is_refused(content):
    with pytest.raises(UserError, match="larger than 24 MiB"):
        read_run(gzip.compress(change(content, ("run", "prompt"), "x" * (25 << 20))), "me")


def test_the_list_of_runs_reads_no_more_than_it_shows(tiny, content):
    tiny.archive.read(change(content, ("run", "prompt"), "long " * 5000), "list")
    assert [len(run["prompt"]) for run in tiny.archive.recent("list")] == [300]


def test_an_uploaded_file_goes_after_use(tiny, content, tmp_path):
    for name, what in (("good", content), ("bad", b"x")):
        (tmp_path / name).write_bytes(what)
    with gr.Blocks():
        tab = HistoryTab(tiny, gr.BrowserState(""), lambda visitor: "me")
    tab.take(str(tmp_path / "good"), "")
    with pytest.raises(UserError):
        tab.take(str(tmp_path / "bad"), "")
    assert not list(tmp_path.iterdir())
