"""The length experiment: reward over divergence from the reference, by λ and by retraining."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from playground.figures.style import BLUE, GREEN, ORANGE, finished


def length_figure(directions: dict[str, dict[str, list[dict[str, Any]]]], from_steps: int) -> go.Figure:
    """For each direction that was rewarded: "curve", rows by "lambda", from the adapter of `from_steps` steps, and
    "retrained", rows by "steps"; all with mean_tokens, its interval low and high, and kl_to_reference."""
    figure = go.Figure()
    for (direction, found), colour in zip(directions.items(), (BLUE, GREEN), strict=False):
        curve, retrained = found["curve"], found["retrained"]
        x = [row["kl_to_reference"] for row in curve]
        band = [row["high"] for row in curve] + [row["low"] for row in reversed(curve)]
        outline = {"x": x + x[::-1], "y": band, "fill": "toself", "opacity": 0.2, "line": {"width": 0}}
        figure.add_trace(go.Scatter(**outline, fillcolor=colour, mode="lines", showlegend=False, hoverinfo="skip"))
        for rows, name, mode, ink, label in (
            (curve, f"DeRa from {from_steps} steps, {direction}, by λ", "lines+markers+text", colour, "λ {lambda:g}"),
            (retrained, f"retrained, {direction}, by steps", "markers+text", ORANGE, "{steps}"),
        ):
            figure.add_trace(
                go.Scatter(
                    x=[row["kl_to_reference"] for row in rows],
                    y=[row["mean_tokens"] for row in rows],
                    text=[label.format(**row) for row in rows],
                    textposition="top center" if rows is curve else "bottom center",
                    mode=mode,
                    name=name,
                    line={"color": ink},
                    marker={"size": 9, "symbol": "circle" if rows is curve else "diamond"},
                )
            )
    figure.update_xaxes(title_text="KL to the reference per token, nats")
    figure.update_yaxes(title_text="mean length of an answer, tokens")
    figure = finished(figure, height=460, legend=True)
    figure.update_layout(
        legend={"orientation": "h", "y": 1.16}, margin={"l": 60, "r": 20, "t": 60, "b": 55}, paper_bgcolor="white"
    )
    return figure
