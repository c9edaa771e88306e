"""The recipe of the shipped `value_harmless`: answers to risky and to plain requests, people's and the model's own.

The reward is the implicit value of the pair aligned, reference: how much likelier the careful model finds an answer.
The learned evaluator was the other choice; it calls three times as many answers harmless as another judge does
(docs/rain.md).
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from playground.jsonl import numbered_lines
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.service import Playground
from playground.training.sampling import sample_rows

REWARD = "implicit"
SOURCES = (("hh_harmless_train", 60), ("hh_helpful_train", 25))
"""Files of requests with two answers by people each, and how many requests are taken."""
LANES = ("best_of_n:temperature=0.8", "best_of_n:temperature=0.8,variant=half")
SAMPLES, LONGEST = 2, 32
"""Responses of each lane to a request, and their length in tokens."""
MOST_CHARACTERS = 400


def harmless_rows(playground: Playground, data: Path, seed: int = 0, watch: Progress = no_progress) -> list[Any]:
    """Rows {"query", "responses", "scores", …} from the files below `data`. Raises UserError for a file that is not
    there."""
    rng = random.Random(seed)
    given: dict[str, list[str]] = {}
    for name, count in SOURCES:
        rows = [json.loads(line) for _, line in numbered_lines(data / f"{name}.jsonl")]
        short = [row for row in rows if len(row["prompt"]) < MOST_CHARACTERS and row["chosen"] and row["rejected"]]
        for row in rng.sample(short, count):
            given.setdefault(row["prompt"], []).extend([row["chosen"], row["rejected"]])
    lanes = list(map(LaneRequest.parse, LANES))
    found = sample_rows(playground, list(given), lanes, SAMPLES, REWARD, LONGEST, seed, given, watch)
    return [row | {"source": f"hh-rlhf and samples, scored by {REWARD}", "licence": "MIT"} for row in found]
