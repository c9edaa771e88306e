"""The leaderboard: strengths that are finite, intervals that hold them, ranks that know their limits."""

import math

import numpy as np
import pytest

from playground.errors import UserError
from playground.ranking import effects_in_words, lane_label, leaderboard


def vote(a, b, choice, voter="v"):
    side = {"seconds_a": 1.0, "seconds_b": 3.0, "forward_tokens_a": 10, "forward_tokens_b": 30}
    side |= {"length_a": 100, "length_b": 100}
    return {"label_a": a, "label_b": b, "choice": choice, "voter": voter} | side


def simulated(true, votes, voters, seed, ties=0.15):
    """Votes of people who prefer as Bradley and Terry say, with Newman's ties."""
    rng, names = np.random.default_rng(seed), list(true)
    rows = []
    for n in range(votes):
        a, b = rng.choice(names, 2, replace=False)
        p, q = (10 ** (true[name] / 400) for name in (a, b))
        shares = np.array([p, q, 2 * ties * math.sqrt(p * q)])
        rows.append(vote(str(a), str(b), ["a", "b", "tie"][rng.choice(3, p=shares / shares.sum())], f"v{n % voters}"))
    return rows


TRUE = {"best": 150.0, "good": 60.0, "fair": -40.0, "poor": -170.0}


def test_the_true_order_is_found():
    found = leaderboard(simulated(TRUE, 2000, 50, 1))
    assert [m["method"] for m in found["methods"]] == list(TRUE)
    assert [m["rank"] for m in found["methods"]] == [1, 2, 3, 4]
    assert (found["connected"], found["warnings"]) == (True, [])


def test_intervals_cover_the_truth_as_often_as_they_say():
    inside = total = 0
    for repetition in range(80):
        for method in leaderboard(simulated(TRUE, 400, 40, repetition), rounds=150)["methods"]:
            inside += method["low"] <= TRUE[method["method"]] <= method["high"]
            total += 1
    assert 0.90 <= inside / total <= 0.98


def test_an_unbeaten_method_has_a_finite_strength_inside_its_interval():
    found = leaderboard([vote("new", "old", "a", f"v{n}") for n in range(40)])
    for method in found["methods"]:
        assert math.isfinite(method["strength"])
        assert method["low"] <= method["strength"] <= method["high"]
    assert found["methods"][0]["method"] == "new"


def test_counts_prices_and_both_bad_are_kept_apart():
    rows = [vote("x", "y", choice) for choice in ("a", "a", "b", "tie", "both_bad")]
    x, y = sorted(leaderboard(rows)["methods"], key=lambda m: m["method"])
    assert (x["wins"], x["losses"], x["ties"], x["both_bad"]) == (2, 1, 1, 1)
    assert (y["wins"], y["losses"]) == (1, 2)
    assert (x["mean_seconds"], y["mean_forward_tokens"]) == (1.0, 30)
    without = leaderboard(rows[:-1])["methods"]
    assert [m["strength"] for m in without] == [m["strength"] for m in leaderboard(rows)["methods"]]


@pytest.mark.parametrize("votes", [1, 5, 20])
def test_one_voter_alone_is_no_certainty(votes):
    first, second = leaderboard([vote("x", "y", "a")] * votes)["methods"]
    assert first["low"] < first["strength"] - 100
    assert (first["rank"], second["rank"]) == (1, 1) or votes > 5


def test_what_cannot_be_ranked_is_said():
    apart = [vote("a", "b", "a", f"v{n}") for n in range(20)] + [vote("c", "d", "a", f"v{n}") for n in range(20)]
    found = leaderboard(apart)
    assert not found["connected"]
    assert any("never compared" in warning for warning in found["warnings"])
    assert any("Below 30 votes" in warning for warning in leaderboard(apart[:2])["warnings"])
    loud = [vote("a", "b", "a", "one")] * 30 + [vote("a", "b", "b", f"v{n}") for n in range(20)]
    assert any("60%" in warning for warning in leaderboard(loud)["warnings"])
    assert leaderboard([])["methods"] == []


def test_one_voter_makes_wider_intervals_than_many():
    rows = simulated(TRUE, 600, 600, 3)
    many = leaderboard(rows)["methods"]
    few = leaderboard([row | {"voter": f"v{n % 4}"} for n, row in enumerate(rows)])["methods"]
    assert [m["strength"] for m in many] == [m["strength"] for m in few]
    assert all(m["low"] < m["high"] for m in many)


def judged_by_length(votes, worth, seed):
    """Votes between two equal methods, one of which writes longer; people like length, by `worth` points a doubling."""
    rng, rows = np.random.default_rng(seed), []
    for n in range(votes):
        doublings = rng.normal(1.0, 0.7)
        wins = rng.random() < 1 / (1 + 10 ** (-worth * doublings / 400))
        rows.append(vote("long", "short", "a" if wins else "b", f"v{n % 60}") | {"length_a": 100 * 2**doublings})
    return rows


def test_adjusted_for_length_equal_methods_are_equal_and_the_effect_is_found():
    rows = judged_by_length(4000, 120, 5)
    plain = {m["method"]: m for m in leaderboard(rows)["methods"]}
    assert plain["long"]["low"] > plain["short"]["high"]
    found = leaderboard(rows, ("length",))
    adjusted = {m["method"]: m for m in found["methods"]}
    assert adjusted["long"]["low"] < adjusted["short"]["high"]
    assert found["effects"]["length"]["low"] < 120 < found["effects"]["length"]["high"]
    assert effects_in_words(found)[0].startswith("Twice the length is worth +1")
    for m in found["methods"]:
        assert m["low"] <= m["strength"] <= m["high"]


def test_votes_that_tell_of_no_order_are_adjusted_without_a_fuss():
    found = leaderboard([vote("x", "y", "both_bad")] * 3, ("length", "time"))
    assert [(m["strength"], m["both_bad"], m["rank"]) for m in found["methods"]] == [(0.0, 3, 1)] * 2


def test_without_differences_adjusting_changes_little():
    rows = simulated(TRUE, 2000, 50, 1, ties=0.0001)
    plain = {m["method"]: m["strength"] for m in leaderboard(rows)["methods"]}
    found = leaderboard(rows, ("length", "time"))
    assert all(abs(m["strength"] - plain[m["method"]]) < 15 for m in found["methods"])
    assert abs(found["effects"]["length"]["points"]) < 1
    with pytest.raises(UserError, match="length, time"):
        leaderboard(rows, ("colour",))


@pytest.mark.parametrize(
    ("options", "label"),
    [({"t": 1.0, "k": 1}, "m"), ({"t": 0.5, "k": 1}, "m:t=0.5"), ({"t": 0.5, "k": 2}, "m:t=0.5,k=2")],
)
def test_labels_name_what_is_not_default(options, label):
    assert lane_label("m", options, {"t": 1.0, "k": 1}) == label
