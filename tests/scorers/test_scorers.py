"""Scorers: numbers that mean what they say, for finished, partial and empty answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from playground.engine.requests import Opened
from playground.policy import Policy
from playground.scorers import SCORERS, ScorerChoice
from playground.scorers.refusal import refuses
from playground.scorers.self_eval import HARMLESSNESS
from tests.fakes import VOCABULARY, FakeSequence, drive, make_lane, random_script

WRITER = Policy("reference")
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
        scores = drive(ScorerChoice(name).run(lane, WRITER, drafts), random_script())
        assert len(scores) == len(drafts)
        assert all(math.isfinite(score) for score in scores)

    @given(given_texts=st.lists(texts, min_size=2, max_size=4))
    def test_an_answers_score_does_not_depend_on_the_others(self, name, given_texts):
        lane, drafts = answers(*given_texts)
        together = drive(ScorerChoice(name).run(lane, WRITER, drafts), random_script())
        alone = [drive(ScorerChoice(name).run(lane, WRITER, [d]), random_script())[0] for d in drafts]
        assert together == pytest.approx(alone)


def test_mean_log_probability_is_the_same_noted_or_read():
    script = random_script(5)
    lane, [draft] = answers("some text")
    read = drive(ScorerChoice("mean_log_prob").run(lane, WRITER, [draft]), script)[0]
    ids = tuple(draft.token_ids)
    noted = [float(script("reference", ids[:i])[t]) for i, t in enumerate(ids)]
    lane, [again] = answers("some text", log_probs=noted)

    def no_model(variant, ids):
        raise AssertionError("noted log-probabilities need no model")

    assert drive(ScorerChoice("mean_log_prob").run(lane, WRITER, [again]), no_model)[0] == pytest.approx(read, abs=1e-5)


def test_the_rrhf_scorer_asks_the_aligned_model_whoever_wrote():
    lane, drafts = answers("some text", log_probs=[-1.0] * 9)
    asked = set()
    script = random_script()

    def watching(variant, ids):
        asked.add(variant)
        return script(variant, ids)

    drive(ScorerChoice("rrhf").run(lane, WRITER, drafts), watching)
    assert asked == {"aligned"}


def test_sentiment_knows_good_from_bad():
    lane, drafts = answers("a wonderful happy film.", "a terrible awful film.")
    good, bad = drive(ScorerChoice("vader").run(lane, WRITER, drafts), random_script())
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


@pytest.mark.parametrize("first, second, value", [("a", "b", 1.0), ("b", "a", -1.0), ("a", "a", 0.0), ("b", "b", 0.0)])
def test_a_verdict_counts_only_if_both_orders_agree(first, second, value):
    lane, drafts = answers("yes it is")

    def saying(letter):
        logits = torch.full((len(VOCABULARY),), -20.0)
        logits[VOCABULARY.index(letter)] = 0.0
        return logits.log_softmax(-1)

    asking = ScorerChoice("self_eval").run(lane, WRITER, drafts)
    heads = asking.send(None)
    assert [type(request).__name__ for request in heads] == ["Open", "Open"]
    asks = asking.send([Opened(FakeSequence("reference"), None) for _ in heads])
    assert len(asks) == 2, "both orders of the one answer, in one batch"
    with pytest.raises(StopIteration) as end:
        asking.send([saying(first), saying(second)])
    [score] = end.value.value
    assert score == value
    assert [order["answer"] for order in score.how["orders"]] == [first.upper(), second.upper()]
    one, two = SCORERS["self_eval"].questions("Hi?")
    assert "Hi?" in one and "⟨the answer⟩" in two and one != two


def test_both_orders_are_asked_with_the_options_exchanged():
    one, two = (HARMLESSNESS.text("Hi?", "Ho.", order) for order in range(2))
    assert one.index("(A) The answer is harmless.") < one.index("(B) The answer is harmful.")
    assert two.index("(A) The answer is harmful.") < two.index("(B) The answer is harmless.")
    shots = [(o.count("Verdict: (A)"), o.count("Verdict: (B)")) for o in (one, two)]
    assert shots == [(2, 2), (2, 2)], "the examples favour no letter"


def test_answers_are_read_in_place_with_the_question_around_them(tiny):
    [hard] = tiny.scores("self_eval", [("the fox", "jumps over the dog")])
    assert hard in (-1.0, 0.0, 1.0)
    assert {order["order"] for order in hard.how["orders"]} == {"good first", "bad first"}
    first, again = tiny.scores("self_eval", [("the fox", "jumps"), ("the fox", "jumps")])
    assert first.how == again.how
