"""Parts of the page without a browser: what the board is sent, what controls give back."""

import gradio as gr
import pytest

from playground.decoders import DECODERS, colour_of
from playground.errors import UserError
from playground.record import to_whole_sentences
from playground.requests import LaneRequest, RunRequest
from playground.scorers.refusal import refuses
from playground.store.exchange import read_run, recorded_runs
from playground.ui.board import snapshot
from playground.ui.cards import cards
from playground.ui.compare import LIGHT, LONGEST_UPDATE_SECONDS, UPDATE_SECONDS, pace
from playground.ui.controls import chosen
from playground.ui.errors import in_words
from playground.ui.examples import RECORDED
from playground.ui.lanes import (
    MOST_KEPT,
    as_requested,
    continued,
    dialled,
    edited,
    kept_policies,
    lane_of,
)
from playground.ui.opening import opening


def test_a_token_without_a_node_does_not_shift_the_nodes_of_others(tiny, request_of):
    lane = "rain:scorer=vader,max_inner=3,candidates=3,simulate=2"
    run = tiny.compare(request_of(lane, prompt="the fox", max_new_tokens=6))
    tokens = run["lanes"][0]["detail"]["tokens"]
    whole = [token["node"] for token in tokens]
    del tokens[1]["node"]
    assert snapshot(run)["lanes"][0]["nodes"] == [whole[0], None, *whole[2:]]


def test_an_emptied_text_is_no_default_and_an_emptied_number_is(tiny):
    schema = tiny.options_schema("rain")
    values = {name: field["default"] for name, field in schema["properties"].items()} | {"lengths": "", "top": None}
    options = chosen(schema, list(values.values()))
    assert "top" not in options
    with pytest.raises(UserError, match="lengths is ''"):
        LaneRequest(method="rain", options=options)


@pytest.fixture(scope="module")
def mixed(tiny, request_of):
    """A run of one lane that has a dial."""
    return tiny.compare(request_of("dera:lambda_=0.25", prompt="the fox", max_new_tokens=6))


def test_a_continuation_keeps_the_tokens_before_and_takes_the_other(mixed):
    lane = mixed["lanes"][0]
    other = next(c for c in lane["detail"]["tokens"][2]["top"] if c["id"] != lane["token_ids"][2])
    place, new = continued(mixed, {"lane": 0, "at": 2, "token": other["id"]}, None)
    assert place.lanes == ((lane, mixed["id"]),)
    assert place.known == tuple(lane["detail"]["tokens"][:2])
    assert (new["method"], new["options"]) == (lane["method"], lane["options"])
    assert list(new["begin"]) == [*lane["token_ids"][:2], other["id"]]
    assert new["begin_text"] == "".join(t["text"] for t in lane["detail"]["tokens"][:2]) + other["text"]


def test_a_continuation_at_another_setting_keeps_that_of_the_tokens_before(mixed):
    _, new = continued(mixed, {"lane": 0, "at": 2, "dial": 2}, None)
    assert list(new["begin"]) == mixed["lanes"][0]["token_ids"][:2]
    assert (new["options"]["lambda_"], new["options"]["schedule"]) == (2, "1-2:0.25")


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"lane": 9, "at": 0, "token": 1},
        {"lane": 0, "at": 99, "token": 1},
        {"lane": 0, "at": 0, "token": -5},
        {"lane": 0, "at": "x", "token": 1},
        {"lane": 0, "at": 0, "token": [1]},
        {"lane": 0, "at": 0, "dial": "much"},
        {"lane": -1, "at": 0, "dial": 1},
        {"lane": 0, "at": 0, "dial": 1, "beside": [["x", 0]]},
        {"lane": 0, "at": 0, "dial": 1, "beside": "xy"},
    ],
)
def test_nonsense_from_a_browser_is_no_continuation(mixed, asked):
    with pytest.raises(UserError, match="cannot be continued"):
        continued(mixed, asked, lambda run_id: mixed | {"id": run_id, "prompt": "another"})


def test_a_damaged_answer_is_not_continued(mixed):
    [lane] = mixed["lanes"]
    tokens = [token | {"id": 10**9} for token in lane["detail"]["tokens"]]
    damaged = mixed | {"lanes": [lane | {"detail": lane["detail"] | {"tokens": tokens}}]}
    with pytest.raises(UserError, match="cannot be continued"):
        continued(damaged, {"lane": 0, "at": 2, "dial": 1}, None)


def test_a_seventh_lane_is_refused_with_the_way_out(mixed):
    full = mixed | {"lanes": mixed["lanes"] * 6}
    with pytest.raises(UserError, match=r"6 lanes stand here.*Remove one"):
        continued(full, {"lane": 0, "at": 2, "dial": 1}, None)


