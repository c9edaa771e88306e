"""The length experiment: reward over divergence from the reference, by λ and by retraining."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from playground.figures.style import BLUE, ORANGE, finished


def length_figure(curve: list[dict[str, Any]], retrained: list[dict[str, Any]], from_steps: int) -> go.Figure:
    """curve: rows by "lambda", from the adapter of `from_steps` steps; retrained: rows by "steps"; all with mean_tokens
    and kl_to_reference."""
    figure = go.Figure()
    for rows, name, mode, colour, label in (
        (curve, f"DeRa from {from_steps} steps, by λ", "lines+markers+text", BLUE, "lambda"),
        (retrained, "retrained, by steps", "markers+text", ORANGE, "steps"),
    ):
        figure.add_trace(
            go.Scatter(
                x=[row["kl_to_reference"] for row in rows],
                y=[row["mean_tokens"] for row in rows],
                text=[f"{'λ ' if label == 'lambda' else ''}{row[label]:g}" for row in rows],
                textposition="top center" if label == "lambda" else "bottom center",
                mode=mode,
                name=name,
                line={"color": colour},
                marker={"size": 9, "symbol": "circle" if label == "lambda" else "diamond"},
            )
        )
    figure.update_xaxes(title_text="KL to the reference per token, nats")
    figure.update_yaxes(title_text="mean length of an answer, tokens")
    figure = finished(figure, height=420, legend=True)
    figure.update_layout(
        legend={"orientation": "h", "y": 1.12}, margin={"l": 60, "r": 20, "t": 50, "b": 55}, paper_bgcolor="white"
    )
    return figure
