"""What all figures share: colours that colour-blind readers tell apart (Okabe and Ito), on light and on dark."""

from __future__ import annotations

import plotly.graph_objects as go

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7a8699"


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
