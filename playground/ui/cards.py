"""The runs that come with the project, as a row of cards: a small picture of the method at work, the prompt, and how
the answer turned. A card holds a summary alone; a click opens the whole run."""

from __future__ import annotations

import html
import math
from pathlib import Path
from textwrap import shorten
from typing import Any

from playground.decoders import DECODERS
from playground.record import Detail, LaneRecord, RunRecord
from playground.scorers.refusal import refuses
from playground.ui.board import changed

STYLE = (Path(__file__).parent / "cards.css").read_text(encoding="utf-8")
WIDTH, HEIGHT, EDGE = 200, 60, 5
"""Of a picture; EDGE is kept free around it."""
_PROMPT, _ANSWER = 64, 76
"""Characters that a card shows of a prompt, and of an answer."""


def cards(runs: dict[str, RunRecord], shows: dict[str, str]) -> str:
    """The row, as HTML; all text of the runs is escaped. `shows`: name of a run → what it shows, in the order of the
    cards; a run without an entry has no card. The last one leads to a battle."""
    items = "".join(f"<li>{_card(runs[name], words)}</li>" for name, words in shows.items() if name in runs)
    if not items:
        return ""
    return f'<section><h2>Recorded runs</h2><ol class="cards">{items}<li>{_battle()}</li></ol></section>'


def _battle() -> str:
    """The last card has no run: it leads to the Arena, where page.js begins a battle. Two answers, and nobody knows
    whose."""
    sides = [strip([(length, 0.3) for length in lengths]) for lengths in ((5, 3, 6, 4, 3, 5), (3, 6, 4, 2, 5, 4))]
    drawn = "".join(
        f'<svg x="{x}" width="{WIDTH / 2 - EDGE}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">{side}</svg>'
        for x, side in zip((0, WIDTH / 2 + EDGE), sides, strict=True)
    )
    return (
        f'<a href="#arena"><svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{drawn}</svg>'
        "<strong>Which answer is better? Vote blind</strong><q>One prompt, two hidden methods</q>"
        "<span>A battle of the Arena: after your vote you see who wrote which answer.</span></a>"
    )


def _card(run: RunRecord, shows: str) -> str:
    ends = run["lanes"][0], run["lanes"][-1]
    turned = "".join(
        f"<span><b>{html.escape(name)}:</b> {_short(lane['text'], _ANSWER)}</span>"
        for name, lane in zip(_names(ends), ends, strict=True)
    )
    prompt = _short(run["prompt"].rsplit("\n\n", 1)[-1], _PROMPT)
    return (
        f'<a href="?run={html.escape(run["id"])}#play">{picture(run)}<strong>{html.escape(shows)}</strong>'
        f"<q>{prompt}</q>{turned}</a>"
    )


def _short(text: str, most: int) -> str:
    return html.escape(shorten(text, most, placeholder=" …"))


def _names(lanes: tuple[LaneRecord, ...]) -> list[str]:
    """What lanes are called: by their methods, or where that is one, by what is set otherwise."""
    one = len({lane["method"] for lane in lanes}) == 1
    return [_name(lane, by_options=one) for lane in lanes]


def _name(lane: LaneRecord, by_options: bool) -> str:
    known = DECODERS.get(lane["method"])
    told = ", ".join(changed(lane["options"], known)) if by_options else ""
    return told or (known.title if known else lane["method"])


def picture(run: RunRecord) -> str:
    """A small picture of a run, as SVG: of its last lane, or of all where they are one method at many settings."""
    lanes = run["lanes"]
    detail = lanes[-1]["detail"]
    dials = [lane["detail"]["dial"]["value"] for lane in lanes if lane["detail"].get("dial")]
    if len(set(dials)) == len(lanes) > 2:
        drifts = [_drift(lane["detail"]) for lane in lanes]
        drawn = curve(list(zip(dials, drifts, [refuses(lane["text"]) for lane in lanes], strict=True)))
    elif (detail.get("tree") or {}).get("steps"):
        drawn = tree(detail["tree"]["steps"])
    elif "abstained" in detail:
        drawn = gauge(detail["confidence"], detail["threshold"])
    else:
        lengths = [len(token["text"]) for token in detail["tokens"]]
        drawn = strip(list(zip(lengths, _heats(detail), strict=True)))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">{drawn}</svg>'


def _heats(detail: Detail) -> list[float]:
    """How strongly each token is coloured, -1 to 1."""
    colour = detail.get("colour")
    if not colour:
        return [0.0] * len(detail["tokens"])
    scale = colour["sign"] / colour["full"]
    return [max(-1.0, min(1.0, scale * (token.get(colour["number"]) or 0))) for token in detail["tokens"]]


def _drift(detail: Detail) -> float:
    """The mean colour of the tokens: for a dial, how far the answer is from the model without it."""
    heats = _heats(detail)
    return sum(heats) / max(1, len(heats))


