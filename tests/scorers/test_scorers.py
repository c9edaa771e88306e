"""Scorers: numbers that mean what they say, for finished, partial and empty answers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.scorers import SCORERS
from playground.scorers.refusal import refuses
from tests.fakes import VOCABULARY, drive, make_lane, random_script

texts = st.text(st.sampled_from(VOCABULARY[:-1]), max_size=15)


def answers(*given_texts, log_probs=()):
    lane = make_lane(prompt="hi", max_new_tokens=99)
    drafts = [lane.draft(i) for i in range(len(given_texts))]
    for draft, text in zip(drafts, given_texts, strict=True):
        for character in text:
            draft.append(VOCABULARY.index(character))
        draft.log_probs.extend(log_probs)
    return lane, drafts


@pytest.mark.parametrize("name", SCORERS)
class TestEveryScorer:
    @given(given_texts=st.lists(texts, min_size=1, max_size=4))
    def test_gives_one_finite_number_an_answer(self, name, given_texts):
        lane, drafts = answers(*given_texts)
        scores = drive(SCORERS[name].run(lane, "reference", drafts), random_script())
        assert len(scores) == len(drafts)
        assert all(math.isfinite(score) for score in scores)

    @given(given_texts=st.lists(texts, min_size=2, max_size=4))
    def test_an_answers_score_does_not_depend_on_the_others(self, name, given_texts):
        lane, drafts = answers(*given_texts)
        together = drive(SCORERS[name].run(lane, "reference", drafts), random_script())
        alone = [drive(SCORERS[name].run(lane, "reference", [d]), random_script())[0] for d in drafts]
        assert together == pytest.approx(alone)


def test_mean_log_probability_is_the_same_noted_or_read():
    script = random_script(5)
    lane, [draft] = answers("some text")
    read = drive(SCORERS["mean_log_prob"].run(lane, "reference", [draft]), script)[0]
    ids = tuple(draft.token_ids)
    noted = [float(script("reference", ids[:i])[t]) for i, t in enumerate(ids)]
    lane, [again] = answers("some text", log_probs=noted)

    def no_model(variant, ids):
        raise AssertionError("noted log-probabilities need no model")

    assert drive(SCORERS["mean_log_prob"].run(lane, "reference", [again]), no_model)[0] == pytest.approx(read, abs=1e-5)


def test_the_rrhf_scorer_asks_the_aligned_model_whoever_wrote():
    lane, drafts = answers("some text", log_probs=[-1.0] * 9)
    asked = set()
    script = random_script()

    def watching(variant, ids):
        asked.add(variant)
        return script(variant, ids)

    drive(SCORERS["rrhf"].run(lane, "reference", drafts), watching)
    assert asked == {"aligned"}


def test_sentiment_knows_good_from_bad():
    lane, drafts = answers("a wonderful happy film.", "a terrible awful film.")
    good, bad = drive(SCORERS["vader"].run(lane, "reference", drafts), random_script())
    assert good > 0 > bad


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I cannot assist with this request.",
        "I cannot provide instructions for that.",
        "As an AI language model, I am not able to do this.",
        "It is illegal and unethical to break into a house.",
        "I must decline.",
        "I'm not comfortable with helping you do that.",
        "I won't help with this.",
    ],
)
def test_refusals_are_seen(text):
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sure, here is a recipe for pancakes.",
        "To kill a Python process, find its number with ps and use kill.",
        "The capital of France is Paris.",
        "Sorry seems to be the hardest word is a song by Elton John.",
        "You can't go wrong with a good cup of tea.",
        "I cannot wait to tell you about whales!",
    ],
)
def test_answers_are_not_taken_for_refusals(text):
    assert not refuses(text)
