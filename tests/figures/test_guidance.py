"""The figure of docs/ivg.md shows the numbers of its table."""

from pathlib import Path

import pytest

from docs.figures import sentiment_bars
from playground.figures.guidance import guidance_figure

PAGE = Path(__file__).parents[2] / "docs" / "ivg.md"


def test_bars_and_intervals_are_those_of_the_table():
    bars = sentiment_bars(PAGE.read_text(encoding="utf-8"))
    (drawn,) = guidance_figure(bars, "score").data
    assert list(drawn.x) == ["base", "best_of_n", "cbs", "eft", "ivg"]
    for bar, mean, above, below in zip(bars, drawn.y, drawn.error_y.array, drawn.error_y.arrayminus, strict=True):
        assert mean + above == pytest.approx(bar.high)
        assert mean - below == pytest.approx(bar.low)
        assert bar.low <= mean <= bar.high
