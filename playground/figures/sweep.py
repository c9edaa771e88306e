"""How answers move with a method's dial: one small picture for each measure."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREEN, ORANGE, PURPLE, finished

_LOOKS = ((ORANGE, "circle"), (PURPLE, "diamond"))
"""Of the divergences: colour and marker."""


def sweep_figure(rows: list[dict[str, Any]], setting: str, title: str, scorer: str) -> go.Figure:
    """Curves over the dial. rows: those of `sweep`; setting, title: the dial in the rows and for people; scorer: the
    title of what the mean score is."""
    names = ("answers that refuse, %", "tokens per answer", "KL per token, nats", f"mean score: {scorer}")
    figure = make_subplots(rows=2, cols=2, subplot_titles=names, vertical_spacing=0.16, horizontal_spacing=0.1)

    def curve(
        key: str, place: tuple[int, int], colour: str, name: str = "", symbol: str = "circle", times: float = 1
    ) -> None:
        line = go.Scatter(
            x=[row[setting] for row in rows],
            y=[round(times * row[key], 4) for row in rows],
            mode="lines+markers",
            line={"color": colour},
            marker={"symbol": symbol},
            name=name,
            showlegend=bool(name),
        )
        figure.add_trace(line, row=place[0], col=place[1])

    curve("refusal_rate", (1, 1), BLUE, times=100)
    curve("mean_tokens", (1, 2), GREEN)
    divergences = [key for key in rows[0] if key.startswith("kl_to_")]
    for key, (colour, symbol) in zip(divergences, _LOOKS, strict=False):
        curve(key, (2, 1), colour, key.replace("kl_to_", "to "), symbol)
    curve("mean_score", (2, 2), BLUE)
    figure.update_yaxes(range=[-5, 105], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_xaxes(title_text=title, row=2)
    figure.update_layout(legend={"orientation": "h", "y": -0.16})
    return finished(figure, height=520, legend=True)
