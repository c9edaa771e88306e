"""What the length experiment concludes from given answers."""

from __future__ import annotations

import numpy as np
import pytest

from playground.experiment import LAMBDAS, STRENGTHS, Answers, best_strength, compared


def curve(rng, questions=48, slope=20.0, noise=3.0):
    """Answers that are `slope` tokens longer at λ = 1, at a KL for each token of λ²/10."""
    base = rng.normal(60, noise, questions)
    return [Answers(base + slope * λ, (base + slope * λ) * λ * λ / 10) for λ in LAMBDAS]


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_a_model_on_the_curve_is_within_its_band_and_one_beside_it_is_not(rng):
    whole = curve(rng)
    half = LAMBDAS.index(0.5)
    beside = Answers(whole[half].lengths + 5, whole[half].divergences / whole[half].lengths * (whole[half].lengths + 5))
    found = compared(whole, [whole[half], beside, whole[LAMBDAS.index(1.0)]])
    assert [point["within"] for point in found["retrained"]] == [True, False, True]
    assert [point["steps"] for point in found["retrained"]] == list(STRENGTHS)
    low, high = found["retrained"][0]["band"]
    assert low < found["retrained"][0]["mean_tokens"] < high
    assert found["curve"][half] == {"lambda": 0.5} | {
        key: found["retrained"][0][key] for key in ("mean_tokens", "low", "high", "kl_to_reference")
    }


def test_between_two_settings_the_curve_is_a_straight_line(rng):
    whole = curve(rng, noise=0.0)
    one, two = LAMBDAS.index(1.0), LAMBDAS.index(1.25)
    middle = (0.1 + 0.15625) / 2
    between = Answers(np.full(48, 82.5), np.full(48, 82.5 * middle))
    (point, *_) = compared(whole, [between] * 3)["retrained"]
    assert point["kl_to_reference"] == pytest.approx(middle)
    assert point["band"] == pytest.approx([(whole[one].lengths[0] + whole[two].lengths[0]) / 2] * 2)


def test_the_best_strength_is_chosen_on_some_questions_and_judged_on_the_others(rng):
    whole = curve(rng)
    best = best_strength(whole)
    assert best["lambda"] == 0.5
    assert best["at_one"] == pytest.approx(10, abs=1.5) and best["at_best"] < 4
    assert 0 < best["gain"][0] < best["at_one"] - best["at_best"] < best["gain"][1]
    # What is better on the questions of the choice alone is no gain.
    for answers, λ in zip(whole, LAMBDAS, strict=True):
        if λ == 0.25:
            answers.lengths[::2], answers.lengths[1::2] = best["target"], best["target"] + 50
    fooled = best_strength(whole)
    assert fooled["lambda"] == 0.25 and fooled["gain"][1] < 0
