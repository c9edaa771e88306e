"""Scorers: numbers that mean what they say, for finished, partial and empty answers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from playground.branch import reading
from playground.engine.requests import Opened
from playground.errors import UserError
from playground.policy import Policy
from playground.scorers import SCORERS, ScorerChoice, log_prob
from playground.scorers.base import Scorer
from playground.scorers.refusal import refuses
from playground.scorers.self_eval import HARMLESSNESS, AskingOptions
from tests.fakes import VOCABULARY, FakeSequence, drive, make_lane, put_through, random_script

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
    one, two = SCORERS["self_eval"].questions("Hi?", AskingOptions())
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
    [one] = tiny.scores("self_eval_true(orders=1)", [("the fox", "jumps")])
    assert [order["order"] for order in one.how["orders"]] == ["good first"]


def grow(draft, text):
    for character in text:
        draft.append(VOCABULARY.index(character))


@pytest.mark.parametrize("choice", ["mean_log_prob", "rrhf(reduce=sum)", "implicit", "implicit(reduce=sum)"])
@given(parts=st.lists(texts, min_size=1, max_size=4))
def test_of_an_answer_that_grows_only_new_tokens_are_put_through(choice, parts):
    script, scorer = random_script(7), ScorerChoice(choice)
    lane, [draft] = answers("")
    models = 2 if scorer.name == "implicit" else 1
    for part in parts:
        grow(draft, part)
        [score], tokens = put_through(scorer.run(lane, WRITER, [draft]), script)
        assert tokens == models * len(part)
    whole, drafts = answers("".join(parts))
    assert drive(scorer.run(whole, WRITER, drafts), script) == pytest.approx([score], abs=1e-4)


def test_beams_that_share_a_beginning_share_what_was_read_of_it():
    script, scorer = random_script(7), ScorerChoice("implicit")
    lane, [draft] = answers("once upon")
    put_through(scorer.run(lane, WRITER, [draft]), script)
    beams = [draft.fork(number) for number in range(3)]
    for beam, text in zip(beams, (" a", " the", ""), strict=True):
        grow(beam, text)
    _, tokens = put_through(scorer.run(lane, WRITER, beams), script)
    assert tokens == 2 * (2 + 4)
    _, again = put_through(scorer.run(lane, WRITER, beams[:1]), script)
    assert again == 0


def test_memory_of_answers_that_are_no_longer_asked_about_is_given_back():
    script, scorer = random_script(7), ScorerChoice("rrhf")
    lane, drafts = answers("one", "two")
    put_through(scorer.run(lane, WRITER, drafts), script)
    [known] = [kept for key, kept in lane.kept.items() if key[0] == "read"]
    texts_of = {ids: reading.text for ids, reading in known.items()}
    put_through(scorer.run(lane, WRITER, drafts[:1]), script)
    released = {ids: all(s.released for s in text.sequences.values()) for ids, text in texts_of.items()}
    assert released == {(): False, tuple(drafts[0].token_ids): False, tuple(drafts[1].token_ids): True}


@given(text=texts.filter(bool))
def test_sum_and_mean_are_of_the_same_numbers(text):
    script = random_script(2)
    for name in ("mean_log_prob", "implicit"):
        lane, drafts = answers(text)
        [mean] = drive(ScorerChoice(name).run(lane, WRITER, drafts), script)
        [total] = drive(ScorerChoice(f"{name}(reduce=sum)").run(lane, WRITER, drafts), script)
        assert total == pytest.approx(mean * len(text), abs=1e-3)


@given(text=texts.filter(bool))
def test_an_answer_is_read_under_a_mixture_as_the_mixture_says(text):
    script, mixture = random_script(2), Policy("0.5*reference+1.5*aligned")
    lane, [draft] = answers(text)
    [found] = drive(ScorerChoice(f"mean_log_prob(under={mixture})").run(lane, WRITER, [draft]), script)
    ids, expected = tuple(draft.token_ids), 0.0
    for at, token in enumerate(ids):
        mixed = 0.5 * script("reference", ids[:at]) + 1.5 * script("aligned", ids[:at])
        expected += float(mixed.log_softmax(-1)[token])
    assert found == pytest.approx(expected / len(ids), abs=1e-4)


def test_the_variants_that_a_scorer_asks_are_its_options():
    lane, drafts = answers("some text")
    asked = set()
    script = random_script()

    def watching(variant, ids):
        asked.add(variant)
        return script(variant, ids)

    drive(ScorerChoice("implicit(tuned=told,untuned=half)").run(lane, WRITER, drafts), watching)
    assert asked == {"told", "half"}


def test_a_choice_is_written_in_its_shortest_form():
    assert ScorerChoice(" implicit ( reduce=mean, tuned = told ) ") == "implicit(tuned=told)"
    assert ScorerChoice("implicit(tuned=aligned)") == "implicit"
    assert ScorerChoice(ScorerChoice("implicit(tuned=told)")).options.tuned == "told"


@pytest.mark.parametrize(
    "text, words",
    [
        ("vader" + " " * 90_000 + "!", "at most 1000 characters"),
        ("implicit(" * 300 + ")" * 300, "at most 1000 characters"),
        ("vader(x=1)", "vader has no option 'x'; it has none."),
        ("magic(x=1)", "There is no scorer 'magic';"),
        ("vader!", "There is no scorer 'vader!';"),
        ("implicit(tuned=told", "'implicit(tuned=told' is not closed"),
        ("implicit(tuned=told) and more", "is not closed"),
    ],
)
def test_what_is_wrong_with_a_scorers_text_is_said(text, words):
    with pytest.raises(UserError) as error:
        ScorerChoice(text)
    assert words in str(error.value)


def gives(scores):
    """A scorer's generator that returns these scores."""

    def run(lane, writer, answers, options):
        return scores
        yield

    return run


@pytest.mark.parametrize(
    "run, words",
    [
        (lambda *_: [1.0, 2.0], "no generator"),
        (lambda *_: None, "docs/plugins.md"),
        (gives([1.0]), "gave [1.0] for 2 answers"),
        (gives([1.0, math.nan]), "gave [1.0, nan] for 2 answers"),
        (gives([1.0, math.inf]), "finite"),
        (gives([1.0, "much"]), "gave [1.0, 'much']"),
        (gives(3.0), "gave 3.0"),
        (gives(None), "gave None"),
    ],
)
def test_a_scorer_that_breaks_its_promise_is_named(monkeypatch, run, words):
    monkeypatch.setitem(SCORERS, "odd", Scorer("odd", "Odd", run))
    lane, drafts = answers("one", "two")
    with pytest.raises(UserError) as error:
        drive(ScorerChoice("odd").run(lane, WRITER, drafts), random_script())
    assert "The scorer odd" in str(error.value) and words in str(error.value)


def test_the_embedder_is_no_classifier():
    with pytest.raises(UserError, match="embedder classifies nothing"):
        ScorerChoice("classifier(model=embedder)")


@given(given_texts=st.lists(texts, min_size=1, max_size=4))
def test_a_mixture_may_be_read_in_pieces(given_texts):
    """Whole distributions of a mixture are held while it is read: of a few tokens at a time."""
    policy = Policy("0.3*reference+0.7*aligned")

    def read_with(held):
        lane, drafts = answers(*given_texts)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(reading, "HELD", held)
            return drive(log_prob.read(lane, policy, drafts), random_script(1))

    whole, pieces = read_with(10_000), read_with(1)
    assert [len(each) for each in whole] == [len(each) for each in pieces]
    assert all(w == pytest.approx(p) for w, p in zip(whole, pieces, strict=True))
