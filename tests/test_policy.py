"""Policies: what a text stands for, whatever way it is written, and what is refused in words."""

import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from playground.errors import UserError
from playground.models.specs import read_catalogue
from playground.policy import Policy
from tests.tiny import make_catalogue

names = st.from_regex(r"[a-z][a-z0-9_.]{0,5}(-[a-z0-9]{1,4})?e?", fullmatch=True)
names = names.filter(lambda name: not re.search(r"-[0-9.]+e$", name))  # a-2e+2*b is a and 200*b
weights = (st.integers(-3, 3) | st.floats(-100, 100).map(lambda w: round(w, 6))).filter(bool)
terms = st.dictionaries(names, weights, min_size=1, max_size=8)


@given(terms)
def test_what_is_written_is_read_again(terms):
    policy = Policy.of(terms.items())
    assert dict(policy.terms) == terms
    assert Policy(str(policy)).terms == policy.terms
    assert Policy(policy) is policy


@pytest.mark.parametrize(
    "typed, written",
    [
        ("2*aligned - reference", "2*aligned - reference"),
        ("2*aligned-1*reference+told", "2*aligned - reference+told"),
        ("-1*reference+2*aligned", "- reference+2*aligned"),
        ("a - b-c - d", "a - b-c - d"),
    ],
)
def test_a_weight_of_minus_one_is_written_as_a_minus(typed, written):
    assert Policy(typed) == written
    assert Policy(str(written)).terms == Policy(typed).terms


@given(terms, st.floats(0.1, 0.9))
def test_weights_split_in_two_add_up(terms, share):
    parts = [(name, w * s) for s in (share, 1 - share) for name, w in terms.items()]
    assert Policy.of(parts).terms == Policy.of(terms.items()).terms


@given(terms)
def test_a_mixture_of_policies_is_that_of_their_parts(terms):
    apart = [(w / 2, Policy.of([(name, 1.0)])) for name, w in terms.items()]
    assert dict(Policy.mix(*apart, *apart).terms) == pytest.approx(dict(Policy.of(terms.items()).terms))


@pytest.mark.parametrize(
    "text, terms",
    [
        ("reference", {"reference": 1}),
        ("reference+0.8*aligned-0.8*told", {"reference": 1, "aligned": 0.8, "told": -0.8}),
        (" 0.5 * a + .5*b ", {"a": 0.5, "b": 0.5}),
        ("zephyr-sft-0.3*zephyr-beta", {"zephyr-sft": 1, "zephyr-beta": -0.3}),
        ("a - b", {"a": 1, "b": -1}),
        ("1e-3*a-2b", {"a-2b": 0.001}),
        ("a+a+a", {"a": 3}),
        ("reference+2*aligned-1e-3*one-3*two", {"reference": 1, "aligned": 2, "one": -0.001, "two": -3}),
        ("a+0*b", {"a": 1}),
    ],
)
def test_texts_stand_for_weights(text, terms):
    assert dict(Policy(text).terms) == terms


@pytest.mark.parametrize(
    "text, words",
    [
        ("nan*a", "'nan' cannot be used"),
        ("101*a", "'101' cannot be used"),
        ("60*a+60*a", "'a' is 120"),
        ("much*a", "'much' cannot be used"),
        ("", "no model and no mixture"),
        ("a b", "no model and no mixture"),
        ("a+", "no model and no mixture"),
        ("<b>", "no model and no mixture"),
        ("a-1*a", "0 parts"),
        ("+".join("abcdefghi"), "9 parts"),
    ],
)
def test_other_texts_are_refused_in_words(text, words):
    with pytest.raises(UserError) as error:
        Policy(text)
    assert words in str(error.value)


def test_options_hold_policies_and_hand_out_texts():
    class Options(BaseModel):
        variant: Policy

    options = Options(variant="b + 0.5*a")
    assert options.variant.terms == (("b", 1.0), ("a", 0.5))
    assert options.model_dump() == {"variant": "b+0.5*a"}
    assert Options.model_json_schema()["properties"]["variant"]["type"] == "string"


