"""The price figure shows the numbers it was given, lane by lane."""

from playground.figures.price import price_figure


def test_bars_are_the_costs_in_the_order_of_the_lanes():
    costs = [
        {"generated_tokens": 5, "forward_tokens": 20, "seconds": 1.234, "forward_passes": 5},
        {"generated_tokens": 50, "forward_tokens": 200, "seconds": 2.0, "forward_passes": 5},
    ]
    figure = price_figure([{"title": "Greedy", "cost": cost, "hue": "#123456"} for cost in costs])
    tokens, forward, seconds = figure.data
    assert list(tokens.x) == [5, 50]
    assert list(forward.x) == [20, 200]
    assert list(seconds.x) == [1.23, 2.0]
    assert list(tokens.y) == ["1. Greedy", "2. Greedy"], "equal methods stay apart"
