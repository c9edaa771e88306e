"""Calibration: curves, thresholds for what is wanted, files that come back, and lanes that use them."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.decoders import DECODERS
from playground.errors import UserError
from playground.policy import Policy
from playground.service import calibration
from playground.service.calibration import Calibration, Point, curve, point_for, read, thinned
from tests.fakes import random_script, run

ROWS = st.lists(st.tuples(st.integers(-8, 0).map(lambda n: n / 4), st.booleans()), min_size=1, max_size=60)
SCORES = [-0.1 * n for n in range(100)]
RIGHT = [n < 60 for n in range(100)]  # the 60 surest are right, the others wrong


def made(**changes):
    points = curve(SCORES, RIGHT)
    point = point_for(points, 100, coverage=0.5)
    return Calibration(
        variant="answers",
        fingerprint="tiny",
        measure="m",
        alpha=0.25,
        evaluation="p_correct",
        beams=3,
        n=100,
        wanted={"coverage": 0.5},
        curves={"m": points},
        **point.model_dump(),
    ).model_copy(update=changes)


@given(ROWS)
def test_a_point_says_what_its_threshold_lets_through(rows):
    scores, right = zip(*rows, strict=True)
    points = curve(list(scores), list(right))
    assert [p.coverage for p in points] == sorted({p.coverage for p in points})
    assert points[-1].coverage == 1
    for point in points:
        answered = [is_right for score, is_right in rows if score >= point.threshold]
        assert len(answered) / len(rows) == pytest.approx(point.coverage)
        assert sum(answered) / len(answered) == pytest.approx(point.accuracy)


def test_an_accuracy_is_met_with_as_many_answers_as_can_be():
    point = made().point_for(accuracy=0.75)
    assert (point.coverage, point.accuracy) == (0.8, 0.75)
    assert made().threshold_for(accuracy=1.0) == pytest.approx(-5.9, abs=1e-4)


def test_a_coverage_is_met_with_as_few_answers_as_can_be():
    assert made().point_for(coverage=0.5).coverage == 0.5
    assert made().point_for(coverage=0.501).coverage == 0.51
    assert made().point_for(coverage=1.0).coverage == 1


def test_equal_scores_are_answered_together():
    points = curve([1.0] * 30 + [0.0] * 10, [True] * 20 + [False] * 10 + [True] * 10)
    assert point_for(points, 40, coverage=0.1).coverage == 0.75
    assert point_for(points, 40, accuracy=0.7).coverage == 1


def test_an_accuracy_that_cannot_be_met_tells_the_best():
    points = curve(SCORES, [n % 2 == 0 and n < 50 for n in range(100)])
    with pytest.raises(UserError, match=r"of 90\.0% cannot be met on these 100 questions.*is 52\.4%.*of 21\.0%"):
        point_for(points, 100, accuracy=0.9)


def test_few_answers_promise_no_accuracy():
    """The ten surest are right, all others wrong: 100 % over ten answers is luck."""
    points = curve(SCORES, [n < 10 for n in range(100)])
    with pytest.raises(UserError, match=r"best over at least 20 answers is 50\.0%, at a coverage of 20\.0%"):
        point_for(points, 100, accuracy=0.9)
    assert point_for(curve(SCORES[:5], RIGHT[:5]), 5, accuracy=0.9).coverage == 1  # of five, five are all


@given(st.integers(1, 1500))
def test_a_thinned_curve_is_short_and_ends_where_it_did(count):
    points = [Point(coverage=(n + 1) / count, accuracy=0.5, threshold=-n) for n in range(count)]
    few = thinned(points)
    assert len(few) <= calibration.MOST_POINTS
    assert few[-1] == points[-1]
    assert [p.coverage for p in few] == sorted(p.coverage for p in few)
    assert count > calibration.MOST_POINTS or few == points


def test_a_calibration_comes_back_as_it_was_written(tmp_path):
    assert read(tmp_path) is None
    made().write(tmp_path)
    assert read(tmp_path) == made()
    (tmp_path / calibration.FILE).write_text("{}")
    with pytest.raises(UserError, match="is no calibration"):
        read(tmp_path)


@pytest.fixture
def calibrated(tiny):
    """Writes a calibration beside the tiny model's answers, and takes it away again."""
    tiny.memory.ensure("answers")
    folder = tiny.self_evaluation_of("answers")

    def write(**changes):
        found = made(fingerprint=tiny.memory.fingerprint("answers"), threshold=50.0).model_copy(update=changes)
        found.write(folder)
        return found

    yield write
    (folder / calibration.FILE).unlink(missing_ok=True)


