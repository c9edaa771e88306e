"""What each method reaches: a bar with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from playground.figures.style import BLUE, GREY, finished, intervals


class Bar(NamedTuple):
    """A method's mean score, and the ends of its interval."""

    method: str
    mean: float
    low: float
    high: float


def guidance_figure(bars: Sequence[Bar], title: str) -> go.Figure:
    """`title`: of the axis, what the scores are. The first bar is the plain model's, and grey."""
    figure = go.Figure(
        go.Bar(
            x=[bar.method for bar in bars],
            y=[bar.mean for bar in bars],
            marker={"color": [GREY] + [BLUE] * (len(bars) - 1)},
            error_y=intervals([bar.mean for bar in bars], [(bar.low, bar.high) for bar in bars]),
        )
    )
    figure.update_yaxes(title_text=title)
    return finished(figure, height=360)
