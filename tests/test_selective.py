"""Selective prediction: questions that can be asked, thresholds that keep what was wanted, chances that never fall."""

import pytest

from playground.errors import UserError
from playground.selective import METHOD, Selective, chances, place, threshold_for
from playground.service.calibration import Calibration

OPTIONS = {"variant": "answers", "alpha": 0.25, "beams": 3}
POINTS = [
    {"coverage": 0.1, "accuracy": 1.0, "threshold": -0.2},
    {"coverage": 0.4, "accuracy": 0.9, "threshold": -0.5},
    {"coverage": 0.6, "accuracy": 0.7, "threshold": -0.9},
    {"coverage": 0.8, "accuracy": 0.75, "threshold": -1.1},
    {"coverage": 1.0, "accuracy": 0.6, "threshold": -2.0},
]


@pytest.fixture
def selective(tiny):
    return Selective(tiny)


@pytest.fixture
def answered(selective, tiny):
    run = tiny.compare(selective.request("Where is the fox?", " the lazy dog ", OPTIONS))
    return selective.answered("Where is the fox?", " the lazy dog ", run)


def test_the_answers_come_with_their_scores_and_the_weights_that_gave_them(answered, tiny):
    assert len(answered.candidates) == 3
    assert answered.confidence == answered.candidates[0]["score"]
    assert (answered.context, answered.model) == ("the lazy dog", "answers")
    assert answered.fingerprint == tiny.memory.fingerprint("answers")


def test_the_same_mark_again_removes_it_and_another_voter_has_their_own(selective, answered):
    selective.toggle("me", answered, 1, True)
    selective.toggle("you", answered, 1, False)
    assert selective.marks("me", answered) == [None, True, None]
    assert selective.marks("you", answered) == [None, False, None]
    selective.toggle("me", answered, 1, False)
    assert selective.marks("me", answered) == [None, False, None]
    for visitor in ("me", "you"):
        selective.toggle(visitor, answered, 1, False)
        assert selective.marks(visitor, answered) == [None, None, None]
    assert selective.judgements.rows() == []


def test_a_passage_over_the_context_is_refused_with_both_lengths(selective):
    fits = "a cake " * 400
    assert selective.request("Where?", fits, OPTIONS).prompt.startswith("a cake")
    with pytest.raises(UserError, match=r"passage is [\d,]+ tokens long; .* answers can read [12],\d\d\d\. Shorten"):
        selective.request("Where?", fits * 3, OPTIONS)


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_refused_in_words(selective, question):
    with pytest.raises(UserError, match="question is empty"):
        selective.request(question, "a passage", OPTIONS)


def test_a_model_without_a_self_evaluation_is_refused_by_its_name(selective, tiny):
    assert selective.models() == ["answers"]
    run = tiny.compare(selective.request("Where?", "", OPTIONS | {"variant": "reference"}))
    with pytest.raises(UserError, match="'reference' has learned no prompt 'self_evaluation'"):
        selective.answered("Where?", "", run)


def test_a_calibration_holds_for_its_own_search_alone(selective, tiny, monkeypatch):
    fields = {"variant": "answers", "alpha": 0.25, "beams": 3, "n": 9, "threshold": -1, "wanted": {"accuracy": 0.7}}
    found = Calibration(**fields, curves={METHOD.name: POINTS})
    monkeypatch.setattr(tiny, "calibration", lambda variant: found if variant == "answers" else None)
    assert selective.calibration(OPTIONS) == found
    for other in ({"alpha": 0.5}, {"beams": 4}, {"variant": "reference"}):
        assert selective.calibration(OPTIONS | other) is None


def test_a_threshold_keeps_what_was_wanted_and_answers_most(selective):
    assert threshold_for(POINTS, "accuracy", 0.75) == -1.1
    assert threshold_for(POINTS, "accuracy", 0.95) == -0.2
    assert threshold_for(POINTS, "coverage", 0.5) == -0.9
    assert threshold_for(POINTS, "coverage", 1.0) == -2.0
    with pytest.raises(UserError, match="accuracy of 85% is not reached; the best is 75%, at a coverage of 80%"):
        threshold_for(POINTS[2:], "accuracy", 0.85)


def test_a_threshold_stands_where_its_answers_end():
    assert place(POINTS, -0.5)["coverage"] == 0.4
    assert place(POINTS, -0.6)["coverage"] == 0.4
    assert place(POINTS, -9)["coverage"] == 1.0
    assert place(POINTS, -0.1) is None


def test_the_chance_of_being_right_never_falls_as_the_score_rises_and_is_right_on_the_whole():
    found = chances(POINTS)
    scores, shares = zip(*found, strict=True)
    assert list(scores) == sorted(scores)
    assert list(shares) == sorted(shares)
    parts = [b["coverage"] - a["coverage"] for a, b in zip([{"coverage": 0}, *POINTS], POINTS, strict=False)]
    assert sum(part * share for part, share in zip(reversed(parts), shares, strict=True)) == pytest.approx(0.6)
    assert chances([]) == []
