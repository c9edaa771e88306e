"""The card of a trained result: what it was made of, how, and what came out."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
from collections import Counter
from pathlib import Path

import torch

from playground import __version__
from playground.jsonl import numbered_lines
from playground.training.loop import Training


def card(training: Training, data: Path, base: str, precision: str, left_out: int, start: Path | None = None) -> str:
    """The card as Markdown. data: the file of rows, of which `left_out` were not used; base: the model's name; start:
    the folder of the result that the training started from, whose card becomes a section."""
    objective, progress = training.objective, training.progress
    settings = "\n".join(f"- {name}: {value}" for name, value in training.config)
    return f"""# {objective.makes} for {base}, trained with {objective.name}

Made by Realign Playground {__version__} (torch {torch.__version__}, base weights in {precision}).

## Data

{len(training.rows)} rows to train on, {len(training.held_out)} held out, {left_out} left out
(SHA-256 of the file: `{digest(data)}`).

| source | licence | rows |
|---|---|---|
{sources(data)}

## Command

    python -m playground {shlex.join(sys.argv[1:])}

## Settings

{settings}

## Results

{progress.step} steps in {progress.seconds / 60:.0f} minutes; mean loss of the first 20 steps
{_mean(progress.losses[:20]):.3f}, of the last 20 {_mean(progress.losses[-20:]):.3f}.

{_measured(progress.curves)}{_started_from(start) if start else ""}"""


def digest(data: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(data.read_bytes()).hexdigest()


def sources(data: Path) -> str:
    """The rows of the table of sources; lines that are no rows count for nothing."""
    sources: Counter[tuple[str, str]] = Counter()
    for _, line in numbered_lines(data):
        try:
            row = json.loads(line)
            sources[(str(row.get("source", "not stated")), str(row.get("licence", "not stated")))] += 1
        except (json.JSONDecodeError, AttributeError):
            continue
    return "\n".join(f"| {source} | {licence} | {count} |" for (source, licence), count in sources.most_common())


def _measured(curves: dict[str, list[tuple[int, float]]]) -> str:
    """What was measured on held-out rows, as a table; a dash where a number was not defined at a step."""
    if not curves:
        return ""
    head = f"| step |{''.join(f' {name} on held-out rows |' for name in curves)}\n|---|{'---|' * len(curves)}\n"
    found = [dict(points) for points in curves.values()]
    steps = sorted({step for of_name in found for step in of_name})
    rows = [[f"{of_name[step]:.3f}" if step in of_name else "–" for of_name in found] for step in steps]
    return head + "".join(f"| {step} | {' | '.join(row)} |\n" for step, row in zip(steps, rows, strict=True))


def _started_from(start: Path) -> str:
    """The card of the result that a training started from, as a section of the new one."""
    there = start / "README.md"
    before = there.read_text(encoding="utf-8") if there.is_file() else "(it came without a card)\n"
    return "\n## Started from\n\n" + re.sub(r"^(#+) ", r"##\1 ", before, flags=re.MULTILINE)


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
