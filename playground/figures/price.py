"""What each lane cost, side by side."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

# Okabe and Ito's blue and orange: told apart by colour-blind readers, on light and on dark.
_BLUE, _ORANGE = "#0072B2", "#D55E00"
_MEASURES = (
    ("generated_tokens", "tokens generated", _BLUE),
    ("forward_tokens", "tokens forward", _BLUE),
    ("seconds", "seconds", _ORANGE),
)


def price_figure(lanes: list[dict[str, Any]]) -> go.Figure:
    """Bars of tokens and seconds for each lane. lanes: {"title", "cost"} in their order on the page."""
    names = [f"{number}. {lane['title']}" for number, lane in enumerate(lanes, 1)]
    figure = make_subplots(rows=len(_MEASURES), cols=1, subplot_titles=[m[1] for m in _MEASURES], vertical_spacing=0.12)
    for row, (key, _, colour) in enumerate(_MEASURES, 1):
        values = [round(lane["cost"][key], 2) for lane in lanes]
        bars = go.Bar(x=values, y=names, orientation="h", marker_color=colour, text=values, textposition="auto")
        figure.add_trace(bars, row=row, col=1)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(
        showlegend=False,
        height=len(_MEASURES) * (60 + 26 * len(lanes)),
        margin={"l": 10, "r": 10, "t": 34, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#7a8699"},
        modebar={
            "remove": ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale", "toImage"]
        },
    )
    return figure
