"""What each lane cost, side by side."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from playground.figures.style import finished

_MEASURES = (("generated_tokens", "tokens written"), ("forward_tokens", "tokens computed"), ("seconds", "seconds"))


def price_figure(lanes: list[dict[str, Any]]) -> go.Figure:
    """Bars of tokens and seconds for each lane. lanes: {"title", "cost", "hue"} in their order on the page; the
    last is the colour of its method."""
    names = [f"{number}. {lane['title']}" for number, lane in enumerate(lanes, 1)]
    figure = make_subplots(rows=len(_MEASURES), cols=1, subplot_titles=[m[1] for m in _MEASURES], vertical_spacing=0.12)
    colours = [lane["hue"] for lane in lanes]
    for row, (key, _) in enumerate(_MEASURES, 1):
        values = [round(lane["cost"][key], 2) for lane in lanes]
        bars = go.Bar(x=values, y=names, orientation="h", marker_color=colours, text=values, textposition="auto")
        figure.add_trace(bars, row=row, col=1)
    figure.update_yaxes(autorange="reversed")
    return finished(figure, len(_MEASURES) * (60 + 26 * len(lanes)))
