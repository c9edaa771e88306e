"""The leaderboard as pictures: strengths with their intervals, and strength against cost."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import finished, intervals


def ranking_figure(methods: list[dict[str, Any]], colours: list[str]) -> go.Figure:
    """methods: those of `leaderboard`, the strongest first, each with its colour."""
    figure = make_subplots(
        rows=2,
        cols=1,
        vertical_spacing=min(0.2, 90 / _height(methods)),
        subplot_titles=("strength, 95 % interval", "cost: tokens computed"),
    )
    names = [method["method"] for method in methods]
    strengths = [method["strength"] for method in methods]
    figure.add_trace(
        go.Scatter(
            x=strengths,
            y=names,
            mode="markers",
            marker={"color": colours, "size": 10},
            error_x=intervals(strengths, [(m["low"], m["high"]) for m in methods]),
        ),
        row=1,
        col=1,
    )
    cost = [round(method["mean_forward_tokens"]) for method in methods]
    figure.add_trace(
        go.Bar(x=cost, y=names, orientation="h", marker_color=colours, text=cost, textposition="auto"), row=2, col=1
    )
    figure.update_yaxes(autorange="reversed")
    return finished(figure, height=_height(methods))


def _height(methods: list[dict[str, Any]]) -> int:
    """Pixels: below one another the two fit a phone, too."""
    return 170 + 60 * max(1, len(methods))