@pytest.fixture
def catalogue_with(tmp_path):
    path = make_catalogue(tmp_path)

    def read(**variants):
        content = yaml.safe_load(path.read_text())
        content["variants"] |= variants
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return read_catalogue(path)

    return read


def mixture(**mix):
    return {"title": "M", "mix": mix}


def test_named_mixtures_are_written_out_also_inside_others(catalogue_with):
    catalogue = catalogue_with(
        half=mixture(reference=0.5, adapted=0.5), quarter=mixture(half=0.5, reference=0.5), less=mixture(half=-1)
    )
    assert dict(catalogue.resolve(Policy("quarter")).terms) == {"reference": 0.75, "adapted": 0.25}
    assert dict(catalogue.resolve(Policy("less+half+aligned")).terms) == {"aligned": 1}
    assert "half" in catalogue.writers and "half" not in catalogue.variants


@pytest.mark.parametrize(
    "variants, words",
    [
        ({"m": mixture(nobody=1)}, ["line", "'nobody'", "not defined"]),
        ({"m": mixture(n=1), "n": mixture(m=1)}, ["holds itself", "m → n → m"]),
        ({"m": mixture(m=0.5, reference=1)}, ["holds itself"]),
        ({"m": mixture(reference=math.nan)}, ["line", "nan"]),
        ({"m": mixture(reference=101)}, ["line", "101"]),
        ({"m": {"title": "M", "mix": {}}}, ["line", "mix is {}; write {name: weight, …}"]),
        ({"m": {"title": "M", "mix": [0.5, 0.5]}}, ["line", "mix is [0.5, 0.5]; write {name: weight, …}"]),
        ({"m": {"title": "M", "mix": "0.5*reference+"}}, ["line", "'0.5*reference+'", "0.5*reference+0.5*aligned"]),
        ({"m": {"title": "M", "mix": "0.5*nobody"}}, ["line", "'nobody'", "not defined"]),
        ({"m": {"title": "M", "mix": {"reference": 1}, "adapter": "x"}}, ["unknown key 'adapter'"]),
        ({"mixed": mixture(reference=1)}, ["'mixed' cannot be used"]),
    ],
)
def test_mixtures_that_cannot_be_are_told_with_their_line(catalogue_with, variants, words):
    with pytest.raises(UserError) as error:
        catalogue_with(**variants)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_named_mixture_may_be_written_as_a_text(catalogue_with):
    catalogue = catalogue_with(half={"title": "M", "mix": "0.5*reference+0.5*adapted"})
    assert catalogue.mixtures["half"].mix == {"reference": 0.5, "adapted": 0.5}


@pytest.mark.parametrize(
    "name, hints",
    [
        ("aligned-reference", ["spaces around a minus"]),
        ("quarter-low-key-reference", ["spaces around a minus"]),
        ("2aligned", ["* between weight and name"]),
        ("2aligned-0.5reference", ["spaces around a minus", "* between weight and name"]),
        ("nobody", []),
        ("aligned-nobody", []),
    ],
)
def test_a_mixture_that_was_read_as_one_name_is_told_how_to_be_written(catalogue_with, name, hints):
    catalogue = catalogue_with(**{"low-key": mixture(reference=0.5)})
    with pytest.raises(UserError) as error:
        catalogue.resolve(Policy(name))
    told = str(error.value)
    known = "reference, aligned, adapted, answers, quarter, low-key"
    assert told.startswith(f"There is no variant '{name}'; choose one of: ")
    listed, _, rest = told.partition("choose one of: ")[2].partition(".")
    assert set(listed.split(", ")) == set(known.split(", ")), "those that only judge are left out"
    assert [hint for hint in ("spaces around a minus", "* between weight and name") if hint in rest] == hints


@pytest.mark.parametrize(
    "text", [" " * 24_000 + "!", "reference" + " " * 24_000 + "+", "+".join(["reference"] * 3_000)]
)
def test_long_texts_are_refused_before_they_are_read(text):
    with pytest.raises(UserError, match="at most 1000 characters"):
        Policy(text)
