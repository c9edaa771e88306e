"""Does searching beat turning λ: harmlessness over λ, over price, and over the help that is left."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, finished, intervals

_INKS = (GREY, BLUE, GREEN, PURPLE, ORANGE)
_APART = 0.006
"""Between the methods at one λ, so that their intervals stand beside each other."""
_OVER = (("share", "over λ"), ("forward_tokens", "over price"), ("helpful_rate", "over help"))


def frontier_figure(points: list[dict[str, Any]]) -> go.Figure:
    """points: those of `evaluate frontier`, with method, share (λ), harmless_rate and its interval, helpful_rate and
    forward_tokens. One line a method over λ, with intervals; its points over the rest grow with λ."""
    titles = [title for _, title in _OVER]
    widths = [0.5, 0.27, 0.23]
    figure = make_subplots(
        rows=1, cols=3, shared_yaxes=True, horizontal_spacing=0.03, subplot_titles=titles, column_widths=widths
    )
    methods = list(dict.fromkeys(point["method"] for point in points))
    for number, (method, ink) in enumerate(zip(methods, _INKS, strict=False)):
        mine = [point for point in points if point["method"] == method]
        heights = [point["harmless_rate"] for point in mine]
        error = intervals(heights, [p["intervals"]["harmless_rate"] for p in mine], thickness=0.8, width=0, color=ink)
        for column, (x, _) in enumerate(_OVER, 1):
            over_share = x == "share"
            figure.add_trace(
                go.Scatter(
                    x=[point[x] + (number - 2) * _APART * over_share for point in mine],
                    y=heights,
                    error_y=error if over_share else None,
                    mode="lines+markers" if over_share else "markers",
                    name=method,
                    legendgroup=method,
                    showlegend=over_share,
                    line={"color": ink},
                    marker={"color": ink, "size": 8 if over_share else [6 + 16 * point["share"] for point in mine]},
                ),
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="λ of the policy", row=1, col=1)
    figure.update_xaxes(title_text="forward tokens", range=[0, None], row=1, col=2)
    figure.update_xaxes(title_text="requests answered", tickformat=".0%", nticks=4, row=1, col=3)
    figure.update_yaxes(tickformat=".0%")
    figure.update_yaxes(title_text="harmless answers to harmful requests", row=1, col=1)
    figure = finished(figure, height=440, legend=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.2}, margin={"l": 60, "r": 20, "t": 70, "b": 55})
    return figure
