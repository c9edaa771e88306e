"""A training as curves: loss by step, and ranking accuracy on held-out rows."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREY, ORANGE, finished

_SMOOTH = 10
"""Steps over which the heavier line of the loss is averaged."""


def training_figure(told: dict[str, Any]) -> go.Figure:
    """told: {"losses": [loss, …], "accuracies": [[step, share], …], "steps"}."""
    losses = told["losses"]
    steps = list(range(1, len(losses) + 1))
    means = [sum(part) / len(part) for n in steps if (part := losses[max(0, n - _SMOOTH) : n])]
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=("loss", "ranking accuracy on held-out rows, %"), horizontal_spacing=0.08
    )
    line = {"mode": "lines", "showlegend": False}
    figure.add_trace(go.Scatter(x=steps, y=losses, line={"color": GREY, "width": 1}, **line), row=1, col=1)
    figure.add_trace(go.Scatter(x=steps, y=means, line={"color": BLUE, "width": 3}, **line), row=1, col=1)
    figure.add_trace(
        go.Scatter(
            x=[step for step, _ in told["accuracies"]],
            y=[round(100 * share, 1) for _, share in told["accuracies"]],
            mode="lines+markers",
            line={"color": ORANGE, "width": 3},
            showlegend=False,
        ),
        row=1,
        col=2,
    )
    figure.update_xaxes(title_text="step", range=[0, max(told["steps"], 1)])
    figure.update_yaxes(rangemode="tozero", row=1, col=1)
    figure.update_yaxes(range=[0, 102], row=1, col=2)
    return finished(figure, height=300)