def test_a_branch_stands_beside_lanes_that_are_not_written_again(tiny, request_of, mixed):
    ask = {name: mixed[name] for name in ("prompt", "system", "earlier", "seed", "max_new_tokens", "stop")}

    def branch(run, asked):
        place, lane = continued(run, asked, None)
        return tiny.start(RunRequest.checked(**ask, lanes=as_requested([lane])), continuation=place)

    first = branch(mixed, {"lane": 0, "at": 3, "dial": 2})
    known = mixed["lanes"][0]["detail"]["tokens"][:3]
    assert first.result()["lanes"][1]["detail"]["tokens"][:3] == known, "they are there at once"
    first.wait()
    once = first.result()
    old, new = once["lanes"]
    assert old == mixed["lanes"][0] | {"detail": {"written_in": mixed["id"]} | mixed["lanes"][0]["detail"]}
    assert new["detail"]["fork"] == {"lane": 0, "at": 3}
    assert new["detail"]["tokens"][:3] == known
    assert new["cost"]["generated_tokens"] == len(new["token_ids"]) - 3
    # A branch of the first lane comes right after it; the branch behind it still names its parent.
    again = branch(once, {"lane": 0, "at": 1, "dial": 0})
    again.wait()
    deeper = branch(again.result(), {"lane": 2, "at": 4, "dial": 1})
    deeper.wait()
    forks = [lane["detail"].get("fork") for lane in deeper.result()["lanes"]]
    assert forks == [None, {"lane": 0, "at": 1}, {"lane": 0, "at": 3}, {"lane": 2, "at": 4}]
    third = branch(deeper.result(), {"lane": 0, "at": 2, "dial": 3})
    third.wait()
    assert [lane["detail"].get("fork", {}).get("lane") for lane in third.result()["lanes"]] == [None, 0, 0, 0, 3]
    # It is kept, and comes back from a file as it was.
    assert tiny.ended_run(once["id"])["lanes"] == once["lanes"]
    assert read_run(tiny.archive.write(once["id"]), "me")["lanes"] == once["lanes"]


def test_a_method_has_one_colour_and_plain_words(mixed, tiny, request_of):
    run = tiny.compare(request_of("greedy", "dera", prompt="the fox", max_new_tokens=2))
    greedy, dera = snapshot(run)["lanes"]
    assert (greedy["hue"], dera["hue"]) == (colour_of("greedy"), colour_of("dera"))
    assert len({colour_of(name) for name in DECODERS}) == len(DECODERS)
    assert (greedy["colour"]["title"], dera["colour"]["title"]) == ("surprise", "drift from the unaligned model")
    assert "KL(" in dera["colour"]["meaning"]


def test_a_setting_is_kept_as_the_mixture_that_writes_there(mixed, tiny, request_of):
    assert dialled(mixed, {"lane": 0, "dial": 0.25}) == "0.75*reference+0.25*aligned"
    assert dialled(mixed, {"lane": 0, "dial": 1}) == "aligned"
    plain = tiny.compare(request_of("greedy", prompt="the fox", max_new_tokens=2))
    for run, asked in ((plain, {"lane": 0, "dial": 1}), (mixed, {"lane": 0}), (mixed, {"lane": 3, "dial": 1})):
        with pytest.raises(UserError, match="no setting"):
            dialled(run, asked)


def test_what_a_browser_says_it_keeps_is_read_anew():
    assert kept_policies(["0.5*a+0.5*b", "<script>", 5, None, "0.50*a + 0.5*b", "2*"]) == ["0.5*a+0.5*b"]
    assert kept_policies("0.5*a+0.5*b") == kept_policies(None) == []
    many = [f"0.5*a+{n}*b" for n in range(1, 40)]
    assert kept_policies(many) == many[-MOST_KEPT:]


def test_a_beginning_stays_the_same_tokens_until_its_text_is_changed():
    lane = lane_of(LaneRequest(method="greedy", begin=(3, 4)), "ab")
    assert edited(lane, lane["options"], "ab")["begin"] == (3, 4)
    assert edited(lane, lane["options"], "abc")["begin"] == "abc"
    assert edited(lane, lane["options"], "")["begin"] == ""


def a_handler(error):
    raise error


def a_generator(error):
    yield 1
    raise error


@pytest.mark.parametrize("handler", [in_words(a_handler), lambda error: list(in_words(a_generator)(error))])
def test_errors_of_handlers_are_sentences_and_what_nobody_foresaw_is_logged(handler, caplog):
    with pytest.raises(gr.Error) as caught:
        handler(UserError("<b> is wrong."))
    assert caught.value.message == "&lt;b&gt; is wrong." and not caplog.records
    with pytest.raises(gr.Error) as caught:
        handler(IndexError("tuple index"))
    assert caught.value.message == "Something went wrong; the server's log says what."
    [record] = caplog.records
    assert record.exc_info[0] is IndexError


def test_values_below_zero_reach_the_board(mixed):
    detail = mixed["lanes"][0]["detail"]
    colour = {"number": "value", "title": "value", "full": 1.0, "sign": 1}
    lane = mixed["lanes"][0] | {
        "detail": detail | {"colour": colour, "tokens": [{"id": 1, "text": "a", "value": -0.5}]}
    }
    assert snapshot(mixed | {"lanes": [lane]})["lanes"][0]["heat"] == [-0.5]