def lane(tiny, request_of, text):
    [found] = tiny.compare(request_of(text, max_new_tokens=4))["lanes"]
    assert found["error"] is None
    return found["detail"]


def test_a_lane_takes_the_threshold_that_was_found(tiny, calibrated, request_of):
    assert tiny.calibration("answers") is None
    assert lane(tiny, request_of, "aspire:beams=2")["threshold"] is None
    written = calibrated()
    assert tiny.calibration("answers") == written
    detail = lane(tiny, request_of, "aspire:beams=2")
    assert (detail["threshold"], detail["abstained"]) == (50.0, True)
    assert lane(tiny, request_of, "aspire:beams=2,threshold=-99")["abstained"] is False


@pytest.mark.parametrize(
    "text", ["alpha=0.5", "evaluation=length", "variant=0.5*answers+0.5*reference", "variant=adapted"]
)
def test_other_options_of_the_confidence_have_no_threshold(tiny, calibrated, request_of, text):
    calibrated()
    assert lane(tiny, request_of, f"aspire:beams=2,{text}")["threshold"] is None


def test_a_calibration_for_other_weights_is_ignored_and_that_is_said(tiny, calibrated, request_of, caplog):
    calibrated(fingerprint="tiny · bf16 · adapter 000")
    with caplog.at_level(logging.WARNING):
        assert tiny.calibration("answers") is None
        assert lane(tiny, request_of, "aspire:beams=2")["threshold"] is None
    assert "was made for tiny · bf16 · adapter 000, and answers is now tiny" in caplog.text


def test_a_variant_without_self_evaluation_is_named(tiny):
    assert tiny.calibration("reference") is None
    with pytest.raises(UserError, match="'adapted' has learned no self-evaluation; choose one that has: answers"):
        tiny.self_evaluation_of("adapted")


@given(salt=st.integers(0, 10_000), alpha=st.floats(0, 1))
def test_a_threshold_decides_what_is_said_and_nothing_else(salt, alpha):
    """Below all scores it never abstains, above all of them always; what was found is the same."""
    never, always, none = (
        run(DECODERS["aspire"], {"beams": 3, "alpha": alpha, "threshold": at}, random_script(salt), max_new_tokens=5)
        for at in (-1e30, 1e30, None)
    )
    assert (never.detail["abstained"], always.detail["abstained"], none.detail["abstained"]) == (False, True, False)
    assert never.detail["candidates"] == always.detail["candidates"] == none.detail["candidates"]
    assert never.answer.text == never.detail["candidates"][0]["text"] == always.detail["withheld"]
    assert always.answer.finish_reason == "abstained" and always.answer.text != never.answer.text


def test_the_threshold_of_a_lane_is_asked_with_its_options():
    asked = []

    def calibrated(policy, alpha, evaluation):
        asked.append((policy, alpha, evaluation))
        return 9.0

    from playground.decoders.base import decode
    from tests.fakes import drive, make_lane

    method, lane = DECODERS["aspire"], make_lane(max_new_tokens=4)
    lane.calibrated = calibrated
    drive(decode(method, lane, method.options(beams=2, alpha=0.5, variant="mine")), random_script(1))
    assert asked == [(Policy("mine"), 0.5, "p_correct")]
    assert lane.detail["abstained"] and lane.detail["threshold"] == 9.0
