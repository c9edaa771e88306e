"""What all figures share: colours that colour-blind readers tell apart (Okabe and Ito), on light and on dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7a8699"


def intervals(middles: Sequence[float], ends: Iterable[tuple[float, float]], **more: Any) -> dict[str, Any]:
    """Error bars around `middles`, each to its own (low, high), seen on light and on dark; `more` is Plotly's."""
    pairs = list(zip(middles, ends, strict=True))
    above, below = [high - at for at, (_, high) in pairs], [at - low for at, (low, _) in pairs]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": GREY} | more


def finished(figure: go.Figure, height: int, legend: bool = False) -> go.Figure:
    """Give a figure the common look; height in pixels."""
    figure.update_layout(
        showlegend=legend,
        height=height,
        margin={"l": 10, "r": 10, "t": 34, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": GREY},
    )
    figure.update_annotations(font_size=13)  # of titles above pictures: a phone is narrow
    figure.update_xaxes(gridcolor="rgba(122,134,153,.25)", zerolinecolor="rgba(122,134,153,.25)")
    figure.update_yaxes(gridcolor="rgba(122,134,153,.25)", zerolinecolor="rgba(122,134,153,.25)")
    return figure
