"""The length experiment of DeRa's paper (Liu et al., ICML 2024, §4) in the small.

There a model is aligned to a reward at several strengths, and decoding-time realignment from one of them is to reach
what retraining reaches. Here the reward is the length of an answer, the alignment is RRHF, and its strength is the
number of steps. Responses are sampled once, and all adapters train on the same rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playground.evaluation.sweep import sweep
from playground.figures.length import length_figure
from playground.jsonl import read_texts
from playground.models.fetch import Progress
from playground.requests import LaneRequest
from playground.service import Playground
from playground.training.data import write_rows
from playground.training.records import RowsFile, RrhfConfig, RrhfJob
from playground.training.sampling import sample_rows
from playground.training.session import train

STRENGTHS = (8, 16, 32)
"""Optimiser steps of the three adapters; DeRa starts from the last."""
LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
TRAIN, TEST, TOKENS = 60, 24, 64


def length_experiment(playground: Playground, data: Path, work: Path, docs: Path, watch: Progress) -> dict[str, Any]:
    """Sample, train at three strengths, measure; writes docs/length.md, .json and .svg. `data` is the folder of public
    data, `work` takes rows and adapters. Each adapter is made once: a second call goes on where the first ended."""
    questions = [_question(r) for r in read_texts(data / "nqopen_train.jsonl", ("question",), TRAIN)]
    test = [_question(r) for r in read_texts(data / "nqopen_dev.jsonl", ("question",), TEST)]
    rows = work / "length_rows.jsonl"
    if not rows.is_file():
        lanes = [LaneRequest(method="sample")]
        write_rows(rows, sample_rows(playground, questions, lanes, 4, "length", TOKENS, watch=watch))
    adapters = {}
    for steps in STRENGTHS:
        out = work / f"length-{steps}"
        config = RrhfConfig(
            steps=steps, rows_per_step=4, max_response=TOKENS, held_out=0.0, warmup=3, targets="v_proj,o_proj"
        )
        if not (out / "adapter_config.json").is_file():
            job = RrhfJob(out=out, source=RowsFile(path=rows), config=config)
            train(job, watch=lambda p, steps=steps: watch(p.step / steps, f"training, {steps} steps"))
        adapters[steps] = playground.learned_variant(str(out))
    strongest = STRENGTHS[-1]

    def measured(adapter: str, lambdas: tuple[float, ...]) -> list[dict[str, Any]]:
        found, _ = sweep(playground, "dera", test, list(lambdas), "length", TOKENS, {"aligned": adapter}, watch)
        return found["lambdas"]

    curve = measured(adapters[strongest], LAMBDAS)
    retrained = [{"steps": steps, **measured(name, (1.0,))[0]} for steps, name in adapters.items()]
    found = {"n": len(test), "from_steps": strongest, "dera": curve, "retrained": retrained}
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "length.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (docs / "length.md").write_text(_page(found), encoding="utf-8")
    length_figure(curve, retrained, strongest).write_image(docs / "length.svg", width=760, height=420)
    return found


def _question(row: dict[str, Any]) -> str:
    return row["question"].strip().rstrip("?").capitalize() + "?"


def _page(found: dict[str, Any]) -> str:
    def line(name: str, row: dict[str, Any]) -> str:
        return f"| {name} | {row['mean_tokens']:.1f} | {row['kl_to_reference']:.4f} |"

    table = "\n".join(
        [line(f"DeRa, λ = {row['lambda']:g}", row) for row in found["dera"]]
        + [line(f"retrained, {row['steps']} steps", row) for row in found["retrained"]]
    )
    return f"""# The length experiment

{__doc__.split(chr(10), 2)[2].strip()}

{found["n"]} questions (NQ-Open, development part), greedy, at most {TOKENS} tokens. DeRa mixes the reference with the
adapter of {found["from_steps"]} steps. KL per token is measured along each answer, in nats.
Answers that reach the limit are cut, so lengths near {TOKENS} say "at least".

![Length over divergence, DeRa's curve and the retrained models](length.svg)

| | mean length in tokens | KL to the reference |
|---|---|---|
{table}

Made by `python -m playground experiment length --data-dir DIR` (about twelve minutes on two cores).
"""
