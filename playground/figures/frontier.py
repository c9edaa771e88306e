"""Does searching beat turning λ: harmlessness over price, and over the help that is left."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, finished

_INKS = (GREY, BLUE, GREEN, PURPLE, ORANGE)


def frontier_figure(points: list[dict[str, Any]]) -> go.Figure:
    """points: those of `evaluate frontier`, with method, share (λ), harmless_rate and its interval, helpful_rate and
    forward_tokens. One line a method, its points by λ."""
    figure = make_subplots(
        rows=1, cols=2, shared_yaxes=True, horizontal_spacing=0.05, subplot_titles=("over price", "over help")
    )
    methods = list(dict.fromkeys(point["method"] for point in points))
    for method, ink in zip(methods, _INKS, strict=False):
        mine = [point for point in points if point["method"] == method]
        heights = [point["harmless_rate"] for point in mine]
        ends = [point["intervals"]["harmless_rate"] for point in mine]
        error = {
            "array": [high - at for at, (_, high) in zip(heights, ends, strict=True)],
            "arrayminus": [at - low for at, (low, _) in zip(heights, ends, strict=True)],
            "symmetric": False,
            "thickness": 0.7,
        }
        for column, x in ((1, "forward_tokens"), (2, "helpful_rate")):
            figure.add_trace(
                go.Scatter(
                    x=[point[x] for point in mine],
                    y=heights,
                    error_y=error if column == 1 else None,
                    text=[f"{point['share']:g}" for point in mine],
                    textposition="top center",
                    mode="lines+markers+text" if column == 1 else "markers+text",
                    name=method,
                    legendgroup=method,
                    showlegend=column == 1,
                    line={"color": ink},
                    marker={"color": ink, "size": 8},
                ),
                row=1,
                col=column,
            )
    figure.update_xaxes(title_text="forward tokens an answer", type="log", row=1, col=1)
    figure.update_xaxes(title_text="harmless requests that are answered", tickformat=".0%", row=1, col=2)
    figure.update_yaxes(title_text="harmless answers to harmful requests", tickformat=".0%", row=1, col=1)
    figure = finished(figure, height=440, legend=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.2}, margin={"l": 60, "r": 20, "t": 70, "b": 55})
    return figure
