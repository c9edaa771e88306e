"""Draws the figures of docs/aspire.md, docs/ivg.md and docs/frontier.md: python -m docs.figures (or make figures).

aspire.svg is the shipped calibration as the Ask tab draws it. ivg.svg is made from the results in docs/ivg.md's tables,
so the two cannot differ. frontier.svg is what `evaluate frontier --json` printed into docs/frontier.json.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import plotly.graph_objects as go

from playground.figures.coverage import coverage_figure
from playground.figures.frontier import frontier_figure
from playground.figures.guidance import Bar, guidance_figure
from tests.browser import installed

DOCS = Path(__file__).parent
CALIBRATION = DOCS.parent / "adapters" / "answers" / "calibration.json"
NUMBER = r"(−?[\d.]+)"


def main() -> None:
    """Draw all."""
    if path := installed():
        os.environ.setdefault("BROWSER_PATH", path)  # plotly draws by a browser, and knows fewer names of it
    told = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    _write(coverage_figure(told["curves"], told["coverage"]), "aspire")
    _write(guidance_figure(sentiment_bars((DOCS / "ivg.md").read_text(encoding="utf-8")), "VADER, −1 to 1"), "ivg")
    _write(frontier_figure(json.loads((DOCS / "frontier.json").read_text(encoding="utf-8"))["points"]), "frontier")


def sentiment_bars(page: str) -> list[Bar]:
    """The rows of docs/ivg.md's first table of sentiments: | method | mean | low to high | …"""
    table = page.partition("**Sentiment**")[2].partition("![")[0]
    rows = re.findall(rf"^\| (\w+) \| {NUMBER} \| {NUMBER} to {NUMBER} \| \d+ %", table, re.MULTILINE)
    return [Bar(method, *(float(number.replace("−", "-")) for number in numbers)) for method, *numbers in rows]


def _write(figure: go.Figure, name: str) -> None:
    figure.update_layout(paper_bgcolor="white", plot_bgcolor="white")
    figure.write_image(DOCS / f"{name}.svg", width=760, height=420)


if __name__ == "__main__":
    main()
