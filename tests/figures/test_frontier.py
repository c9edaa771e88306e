"""The figure of searches beside turning λ shows each point twice, with its interval."""

import pytest

from playground.figures.frontier import frontier_figure


def point(method, share, harmless, helpful, price):
    rates = {"harmless_rate": harmless, "helpful_rate": helpful}
    intervals = {"harmless_rate": [harmless - 0.1, harmless + 0.05], "helpful_rate": [0, 1]}
    return {"method": method, "share": share, **rates, "forward_tokens": price, "intervals": intervals}


def test_each_method_is_a_line_over_price_and_over_lost_help():
    points = [point("one", 0, 0.2, 1, 30), point("two", 0, 0.3, 0.9, 600), point("one", 0.5, 0.8, 0.75, 60)]
    price, lost, other, _ = frontier_figure(points).data
    assert (price.name, other.name) == ("one", "two")
    assert (list(price.x), list(price.y), list(price.text)) == ([30, 60], [0.2, 0.8], ["0", "0.5"])
    assert list(lost.x) == [0, 0.25]
    assert list(lost.y) == list(price.y)
    assert list(price.error_y.array) == pytest.approx([0.05, 0.05])
    assert list(price.error_y.arrayminus) == pytest.approx([0.1, 0.1])
    assert price.line.color == lost.line.color != other.line.color
