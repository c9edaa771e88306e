"""One training from files to a shipped adapter: rows in, adapter and model card out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from playground import __version__
from playground.errors import UserError, shown
from playground.jsonl import numbered_lines
from playground.models.fetch import Progress as LoadProgress
from playground.models.fetch import no_progress
from playground.models.loading import LoadedModel, load_model, pick_device
from playground.models.prompts import encode_chat
from playground.models.specs import read_catalogue
from playground.settings import Settings
from playground.training.data import RankedRow, read_rows
from playground.training.rrhf import Progress, RrhfConfig, RrhfTraining


def train_rrhf(
    data: Path,
    out: Path,
    config: RrhfConfig,
    base: str | None = None,
    resume: bool = False,
    start: Path | None = None,
    settings: Settings | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda sentence: None,
    loading: LoadProgress = no_progress,
    stopped: Callable[[], bool] = lambda: False,
) -> Progress:
    """Train an adapter for `base` (else the model of `reference`) on the ranked rows in `data` and write it to `out`;
    `start` is one to go on from.

    say: told what is worth knowing (bad rows, rows too long). stopped: asked after every step; a training that was
    stopped leaves its checkpoint and no adapter. Raises UserError for bad input.
    """
    settings = settings or Settings()
    catalogue = read_catalogue(settings.catalogue)
    base = base or catalogue.variant("reference").model
    if base not in catalogue.models:
        raise UserError(f"There is no model {shown(base)}; choose one of: {', '.join(catalogue.models)}.")
    if not resume:
        refuse_if_taken(out)
    if start and not (start / "adapter_config.json").is_file():
        raise UserError(f"There is no adapter in {start} to start from; name its folder.")
    found = read_rows(data)
    for problem in found.problems:
        say(f"{data}, {problem}")
    device = pick_device(settings.device)
    precision = "fp32" if settings.precision == "fp32" else "bf16"
    loaded = load_model(base, catalogue.models[base], settings.cache, device, precision, loading)
    rows = _that_fit(loaded, found.rows, config, say)
    skipped = len(found.problems) + len(found.rows) - len(rows)
    say(f"{len(rows)} rows to train on, {sum(row.pairs for row in rows)} pairs; {skipped} left out.")
    training = RrhfTraining(loaded, rows, config, out, start)
    if resume:
        training.resume()
        say(f"Going on after step {training.progress.step}.")
    before = None if training.progress.step else training.ranking_accuracy(training.held_out)
    if before is not None and training.held_out:
        training.progress.accuracies.append((0, before))
    progress = training.run(watch, stopped)
    if progress.step < config.steps:
        return progress
    card = _card(data, base, precision, config, training, skipped)
    training.save_adapter(card + (started_from(start) if start else ""))
    return progress


def refuse_if_taken(out: Path) -> None:
    """Raise UserError where a new training would write over an adapter."""
    if (out / "adapter_config.json").exists():
        raise UserError(f"{out} already holds an adapter; choose another name with --out, or remove it.")


def started_from(start: Path) -> str:
    """The card of the adapter that a training started from, as a section of the new one."""
    card = start / "README.md"
    told = card.read_text(encoding="utf-8") if card.is_file() else "(it came without a card)\n"
    return "\n## Started from\n\n" + re.sub(r"^(#+) ", r"##\1 ", told, flags=re.MULTILINE)


def _that_fit(loaded: LoadedModel, rows: list[RankedRow], config: RrhfConfig, say) -> list[RankedRow]:
    """Rows whose query is within the limit; the others are counted and said."""
    fit = [row for row in rows if len(encode_chat(loaded.tokenizer, row.query)) <= config.max_prompt]
    if len(fit) < len(rows):
        say(
            f"{len(rows) - len(fit)} rows have a query over {config.max_prompt} tokens (--max-prompt) and are left out."
        )
    if not fit:
        raise UserError(f"No query is within {config.max_prompt} tokens; raise --max-prompt.")
    return fit


def _card(data: Path, base: str, precision: str, config: RrhfConfig, training: RrhfTraining, skipped: int) -> str:
    """The model card: what it was made of, how, and what came out."""
    sources: Counter[tuple[str, str]] = Counter()
    for _, line in numbered_lines(data):
        try:
            row = json.loads(line)
            sources[(row.get("source", "not stated"), row.get("licence", "not stated"))] += 1
        except (json.JSONDecodeError, AttributeError):
            continue
    progress = training.progress
    table = "\n".join(f"| {source} | {licence} | {count} |" for (source, licence), count in sources.most_common())
    settings = "\n".join(f"- {field.name}: {getattr(config, field.name)}" for field in dataclasses.fields(config))
    accuracies = "\n".join(f"| {step} | {value:.3f} |" for step, value in progress.accuracies)
    tail = progress.losses[-20:]
    return f"""# Adapter for {base}, trained with RRHF

A LoRA adapter made by Realign Playground {__version__} (torch {torch.__version__}, base weights in {precision}).

## Data

{len(training.rows)} rows to train on, {len(training.held_out)} held out, {skipped} left out
(SHA-256 of the file: `{hashlib.sha256(data.read_bytes()).hexdigest()}`).

| source | licence | rows |
|---|---|---|
{table}

## Command

    python -m playground {shlex.join(sys.argv[1:])}

## Settings

{settings}

## Results

{progress.step} steps in {progress.seconds / 60:.0f} minutes; mean loss of the first 20 steps
{sum(progress.losses[:20]) / max(1, len(progress.losses[:20])):.3f}, of the last 20 {sum(tail) / max(1, len(tail)):.3f}.

| step | ranking accuracy on held-out rows |
|---|---|
{accuracies}
"""
