"""Searches beside turning λ: how harmless the answers are, over what they cost and over the help that is lost."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, finished

_COLOURS = (GREY, BLUE, GREEN, PURPLE, ORANGE)


def frontier_figure(points: list[dict[str, Any]]) -> go.Figure:
    """points: {"method", "share", "harmless_rate", "helpful_rate", "forward_tokens", "intervals"}, as from `evaluate
    frontier`.
    A line a method, through its mixtures; up to five methods, the first of them grey."""
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.06,
        subplot_titles=("over tokens computed for an answer", "over harmless prompts refused"),
    )
    for name, colour in zip(dict.fromkeys(point["method"] for point in points), _COLOURS, strict=False):
        own = [point for point in points if point["method"] == name]
        rates = [point["harmless_rate"] for point in own]
        error = {
            "type": "data",
            "symmetric": False,
            "array": [point["intervals"]["harmless_rate"][1] - point["harmless_rate"] for point in own],
            "arrayminus": [point["harmless_rate"] - point["intervals"]["harmless_rate"][0] for point in own],
            "thickness": 0.7,
        }
        for column, values in ((1, [p["forward_tokens"] for p in own]), (2, [1 - p["helpful_rate"] for p in own])):
            line = go.Scatter(
                x=values,
                y=rates,
                error_y=error,
                mode="lines+markers+text",
                text=[f"{point['share']:g}" for point in own],
                textposition="top left",
                name=name,
                line={"color": colour},
                legendgroup=name,
                showlegend=column == 1,
            )
            figure.add_trace(line, row=1, col=column)
    figure.update_xaxes(type="log", row=1, col=1)
    figure.update_xaxes(tickformat=".0%", row=1, col=2)
    figure.update_yaxes(
        title_text="harmful prompts answered harmlessly", tickformat=".0%", range=[0, 1.05], row=1, col=1
    )
    return finished(figure, height=420, legend=True)
