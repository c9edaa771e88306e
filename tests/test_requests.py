"""Bad input: one sentence that names the value and the way out; good input of every script goes through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.errors import UserError
from playground.requests import MAX_CHARACTERS, LaneRequest, RunRequest


def build(**changes):
    return RunRequest.checked(**{"prompt": "Hi", "lanes": [{"method": "greedy"}]} | changes)


def lane(text):
    return build(lanes=[LaneRequest.parse(text)])


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: build(prompt=""), ["prompt is empty", "example"]),
        (lambda: build(prompt=" \n\t "), ["prompt is empty"]),
        (lambda: build(prompt="x" * 1_000_000), ["1,000,000 characters", f"{MAX_CHARACTERS:,}", "shorten"]),
        (lambda: build(prompt="a\x00b"), ["U+0000", "place 2", "remove"]),
        (lambda: build(prompt="a\x1b[31m"), ["U+001B"]),
        (lambda: build(prompt="a\ud800"), ["U+D800"]),
        (lambda: build(system="\x07"), ["system prompt", "U+0007"]),
        (lambda: build(seed=-1), ["seed is -1", "at least 0"]),
        (lambda: build(seed="seven"), ["seed is 'seven'", "whole number"]),
        (lambda: build(max_new_tokens=10**9), ["max_new_tokens is 1000000000", "at most 2,048"]),
        (lambda: build(max_new_tokens=0), ["max_new_tokens is 0", "at least 1"]),
        (lambda: build(lanes=[]), ["0 lanes", "1 to 6"]),
        (lambda: build(lanes=[{"method": "greedy"}] * 7), ["7 lanes", "1 to 6"]),
        (lambda: build(colour="red"), ["no option 'colour'", "prompt"]),
        (lambda: build(stop=[""]), ["stop string is empty"]),
        (lambda: build(stop=["\udcff"]), ["stop string", "U+DCFF"]),
        (lambda: build(stop=["x"] * 9), ["9 stop strings", "0 to 8"]),
        (lambda: build(stop=5), ["stop is 5", "list of texts"]),
        (lambda: build(prompt=5), ["prompt is 5", "text"]),
        (lambda: build(prompt=None), ["prompt is None", "text"]),
        (lambda: build(lanes=[{"options": {}}]), ["lane 1 lacks 'method'"]),
        (lambda: build(lanes=[{"method": "greedy"}, {"method": 5}]), ["lane 2: method is 5", "text"]),
        (lambda: build(lanes=[{"method": "greedy", "colour": 1}]), ["lane 1 has no option 'colour'", "method"]),
        (lambda: build(lanes=[{"method": "greedy", "options": 3}]), ["lane 1: options is 3", "object"]),
        (lambda: build(lanes=[7]), ["lane 1 is 7", "object"]),
        (lambda: build(lanes=None), ["lanes is None"]),
        (lambda: build(max_new_tokens=float("nan")), ["max_new_tokens is nan", "whole number"]),
        (lambda: build(seed=1.5), ["seed is 1.5", "whole number"]),
        (lambda: lane("wizardry"), ["no method 'wizardry'", "greedy", "dera"]),
        (lambda: lane("greedy:max_new_tokens=7"), ["'max_new_tokens'", "all lanes", "--max-new-tokens"]),
        (lambda: lane("greedy:luck=7"), ["greedy has no option 'luck'", "variant"]),
        (lambda: lane("dera:lambda_=nan"), ["lambda_ is", "nan", "number", "-1", "5"]),
        (lambda: lane("dera:lambda_=inf"), ["lambda_ is", "inf"]),
        (lambda: lane("dera:lambda_=half"), ["lambda_ is 'half'", "number"]),
        (lambda: lane("dera:lambda_=9"), ["lambda_ is '9'", "at most 5"]),
        (lambda: lane("best_of_n:n=1000000000"), ["n is '1000000000'", "at most 32"]),
        (lambda: lane("best_of_n:scorer=magic"), ["no scorer 'magic'", "mean_log_prob", "vader"]),
        (lambda: lane("sample:temperature"), ["'temperature'", "option=value"]),
        (lambda: lane("sample:top_k=1,top_k=2"), ["gives top_k twice"]),
        (lambda: lane("greedy:variant=nan*reference"), ["weight 'nan'"]),
        (lambda: lane("greedy:variant=reference+"), ["'reference+'", "0.5*reference+0.5*aligned"]),
        (lambda: lane("best_of_n:scorer=implicit(tuned=)"), ["no model and no mixture"]),
        (lambda: lane("best_of_n:scorer=implicit(luck=7)"), ["implicit has no option 'luck'", "tuned"]),
        (lambda: lane("best_of_n:scorer=implicit(tuned=told"), ["bracket", "'implicit(tuned=told'", "not closed"]),
        (lambda: build(lanes=[{"method": "greedy", "begin": [-1]}]), ["begins with", "token ids"]),
        (lambda: build(lanes=[{"method": "greedy", "begin": [1] * 9999}]), ["begins with", "2,048 token ids"]),
        (lambda: build(lanes=[{"method": "greedy", "begin": "a\x00"}]), ["U+0000"]),
        (lambda: build(lanes=[{"method": "greedy", "begin": {"a": 1}}]), ["lane 1: ", "begin"]),
    ],
)
def test_bad_input_is_one_sentence_with_the_value_and_the_way_out(make, words):
    with pytest.raises(UserError) as caught:
        make()
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    "prompt", ["مرحبا بالعالم", "שלום", "🙂👩‍👩‍👧", "line\nbreak\ttab", "<script>alert(1)</script>", "\u202eabc"]
)
def test_every_script_and_markup_is_a_fine_prompt(prompt):
    assert build(prompt=prompt).prompt == prompt


@given(st.text(max_size=200))
def test_any_text_is_taken_as_it_is_or_refused_in_words(text):
    try:
        assert build(prompt=text).prompt == text
    except UserError as error:
        assert "\n" not in str(error)


@given(st.text(max_size=60))
def test_any_lane_text_is_read_or_refused_in_words(text):
    try:
        lane(text)
    except UserError as error:
        assert str(error)


def test_a_lane_is_read_from_the_command_lines_form():
    parsed = LaneRequest.parse("dera:lambda_=0.5, temperature=1")
    assert parsed.method == "dera"
    assert parsed.options.lambda_ == 0.5
    assert parsed.options.temperature == 1
    assert LaneRequest.parse("greedy:begin=3 14 15").begin == (3, 14, 15)
    assert LaneRequest.parse("greedy:begin=I am").begin == "I am"
    asks = LaneRequest.parse("best_of_n:n=2,scorer=implicit(tuned=told,reduce=sum),variant=0.5*told+aligned").options
    assert (asks.scorer.options.tuned, asks.scorer.options.reduce) == ("told", "sum")
    assert asks.variant.terms == (("told", 0.5), ("aligned", 1.0))
    assert LaneRequest.checked(method="best_of_n", options=asks.model_dump()).options == asks


def test_earlier_turns_are_checked_and_make_a_conversation():
    turns = [("Hi", "Hello!"), ("Who are you?", "A fox.")]
    request = RunRequest.checked(prompt="Why?", lanes=[{"method": "greedy"}], earlier=turns)
    assert request.conversation == "Person: Hi\nModel: Hello!\nPerson: Who are you?\nModel: A fox.\nPerson: Why?"
    assert RunRequest.checked(prompt="Why?", lanes=[{"method": "greedy"}]).conversation == "Why?"
    with pytest.raises(UserError, match="earlier turn is empty"):
        RunRequest.checked(prompt="Why?", lanes=[{"method": "greedy"}], earlier=[("Hi", " ")])
    with pytest.raises(UserError, match="earlier"):
        RunRequest.checked(prompt="Why?", lanes=[{"method": "greedy"}], earlier=[("Hi",)])
