"""How answers move with λ: one small picture for each measure."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import BLUE, GREEN, ORANGE, PURPLE, finished


def sweep_figure(rows: list[dict[str, Any]], scorer: str) -> go.Figure:
    """Curves over λ. rows: those of `evaluate dera`; scorer: the title of what the mean score is."""
    names = ("answers that refuse, %", "tokens an answer", "KL per token, nats", f"mean score: {scorer}")
    figure = make_subplots(rows=2, cols=2, subplot_titles=names, vertical_spacing=0.16, horizontal_spacing=0.1)
    lambdas = [row["lambda"] for row in rows]

    def curve(key: str, place: tuple[int, int], colour: str, name: str = "", times: float = 1) -> None:
        line = go.Scatter(
            x=lambdas,
            y=[round(times * row[key], 4) for row in rows],
            mode="lines+markers",
            line={"color": colour},
            marker={"symbol": "diamond" if "aligned" in name else "circle"},
            name=name,
            showlegend=bool(name),
        )
        figure.add_trace(line, row=place[0], col=place[1])

    curve("refusal_rate", (1, 1), BLUE, times=100)
    curve("mean_tokens", (1, 2), GREEN)
    curve("kl_to_reference", (2, 1), ORANGE, "to the reference")
    curve("kl_to_aligned", (2, 1), PURPLE, "to the aligned model")
    curve("mean_score", (2, 2), BLUE)
    figure.update_yaxes(range=[-5, 105], row=1, col=1)
    figure.update_yaxes(rangemode="tozero", row=1, col=2)
    figure.update_xaxes(title_text="λ", row=2)
    figure.update_layout(legend={"orientation": "h", "y": -0.16})
    return finished(figure, height=520, legend=True)
