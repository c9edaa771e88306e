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
    # Below one another they fit a phone, too.
    figure = make_subplots(rows=len(names), cols=1, subplot_titles=names, shared_xaxes=True, vertical_spacing=0.07)

    def curve(key: str, place: int, colour: str, name: str = "", symbol: str = "circle", times: float = 1) -> None:
        line = go.Scatter(
            x=[row[setting] for row in rows],
            y=[round(times * row[key], 4) for row in rows],
            mode="lines+markers",
            line={"color": colour},
            marker={"symbol": symbol},
            name=name,
            showlegend=bool(name),
        )
        figure.add_trace(line, row=place, col=1)

    curve("refusal_rate", 1, BLUE, times=100)
    curve("mean_tokens", 2, GREEN)
    divergences = [key for key in rows[0] if key.startswith("kl_to_")]
    for key, (colour, symbol) in zip(divergences, _LOOKS, strict=False):
        curve(key, 3, colour, key.replace("kl_to_", "to "), symbol)
    curve("mean_score", 4, BLUE)
    figure.update_yaxes(range=[-5, 105], row=1)
    figure.update_yaxes(rangemode="tozero", row=2)
    figure.update_xaxes(title_text=title, row=len(names))
    figure.update_layout(legend={"orientation": "h", "y": -0.08})
    return finished(figure, height=760, legend=True)
