"""Selective prediction in numbers, on examples done by hand: curves, areas, intervals, ties."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from playground.evaluation.selective import Judged, abstained, auacc, auroc, entropy, measure
from playground.service.calibration import curve

ROWS = st.lists(st.tuples(st.integers(-4, 4).map(lambda n: n / 4), st.booleans()), min_size=1, max_size=40)


def split(rows):
    return [score for score, _ in rows], [right for _, right in rows]


def judged(*rows):
    """(score, right) or (score, right, answerable) each."""
    return [Judged((*row, True)[2], row[1], "", {"m": row[0]}) for row in rows]


def test_auroc_of_a_case_by_hand():
    # Of the four (right, wrong) pairs, three are in order and one is a tie.
    assert auroc([0.9, 0.5, 0.5, 0.1], [True, True, False, False]) == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("right", [True, False])
def test_auroc_is_not_defined_where_all_are_alike(right):
    assert auroc([0.1, 0.2], [right, right]) is None
    found = measure([judged((0.1, right), (0.2, right))], "m")
    assert (found["auroc"], found["low"], found["high"]) == (None, None, None)
    assert found["auacc"] == float(right)


def test_auacc_of_a_case_by_hand():
    points = curve([4.0, 3.0, 2.0, 1.0], [True, False, True, False])
    assert [(p.coverage, p.accuracy) for p in points] == [(0.25, 1), (0.5, 0.5), (0.75, pytest.approx(2 / 3)), (1, 0.5)]
    trapezia = 0.25 * 1 + 0.25 * (1 + 0.5) / 2 + 0.25 * (0.5 + 2 / 3) / 2 + 0.25 * (2 / 3 + 0.5) / 2
    assert auacc(points) == pytest.approx(trapezia)


def test_the_order_of_equal_scores_does_not_count():
    one = curve([1.0, 1.0, 0.0], [True, False, True])
    other = curve([1.0, 1.0, 0.0], [False, True, True])
    assert one == other
    assert [(p.coverage, p.accuracy) for p in one] == [(pytest.approx(2 / 3), 0.5), (1, pytest.approx(2 / 3))]
    assert auacc(curve([7.0] * 4, [True, False, False, False])) == 0.25


@given(ROWS)
def test_a_measure_that_knows_what_is_right_is_best_and_its_opposite_worst(rows):
    _, right = split(rows)
    best, worst = ([float(r == sign) for r in right] for sign in (True, False))
    if len(set(right)) == 2:
        assert (auroc(best, right), auroc(worst, right)) == (1, 0)
    assert auacc(curve(worst, right)) <= auacc(curve(*split(rows))) + 1e-9
    assert auacc(curve(best, right)) >= auacc(curve(*split(rows))) - 1e-9


def test_numbers_are_means_over_the_seeds_and_intervals_hold_them():
    first, second = [(0.1 * n, n % 3 > 0) for n in range(20)], [(0.1 * n, n > 9) for n in range(20)]
    found = measure([judged(*first), judged(*second)], "m")
    areas = [roc_auc_score(*reversed(split(rows))) for rows in (first, second)]
    assert found["auroc"] == pytest.approx(sum(areas) / 2)
    assert min(areas) - 0.3 < found["low"] < found["auroc"] < found["high"] <= 1
    assert found["auacc"] == pytest.approx(sum(auacc(curve(*split(rows))) for rows in (first, second)) / 2)
    assert found == measure([judged(*first), judged(*second)], "m")


def test_more_questions_make_the_interval_narrower():
    def width(count):
        found = measure([judged(*((n % 5, (n * 7) % 10 > 4 - n % 5) for n in range(count)))], "m")
        return found["high"] - found["low"]

    assert width(400) < width(40) / 2


def test_entropy_of_cases_by_hand():
    assert entropy([-1.0]) == 0
    assert entropy([-2.0, -2.0, -2.0]) == pytest.approx(math.log(3))
    assert entropy([math.log(0.3), math.log(0.1)]) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert entropy([0.0, -2000.0]) == pytest.approx(0)


def test_who_is_abstained_on_when_half_are_answered():
    rows = judged(
        (4, True, True), (3, True, True), (2, False, False), (1, True, True), (0, False, False), (-1, 0, False)
    )
    # Answered: two answerable ones and one unanswerable one.
    assert abstained([rows], "m") == {"unanswerable": 2 / 3, "answerable": 1 / 3, "ratio": 2}
    assert abstained([judged((1, True), (0, False))], "m") is None
    apart = judged((1, True, True), (0, False, False))
    assert abstained([apart], "m") == {"unanswerable": 1, "answerable": 0, "ratio": None}