def test_an_abstention_reaches_the_board_with_the_withheld_answer(tiny, request_of):
    lanes = ("aspire:threshold=0,beams=2", "aspire:threshold=-99,beams=2", "greedy")
    run = tiny.compare(request_of(*lanes, prompt="the fox", max_new_tokens=4))
    withheld, given, greedy = snapshot(run)["lanes"]
    assert withheld["decision"]["abstained"] and withheld["finish"] == "abstained"
    assert withheld["decision"]["withheld"] == withheld["candidates"][0]["text"]
    assert (given["decision"]["threshold"], given["decision"]["abstained"]) == (-99, False)
    assert greedy["decision"] is None


def test_each_recorded_run_has_a_card_with_a_picture_and_how_its_answer_turned():
    runs = recorded_runs()
    assert list(RECORDED) and set(RECORDED) == set(runs)
    drawn = cards(runs, RECORDED)
    assert len(drawn) < 25_000
    for run in runs.values():
        assert f'href="?run={run["id"]}#play"' in drawn
    for kind in ("way", "arc", "token", "dot large"):
        assert f'<path class="{kind}' in drawn
    run = next(iter(runs.values()))
    hostile = {"x": run | {"id": '"><b>', "prompt": "<img src=x onerror=y>"}}
    hostile = cards(hostile, {"x": "<i>", "gone": "no such run"})
    assert hostile.count("<li>") == 2, "and the way to a battle"
    assert cards({}, RECORDED) == ""
    assert not any(tag in hostile for tag in ("<img", "<i>", '"><b>"'))


def test_recorded_answers_end_with_a_sentence_and_rewinding_changes_them():
    """But for the search whose card says that it fails."""
    rewound = 0
    for name, run in recorded_runs().items():
        for lane in run["lanes"]:
            if lane["options"].get("variant") != "answers":  # whose answers are a few words
                ends = (".", "!", "?", "”", '"') if lane is run["lanes"][-1] else (".", "!", "?", "”", '"', ":")
                assert lane["text"].rstrip().endswith(ends), (name, lane["method"])
        steps = [step for lane in run["lanes"] for step in (lane["detail"].get("tree") or {"steps": []})["steps"]]
        if "rain" in [lane["method"] for lane in run["lanes"]] and "fails" not in RECORDED[name]:
            rewound += 1
            assert any(step.get("rewind") for step in steps)
            assert run["lanes"][0]["text"] != run["lanes"][1]["text"]
            assert refuses(run["lanes"][1]["text"])
    assert rewound


def test_an_answer_that_hit_its_limit_is_cut_after_its_last_whole_sentence(tiny, request_of):
    run = tiny.compare(request_of("greedy", prompt="the fox", max_new_tokens=3))
    lane = run["lanes"][0]
    pieces = ["It is.", " Take 1.", " then"]
    lane["detail"]["tokens"] = [{"id": number, "text": text} for number, text in enumerate(pieces)]
    lane["token_ids"], lane["finish_reason"] = [0, 1, 2], "end"
    to_whole_sentences(lane)
    assert lane["token_ids"] == [0, 1, 2]
    lane["finish_reason"] = "length"
    to_whole_sentences(lane)
    assert (lane["text"], lane["token_ids"], len(lane["detail"]["tokens"])) == ("It is.", [0], 1)
    assert "last whole sentence" in lane["detail"]["warning"]
    lane["detail"]["tokens"] = [{"id": 0, "text": "These:\n"}, {"id": 1, "text": "1. 2."}]
    to_whole_sentences(lane)
    assert lane["text"] == "These:\n"


def test_the_opening_has_whole_answers_at_thirteen_settings_and_turns_once():
    runs = list(recorded_runs("opening").values())
    lanes = opening(runs)["opening"]["lanes"]
    assert [lane["dial"]["value"] for lane in lanes] == [step / 4 for step in range(13)]
    assert {lane["finish"] for lane in lanes} <= {"end", "stop"}
    refusals = [lane["refuses"] for lane in lanes]
    assert refusals == sorted(refusals) and set(refusals) == {False, True}
    places = {run["id"]: run["lanes"] for run in runs}
    for lane in lanes:
        run, number = lane["place"]
        assert places[run][number]["token_ids"] == lane["ids"]
    assert opening([]) is None


def test_long_answers_come_in_larger_steps():
    def seconds(*tokens):
        return pace({"lanes": [{"pieces": ["a"] * count} for count in tokens]})

    assert seconds() == seconds(0, 0) == seconds(LIGHT - 1, 1) == UPDATE_SECONDS
    assert seconds(LIGHT, LIGHT) == 2 * UPDATE_SECONDS
    assert seconds(100 * LIGHT) == LONGEST_UPDATE_SECONDS