def tree(steps: list[dict[str, Any]]) -> str:
    """A search: what was evaluated, good or bad, and the way that was taken."""
    parents: dict[int, int] = {}
    values: dict[int, float] = {}
    taken = [0]
    for step in steps:
        parents |= {child["id"]: step["node"] for child in step.get("children", ())}
        if step["kind"] == "evaluate":
            values.setdefault(step["node"], step["value"])
        values |= {node: value for node, _, value in step.get("set", ())}
        taken += [step["node"]] if step["kind"] == "commit" else step.get("path", []) if step["kind"] == "take" else []
    seen = {0} | {node for node in parents if node in values}
    children = {node: [child for child in seen if parents.get(child) == node] for node in seen}
    rows: dict[int, float] = {}
    depths = {0: 0}
    for node in sorted(seen - {0}):  # parents come before their children
        depths[node] = depths[parents[node]] + 1

    def place(node: int) -> float:
        below = [place(child) for child in sorted(children[node])]
        rows[node] = sum((below[0], below[-1])) / 2 if below else float(sum(not children[other] for other in rows))
        return rows[node]

    place(0)
    across, down = max(depths.values()) or 1, max(rows.values()) or 1

    def at(node: int) -> str:
        x, y = depths[node] / across, rows[node] / down
        return f"{EDGE + x * (WIDTH - 2 * EDGE):.0f} {EDGE + y * (HEIGHT - 2 * EDGE):.0f}"

    edges = "".join(f"M{at(parents[node])}L{at(node)}" for node in sorted(seen - {0}))
    way = "L".join(at(node) for node in taken if node in seen)
    dots = {"bad": "", "good": ""}
    for node in sorted(seen - {0}):
        dots["good" if values[node] > 0 else "bad"] += f"M{at(node)}h0"
    return f'<path class="edge" d="{edges}"/><path class="way" d="M{way}"/>' + "".join(
        f'<path class="dot {name}" d="{path}"/>' for name, path in dots.items() if path
    )


def strip(tokens: list[tuple[int, float]]) -> str:
    """An answer as lines of bars, one for each token: (characters, colour from -1 to 1) each."""
    x, y, paths = EDGE, EDGE + 7, {}
    # A short answer is drawn large.
    letter = min(6.0, max(3.0, 3.5 * WIDTH / max(1, sum(length for length, _ in tokens))))
    for length, heat in tokens:
        wide = max(4, round(letter * length))
        if x + wide > WIDTH - EDGE:
            x, y = EDGE, y + 16
        if y > HEIGHT - EDGE:
            break
        level = (min(3, int(abs(heat) * 4)), "below" if heat < 0 else "above")
        paths[level] = paths.get(level, "") + f"M{x} {y}h{wide - 1.5:g}"
        x += wide
    return "".join(f'<path class="token {side} heat{level}" d="{path}"/>' for (level, side), path in paths.items())


def gauge(confidence: float, threshold: float | None) -> str:
    """A half circle, filled by e to the power of the confidence, with a mark at the threshold."""
    radius, x, y = 44, WIDTH / 2, HEIGHT - EDGE
    given = threshold is None or confidence >= threshold

    def at(score: float, far: float = radius) -> str:
        angle = math.pi * (1 - math.exp(min(0.0, score)))
        return f"{x + far * math.cos(angle):.1f} {y - far * math.sin(angle):.1f}"

    def arc(to: str, name: str) -> str:
        return f'<path class="arc {name}" d="M{x - radius:g} {y:g}A{radius} {radius} 0 0 1 {to}"/>'

    drawn = arc(f"{x + radius:g} {y:g}", "all") + arc(at(confidence), "good" if given else "bad")
    if threshold is None:
        return drawn
    return drawn + f'<path class="least" d="M{at(threshold, radius - 8)}L{at(threshold, radius + 8)}"/>'


def curve(points: list[tuple[float, float, bool]]) -> str:
    """A number over a dial: (setting, number, whether the answer refuses) each."""
    low, high = min(x for x, *_ in points), max(x for x, *_ in points)
    most = max(y for _, y, _ in points) or 1

    def at(x: float, y: float) -> str:
        across, up = (x - low) / ((high - low) or 1), y / most
        return f"{EDGE + across * (WIDTH - 2 * EDGE):.0f} {HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE):.0f}"

    line = "L".join(at(x, y) for x, y, _ in points)
    dots = {"bad": "", "good": ""}
    for x, y, refused in points:
        dots["good" if refused else "bad"] += f"M{at(x, y)}h0"
    return f'<path class="edge" d="M{line}"/>' + "".join(
        f'<path class="dot large {name}" d="{path}"/>' for name, path in dots.items() if path
    )
