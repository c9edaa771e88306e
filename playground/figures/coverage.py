"""Accuracy over coverage: how often answers are right if only the surest are given."""

from __future__ import annotations

import plotly.graph_objects as go

from playground.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, finished

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
Points = list[dict[str, float]]


def coverage_figure(curves: dict[str, Points], at: float | None, own: Points | None = None) -> go.Figure:
    """curves: measure → points; at: the coverage to mark; own: the points of people's marks."""
    figure = go.Figure()
    named = [*curves.items(), *([("marked by people here", own)] if own else [])]
    for (name, points), colour in zip(named, _COLOURS * 2, strict=False):
        line = {"color": colour, "dash": "dot" if points is own else "solid"}
        x, y = [[point[key] for point in points] for key in ("coverage", "accuracy")]
        figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines", line=line))
    if at is not None:
        figure.add_vline(x=at, line_dash="dash", line_color=GREY)
    figure.update_xaxes(title_text="coverage: share of questions answered", range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text="accuracy", tickformat=".0%")
    figure.update_layout(legend={"orientation": "h", "y": -0.3})
    return finished(figure, height=340, legend=True)
