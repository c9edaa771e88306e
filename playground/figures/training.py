"""A training as curves: loss by step, and what was measured on held-out rows."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREY, ORANGE, finished

_SMOOTH = 10
"""Steps over which the heavier line of the loss is averaged."""


def training_figure(journal: dict[str, Any]) -> go.Figure:
    """journal: {"losses": [loss, …], "curves": {name: [[step, value], …]}, "steps"}."""
    losses, curves = journal["losses"], journal["curves"]
    steps = list(range(1, len(losses) + 1))
    means = [sum(part) / len(part) for n in steps if (part := losses[max(0, n - _SMOOTH) : n])]
    titles = ["loss", *(f"{name} on held-out rows" for name in curves)]
    figure = make_subplots(rows=1, cols=len(titles), subplot_titles=titles, horizontal_spacing=0.08)
    # A line needs two points; the first step alone is a dot.
    line = {"mode": "lines" if len(losses) > 1 else "markers", "showlegend": False}
    figure.add_trace(go.Scatter(x=steps, y=losses, line={"color": GREY, "width": 1}, **line), row=1, col=1)
    figure.add_trace(go.Scatter(x=steps, y=means, line={"color": BLUE, "width": 3}, **line), row=1, col=1)
    for column, points in enumerate(curves.values(), 2):
        figure.add_trace(
            go.Scatter(
                x=[step for step, _ in points],
                y=[round(value, 4) for _, value in points],
                mode="lines+markers",
                line={"color": ORANGE, "width": 3},
                showlegend=False,
            ),
            row=1,
            col=column,
        )
    figure.update_xaxes(title_text="step", range=[0, max(journal["steps"], 1)])
    figure.update_yaxes(rangemode="tozero")
    return finished(figure, height=300)
