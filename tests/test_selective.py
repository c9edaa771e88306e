"""Selective prediction: questions that can be asked, curves of people's marks, chances that never fall."""

from itertools import pairwise

import pytest

from playground.errors import UserError
from playground.selective import ENOUGH, Selective, chances, marked_curve, place
from playground.service.calibration import Calibration, Point

OPTIONS = {"variant": "answers", "alpha": 0.25, "beams": 3}
POINTS = [
    Point(coverage=coverage, accuracy=accuracy, threshold=threshold)
    for coverage, accuracy, threshold in (
        (0.1, 1.0, -0.2),
        (0.4, 0.9, -0.5),
        (0.6, 0.7, -0.9),
        (0.8, 0.75, -1.1),
        (1.0, 0.6, -2.0),
    )
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


def test_a_calibration_holds_for_its_own_score_alone(selective, tiny, monkeypatch):
    found = Calibration(
        **{"variant": "answers", "fingerprint": "", "measure": "m", "alpha": 0.25, "evaluation": "p_correct"},
        **{"beams": 3, "n": 9, "wanted": {"accuracy": 0.7}, "curves": {"m": POINTS}},
        **POINTS[3].model_dump(),
    )
    monkeypatch.setattr(tiny.local, "calibration", lambda variant: found)
    assert selective.calibration(OPTIONS) == found
    for other in ({"alpha": 0.5}, {"variant": "reference"}, {"variant": "0.5*answers"}, {"variant": "nobody"}):
        assert selective.calibration(OPTIONS | other) is None, other


def marks(*right):
    return [{"score": -float(n), "right": each} for n, each in enumerate(right)]


def test_marks_make_a_curve():
    points = marked_curve(marks(*[True] * 6, *[False] * 4))
    assert (points[5].coverage, points[5].accuracy) == (0.6, 1.0)
    assert (points[-1].coverage, points[-1].accuracy) == (1.0, 0.6)


def test_too_few_marks_or_marks_of_one_kind_make_no_curve():
    assert marked_curve(marks(*[True, False] * (ENOUGH // 2)))
    assert marked_curve(marks(*[True, False] * (ENOUGH // 2 - 1))) == []
    assert marked_curve(marks(*[True] * 2 * ENOUGH)) == []


def test_a_threshold_stands_where_its_answers_end():
    assert place(POINTS, -0.5).coverage == 0.4
    assert place(POINTS, -0.6).coverage == 0.4
    assert place(POINTS, -9).coverage == 1.0
    assert place(POINTS, -0.1) is None


def test_the_chance_of_being_right_never_falls_as_the_score_rises_and_is_right_on_the_whole():
    found = chances(POINTS)
    scores, shares = zip(*found, strict=True)
    assert list(scores) == sorted(scores)
    assert list(shares) == sorted(shares)
    parts = [after - before for before, after in pairwise([0.0, *(point.coverage for point in POINTS)])]
    assert sum(part * share for part, share in zip(reversed(parts), shares, strict=True)) == pytest.approx(0.6)
    assert chances([]) == []
