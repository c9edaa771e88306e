"""The recipe of the shipped `judge`, behind the scorer `harmless_judge`: its rows trained nothing else here.

A judge that is to measure a search may not share its data with what guides or refuses. The recipes `careful`,
`evaluator` and `value_harmless` take hh-rlhf's dialogues of one and two turns, and of the collapsed copy the rows that
probably fit their prompt. This one takes what they leave: dialogues of three and four turns, the rest of the copy (its
answers belong to the same dialogue, later on), and answers of people's assistants to helpful requests. Answers of the
embedded model itself are in judged.jsonl: requests written for this, read and labelled by the language model that wrote
this recipe, not by people. Unclear ones were left out.
"""

from __future__ import annotations

import json
import random
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from playground import __version__
from playground.errors import UserError
from playground.jsonl import numbered_lines
from playground.models.embed import Embedder
from playground.models.judge import features, save_judge
from playground.training.card import digest, sources

JUDGED = Path(__file__).parent / "judged.jsonl"
OWN = {"source": "written for this project, answered by SmolLM2-135M-Instruct, read by a language model"}
OWN |= {"licence": "Apache-2.0", "weight": 4}
HH = {"source": "hh-rlhf", "licence": "MIT", "weight": 1}
SHORTEST = 3
"""Turns of a dialogue; those with fewer teach the careful model and the evaluator."""
DOUBTFUL = 0.5
"""Rows of the collapsed copy that fit their prompt with this probability or more teach them, too."""
HELPFUL = 300
"""Dialogues about harmless requests, of which both answers are harmless."""
LONGEST = 400
"""Characters of a request: the last ones of a dialogue."""
WORDS = 48
"""Answers are cut after so many, as those that are judged are short."""
FOLDS = 4
STRENGTH = 1.0
"""C of the logistic regression: chosen by cross-validation among 0.3, 1 and 4."""


def judge_rows(data: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Rows {"query", "responses", "scores": 1 harmless or -1 harmful, …} from the files below `data`. People's
    preference says only which of two answers is *less* harmful; here the chosen one counts as harmless and the rejected
    one as harmful, which is often wrong. Raises UserError for a file that is not there."""
    rng = random.Random(seed)
    taken = {row["prompt"] for row in _read(data, "hh_harmless_train")}
    dialogues, copy = _read(data, "hh_harmless_multiturn_train"), _read(data, "hh_harmless_train_noisy")
    taken |= {_turns(row)[0] for row in dialogues if row["n_turns"] < SHORTEST}
    taken |= {row["prompt"] for row in copy if row["p_single_turn"] >= DOUBTFUL}
    left = [row for row in dialogues if row["n_turns"] >= SHORTEST]
    left += [row for row in copy if row["p_single_turn"] < DOUBTFUL]
    pairs = [row for row in left if _turns(row)[0] not in taken and row["chosen"].strip() and row["rejected"].strip()]
    rows = [_row(_query(row), [(row["chosen"], 1), (row["rejected"], -1)]) for row in pairs]
    helpful = rng.sample(_read(data, "hh_helpful_multiturn_train"), HELPFUL)
    rows += [_row(_query(row), [(row["chosen"], 1), (row["rejected"], 1)]) for row in helpful]
    for row in (json.loads(line) for _, line in numbered_lines(JUDGED)):
        rows.append(_row(row["prompt"], [(row["response"], 1 if row["harmless"] else -1)], OWN))
    rows = [row for row in rows if row["responses"]]
    rng.shuffle(rows)
    return rows


def train_judge(embedder: Embedder, data: Path, out: Path, base: str) -> None:
    """Fit the judge to a file of such rows, and write it with its card. `base` names the embedder. Raises UserError for
    rows without both kinds of answers."""
    rows = [json.loads(line) for _, line in numbered_lines(data)]
    texts = [(row["query"], text) for row in rows for text in row["responses"]]
    harmless = np.array([score > 0 for row in rows for score in row["scores"]])
    weights = np.array([row.get("weight", 1) for row in rows for _ in row["responses"]], float)
    if harmless.all() or not harmless.any():
        raise UserError(f"{data} holds answers of one kind only; a judge learns from harmless and harmful ones.")
    seen = features(embedder, texts).numpy()
    model = LogisticRegression(C=STRENGTH, max_iter=3000)
    held_out = cross_val_predict(
        model,
        seen,
        harmless,
        groups=[query for query, _ in texts],
        cv=GroupKFold(FOLDS),
        params={"sample_weight": weights},
        method="decision_function",
    )
    model.fit(seen, harmless, sample_weight=weights)
    save_judge(out, torch.from_numpy(model.coef_[0]), float(model.intercept_[0]))
    (out / "README.md").write_text(_card(data, rows, texts, harmless, held_out, base), encoding="utf-8")


def _card(
    data: Path,
    rows: list[dict[str, Any]],
    texts: list[tuple[str, str]],
    harmless: np.ndarray,
    held_out: np.ndarray,
    base: str,
) -> str:
    of_row = np.array([number for number, row in enumerate(rows) for _ in row["responses"]])
    pairs = [held_out[of_row == n] for n, row in enumerate(rows) if row["scores"] == [1, -1]]
    lines = [
        f"| pairs of hh-rlhf: the chosen answer has more | {np.mean([a > b for a, b in pairs]):.3f} | {len(pairs)} |"
    ]
    for source in dict.fromkeys(row["source"] for row in rows):
        these = np.array([row["source"] == source for row in rows])[of_row]
        if len(set(harmless[these])) == 2:
            area = roc_auc_score(harmless[these], held_out[these])
            lines.append(f"| AUROC on answers of: {source} | {area:.3f} | {these.sum()} |")
    return f"""# Judge of harmlessness on {base}

For the scorer `harmless_judge`: logistic regression on the embeddings of request and answer. It guides nothing, and
no pair of request and answer that it learned from trained anything else here. Made by Realign Playground {__version__}.

## Data

{len(rows)} rows with {len(texts)} answers, {harmless.sum()} of them called harmless
(SHA-256 of the file: `{digest(data)}`).

| source | licence | rows |
|---|---|---|
{sources(data)}

## Command

    python -m playground {shlex.join(sys.argv[1:])}

## Settings

- C: {STRENGTH:g}
- words of an answer: {WORDS}
- folds: {FOLDS}, by request
- seed: 0 (of the rows; the fit has no chance in it)

## Results

On rows that were held out, each once ({FOLDS} folds):

| measure | | n |
|---|---|---|
{chr(10).join(lines)}

How often it is right on data that are not of its recipe, and where it fails, is in docs/sampling.md.
"""


def _turns(row: dict[str, Any]) -> list[str]:
    """What the person said, turn by turn."""
    return [m["content"] for m in row.get("messages", []) if m["role"] == "user"] or [row["prompt"]]


def _query(row: dict[str, Any]) -> str:
    return "\n\n".join(_turns(row))[-LONGEST:]


def _row(query: str, answers: list[tuple[str, int]], origin: dict[str, Any] = HH) -> dict[str, Any]:
    kept = [(" ".join(text.split(" ")[:WORDS]).strip(), score) for text, score in answers if text.strip()]
    return {"query": query, "responses": [text for text, _ in kept], "scores": [score for _, score in kept], **origin}


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for _, line in numbered_lines(data / f"{name}.jsonl")]
