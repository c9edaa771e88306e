"""Accuracy over coverage: how often answers are right if only the surest are given."""

from __future__ import annotations

import plotly.graph_objects as go

from playground.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, finished

_TITLES = {
    "likelihood": "likelihood",
    "entropy": "entropy of the beams",
    "p_true": "asked whether it is true",
    "self_eval": "self-evaluation alone",
}
_OTHERS = (GREY, PURPLE, ORANGE, GREEN)
_OWN = "marked by people here"
Points = list[dict[str, float]]
"""{"coverage", "accuracy"} each, coverage rising."""


def coverage_figure(curves: dict[str, Points], at: float | None = None, own: Points | None = None) -> go.Figure:
    """A curve for each confidence measure; the last one is the measure that decides, and stands out. at: the coverage
    at which a marker stands on it, and on `own`, the answers that people marked here."""
    figure = go.Figure()
    names = [*curves]
    marked = [curves[name] for name in names[-1:]] + ([own] if own else [])
    for name, colour in zip(names[:-1], _OTHERS, strict=False):
        _add(figure, _TITLES.get(name, name), curves[name], {"color": colour, "width": 1.5})
    for name in names[-1:]:
        _add(figure, _TITLES.get(name, f"{name}: combined"), curves[name], {"color": BLUE, "width": 3.5})
    if own:
        _add(figure, _OWN, own, {"color": BLUE, "width": 2, "dash": "dot"})
    for points in marked if at is not None else []:
        _mark(figure, points, at)
    figure.update_xaxes(title_text="coverage: share of questions answered", range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "y": -0.25})
    return finished(figure, height=360, legend=True)


def _add(figure: go.Figure, title: str, points: Points, line: dict[str, object]) -> None:
    # From no coverage to the first point the accuracy is that of the first point, as for the area under the curve.
    x, y = [0.0, *(p["coverage"] for p in points)], [points[0]["accuracy"], *(p["accuracy"] for p in points)]
    figure.add_trace(go.Scatter(x=x, y=y, name=title, mode="lines", line=line))


def _mark(figure: go.Figure, points: Points, at: float) -> None:
    """A marker on a curve, and how often answers are right there."""
    here = next((point for point in points if point["coverage"] >= at - 1e-9), points[-1])
    figure.add_trace(
        go.Scatter(
            x=[here["coverage"]],
            y=[here["accuracy"]],
            mode="markers+text",
            text=[f"{here['accuracy']:.0%}"],
            textposition="top center",
            marker={"color": BLUE, "size": 12, "line": {"color": "white", "width": 2}},
            showlegend=False,
        )
    )
