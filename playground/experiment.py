"""The length experiment of DeRa's paper (Liu et al., ICML 2024, §4) in the small.

There a model is aligned to a reward at several strengths, and decoding-time realignment from one of them is to reach
what retraining reaches. Here the reward is an answer's length, once shorter and once longer being better; the alignment
is RRHF, and its strength is the number of steps. Responses are sampled once, and all adapters train on the same rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from playground.errors import UserError
from playground.figures.length import length_figure
from playground.jsonl import numbered_lines, read_texts
from playground.models.fetch import Progress
from playground.requests import LaneRequest
from playground.service import Playground
from playground.training.data import write_rows
from playground.training.records import RowsFile, RrhfConfig, RrhfJob
from playground.training.sampling import sample_rows
from playground.training.session import train

DIRECTIONS = {"shorter": -1, "longer": 1}
"""What is rewarded: this times the length."""
STRENGTHS = (8, 16, 32)
"""Optimiser steps of the adapters of each direction; DeRa starts from the last."""
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
TRAIN, TEST, TOKENS = 60, 48, 256
RESAMPLES = 4000


@dataclass
class Answers:
    """What one policy answers to every question: lengths in tokens and sums of the KL to the reference in nats, both
    [questions]."""

    lengths: np.ndarray
    divergences: np.ndarray

    def means(self, some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean length, and the KL for each token, of resamples `some` [resamples, questions]; each [resamples]."""
        lengths = self.lengths[some].sum(1)
        return lengths / some.shape[1], self.divergences[some].sum(1) / lengths


def length_experiment(playground: Playground, data: Path, work: Path, docs: Path, watch: Progress) -> dict[str, Any]:
    """Sample, train, measure; writes docs/length.md, .json and .svg. `data` is the folder of public data, `work` takes
    rows and adapters. Each adapter is made once: a second call goes on where the first ended."""
    questions = [_question(r) for r in read_texts(data / "nqopen_train.jsonl", ("question",), TRAIN)]
    test = [_question(r) for r in read_texts(data / "nqopen_dev.jsonl", ("question",), TEST)]
    found: dict[str, Any] = {"n": len(test), "tokens": TOKENS, "from_steps": STRENGTHS[-1], "directions": {}}
    sampled = work / "length_rows.jsonl"
    if not sampled.is_file():
        lanes = [LaneRequest(method="sample")]
        write_rows(sampled, sample_rows(playground, questions, lanes, 4, "length", TOKENS, watch=watch))
    for direction, sign in DIRECTIONS.items():
        rows = work / f"{direction}_rows.jsonl"
        ranked = [json.loads(line) for _, line in numbered_lines(sampled)]
        write_rows(rows, [row | {"scores": [sign * score for score in row["scores"]]} for row in ranked])
        adapters = [_adapter(playground, rows, work / f"{direction}-{steps}", steps, watch) for steps in STRENGTHS]
        curve = [_answers(playground, test, adapters[-1], setting, watch) for setting in LAMBDAS]
        retrained = [_answers(playground, test, name, 1.0, watch) for name in adapters]
        found["directions"][direction] = compared(curve, retrained) | {"best": best_strength(curve)}
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "length.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (docs / "length.md").write_text(_page(found), encoding="utf-8")
    length_figure(found["directions"], STRENGTHS[-1]).write_image(docs / "length.svg", width=760, height=460)
    return found


def _adapter(playground: Playground, rows: Path, out: Path, steps: int, watch: Progress) -> str:
    if not (out / "adapter_config.json").is_file():
        config = RrhfConfig(steps=steps, rows_per_step=2, max_response=TOKENS, held_out=0.0, warmup=3)
        job = RrhfJob(out=out, source=RowsFile(path=rows), config=config)
        train(job, watch=lambda p: watch(p.step / steps, f"training {out.name}"))
    return playground.learned_variant(str(out))


def _answers(playground: Playground, test: list[str], adapter: str, setting: float, watch: Progress) -> Answers:
    lane = LaneRequest.checked(method="dera", options={"aligned": adapter, "lambda_": setting})
    found = list(playground.each([(question, lane, 0) for question in test], TOKENS, watch))
    if failed := next((record for record in found if record["error"]), None):
        raise UserError(f"An answer at λ = {setting:g} failed: {failed['error']}")
    tokens = [record["detail"]["tokens"] for record in found]
    sums = [sum(token["kl_to_reference"] for token in answer) for answer in tokens]
    return Answers(np.array([len(answer) for answer in tokens], float), np.array(sums))


