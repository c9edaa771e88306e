"""The curves show the numbers they were given."""

import pytest

from playground.figures.coverage import coverage_figure
from playground.figures.frontier import frontier_figure
from playground.figures.length import length_figure
from playground.figures.sweep import sweep_figure
from playground.figures.training import training_figure

ROWS = [
    {
        "lambda": λ,
        "refusal_rate": λ / 2,
        "mean_tokens": 30 - λ,
        "kl_to_reference": λ * λ,
        "kl_to_aligned": (1 - λ) ** 2,
        "mean_score": -1.0,
    }
    for λ in (0.0, 0.5, 1.0)
]


def test_a_sweep_draws_every_measure_over_lambda():
    figure = sweep_figure(ROWS, "lambda", "λ", "Sentiment")
    by_colour = [list(trace.y) for trace in figure.data]
    assert by_colour == [[0, 25, 50], [30, 29.5, 29], [0, 0.25, 1], [1, 0.25, 0], [-1, -1, -1]]
    assert all(list(trace.x) == [0, 0.5, 1] for trace in figure.data)
    assert "Sentiment" in figure.layout.annotations[3].text


def test_a_training_draws_its_losses_their_mean_and_every_curve_by_name():
    curves = {"accuracy": [[0, 0.5], [2, 0.75]], "error": [[0, 3.0], [2, 1.0]]}
    figure = training_figure({"losses": [4.0, 2.0], "curves": curves, "steps": 10})
    losses, means, accuracies, errors = figure.data
    assert list(losses.y) == [4, 2]
    assert list(means.y) == [4, 3]
    assert (list(accuracies.x), list(accuracies.y)) == ([0, 2], [0.5, 0.75])
    assert (list(errors.x), list(errors.y)) == ([0, 2], [3, 1])
    titles = [title.text for title in figure.layout.annotations]
    assert titles == ["loss", "accuracy on held-out rows", "error on held-out rows"]


def test_the_length_experiment_draws_both_ways_for_each_direction():
    retrained = [{"steps": 10, "mean_tokens": 31, "kl_to_reference": 0.1}]
    curve = [row | {"low": row["mean_tokens"] - 1, "high": row["mean_tokens"] + 1} for row in ROWS]
    directions = {name: {"curve": curve, "retrained": retrained} for name in ("shorter", "longer")}
    traces = length_figure(directions, 40).data
    assert len(traces) == 6
    band, line, points = traces[:3]
    assert list(band.y) == [31, 30.5, 30, 28, 28.5, 29]
    assert list(line.x) == [0, 0.25, 1]
    assert list(line.text) == ["λ 0", "λ 0.5", "λ 1"]
    assert (list(points.x), list(points.y), list(points.text)) == ([0.1], [31], ["10"])


def test_the_frontier_draws_every_method_over_lambda_price_and_help():
    points = [
        {
            "method": method,
            "share": share,
            "harmless_rate": 0.5 + share,
            "helpful_rate": 1 - share,
            "forward_tokens": price,
            "intervals": {"harmless_rate": [0.4 + share, 0.7 + share]},
        }
        for method, price in (("plain", 50), ("wide", 600))
        for share in (0.0, 0.25)
    ]
    over_share, over_price, over_help, *wide = frontier_figure(points).data
    assert (over_share.name, list(over_share.y)) == ("plain", [0.5, 0.75])
    assert list(over_share.x) == pytest.approx([0, 0.25], abs=0.02)
    assert list(over_share.error_y.array) == pytest.approx([0.2, 0.2])
    assert list(over_share.error_y.arrayminus) == pytest.approx([0.1, 0.1])
    assert (list(over_price.x), list(over_help.x)) == ([50, 50], [1, 0.75])
    assert list(over_price.y) == list(over_help.y) == [0.5, 0.75]
    assert {trace.name for trace in wide} == {"wide"}


def test_accuracy_over_coverage_is_drawn_by_measure_with_a_marker_on_the_last():
    def points(*accuracies):
        return [{"coverage": (n + 1) / 4, "accuracy": value} for n, value in enumerate(accuracies)]

    curves = {"likelihood": points(1, 0.5, 0.5, 0.25), "mine": points(1, 1, 0.5, 0.25)}
    figure = coverage_figure(curves, at=0.4, own=points(0.75, 0.75, 0.75, 0.5))
    baseline, mine, own, marker, own_marker = figure.data
    assert list(baseline.x) == [0, 0.25, 0.5, 0.75, 1]
    assert list(baseline.y) == [1, 1, 0.5, 0.5, 0.25]
    assert (baseline.name, own.name) == ("likelihood", "marked by people here")
    assert mine.line.width > baseline.line.width
    assert (list(marker.x), list(marker.y), list(marker.text)) == ([0.5], [1], ["100%"])
    assert (list(own_marker.x), list(own_marker.y)) == ([0.5], [0.75])
    assert [trace.name for trace in coverage_figure(curves).data] == ["likelihood", mine.name]
    assert [trace.name for trace in coverage_figure({}, own=points(1, 1, 1, 1)).data] == ["marked by people here"]
    assert not coverage_figure({}, at=0.5).data