def compared(curve: list[Answers], retrained: list[Answers]) -> dict[str, list[dict[str, Any]]]:
    """DeRa's curve (at LAMBDAS) and the retrained models (at STRENGTHS), each with its mean length, the interval that
    holds 95 % of the bootstrap's means, and its KL for each token. A retrained model bears besides the curve's band at
    its own KL, and whether it lies within. Questions are drawn once for all."""
    n = len(curve[0].lengths)
    some = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    whole = np.arange(n)[None]

    def row(answers: Answers) -> dict[str, float]:
        (length,), (divergence,) = answers.means(whole)
        low, high = np.quantile(answers.means(some)[0], [0.025, 0.975]).tolist()
        return {"mean_tokens": float(length), "low": low, "high": high, "kl_to_reference": float(divergence)}

    lengths, divergences = (np.stack(both, 1) for both in zip(*(one.means(some) for one in curve), strict=True))
    points = []
    for steps, answers in zip(STRENGTHS, retrained, strict=True):
        point = {"steps": steps} | row(answers)
        at = [
            np.interp(point["kl_to_reference"], x[order], y[order])
            for x, y, order in zip(divergences, lengths, np.argsort(divergences, 1), strict=True)
        ]
        low, high = np.quantile(at, [0.025, 0.975]).tolist()
        points.append(point | {"band": [low, high], "within": low <= point["mean_tokens"] <= high})
    return {"curve": [{"lambda": λ} | row(one) for λ, one in zip(LAMBDAS, curve, strict=True)], "retrained": points}


def best_strength(curve: list[Answers]) -> dict[str, Any]:
    """Which λ comes nearest to a length that nothing was trained for: halfway between the mean lengths at λ = 0 and at
    λ = 1. It is chosen on every other question; the remaining ones tell how much nearer it comes than λ = 1, in tokens
    of distance, with an interval from the bootstrap."""
    one = LAMBDAS.index(1.0)
    target = float((curve[0].lengths.mean() + curve[one].lengths.mean()) / 2)
    distances = np.stack([abs(answers.lengths - target) for answers in curve])
    chosen = int(distances[:, ::2].mean(1).argmin())
    gains = (distances[one] - distances[chosen])[1::2]
    some = np.random.default_rng(0).integers(len(gains), size=(RESAMPLES, len(gains)))
    low, high = np.quantile(gains[some].mean(1), [0.025, 0.975]).tolist()
    at_one, at_best = (float(distances[which, 1::2].mean()) for which in (one, chosen))
    return {"target": target, "lambda": LAMBDAS[chosen], "at_one": at_one, "at_best": at_best, "gain": [low, high]}


def _question(row: dict[str, Any]) -> str:
    return row["question"].strip().rstrip("?").capitalize() + "?"


def _page(found: dict[str, Any]) -> str:
    parts = [_table(direction, one) for direction, one in found["directions"].items()]
    return f"""# The length experiment

{__doc__.split(chr(10), 2)[2].strip()}

{found["n"]} questions (NQ-Open, development part), greedy, at most {found["tokens"]} tokens. DeRa mixes the reference
with the adapter of {found["from_steps"]} steps. KL per token is measured along each answer, in nats. Intervals hold
95 % of the bootstrap over questions. *Band*: DeRa's curve, read at the retrained model's KL.

![Length over divergence, DeRa's curves and the retrained models](length.svg)

{(chr(10) * 2).join(parts)}

Made by `python -m playground experiment length --data-dir DIR`.
"""


def _table(direction: str, found: dict[str, Any]) -> str:
    def line(name: str, row: dict[str, Any], band: str = "") -> str:
        interval = f"{row['mean_tokens']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
        return f"| {name} | {interval} | {row['kl_to_reference']:.4f} | {band} |"

    def band(row: dict[str, Any]) -> str:
        return f"{row['band'][0]:.1f} to {row['band'][1]:.1f}: {'within' if row['within'] else 'outside'}"

    lengths = [row["mean_tokens"] for row in found["curve"]]
    best, at = found["best"], "misses it by {:.1f} tokens".format
    lines = [
        f"## {direction.capitalize()}",
        "",
        "| | mean length in tokens | KL to the reference | band |",
        "|---|---|---|---|",
        *(line(f"DeRa, λ = {row['lambda']:g}", row) for row in found["curve"]),
        *(line(f"retrained, {row['steps']} steps", row, band(row)) for row in found["retrained"]),
        "",
        f"- Mean lengths span a factor of {max(lengths) / min(lengths):.2f}.",
        f"- A length that nobody trained for, {best['target']:.0f} tokens: on every other question λ = "
        f"{best['lambda']:g} comes nearest.",
        f"  On the remaining ones an answer {at(best['at_best'])}, at λ = 1 {at(best['at_one'])} (difference "
        f"{best['gain'][0]:.1f} to {best['gain'][1]:.1f}).",
    ]
    return "\n".join(lines)
