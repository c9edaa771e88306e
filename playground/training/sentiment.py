"""The recipe of the shipped `value_sentiment` and `positive`: how film reviews go on, and how positive that is.

The reward is log P(positive) − log P(negative) of a linear classifier over words and word pairs, trained here on
labelled reviews (SST-2, and IMDB as of Kaushik et al., arXiv 1909.12434). Rows are of two kinds: what the model writes
when it is asked to go on from an opening, and how people went on.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from playground.jsonl import numbered_lines
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.service import Playground
from playground.tasks import prompt_of
from playground.training.sampling import sample_rows

LICENCE = "MIT or Apache-2.0"
SAMPLES, LONGEST = 4, 32
"""Responses to an opening, and their length in tokens."""
OPENING = 6
"""Words of a review by a person that stand in the request."""
LANE = "best_of_n:temperature=0.8"


def sentiment_rows(
    playground: Playground,
    data: Path,
    openings: int = 300,
    people: int = 900,
    seed: int = 0,
    watch: Progress = no_progress,
    say: Callable[[str], None] = print,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows {"query", "responses", "scores", …} from the files below `data`: sampled responses to so many openings, and
    reviews by so many people. Raises UserError for a file that is not there."""
    rng = random.Random(seed)
    labelled = _read(data, "sentiment_train")
    classifier = reward_of(labelled)
    test = _read(data, "sentiment_test")
    right = np.mean((score(classifier, [row["text"] for row in test]) > 0) == [_good(row) for row in test])
    say(f"The reward tells {right:.1%} of {len(test)} reviews right that it was not trained on.")
    prompts = [row["prompt"] for row in rng.sample(_read(data, "sentiment_prompts_train"), openings)]
    sampled = sample_rows(
        playground,
        [prompt_of("sentiment", prompt) for prompt in prompts],
        [LaneRequest.parse(LANE)],
        SAMPLES,
        lambda rows: score(classifier, [text for _, text in rows]).tolist(),
        LONGEST,
        seed,
        watch=watch,
    )
    sampled = [row | {"source": "sampled, scored by the reward", "licence": LICENCE} for row in sampled]
    written = [row for row in map(_review, rng.sample(labelled, len(labelled))) if row][:people]
    scores = score(classifier, [row["responses"][0] for row in written])
    by_people = [row | {"scores": [round(float(each), 5)]} for row, each in zip(written, scores, strict=True)]
    return sampled, by_people


def reward_of(labelled: list[dict[str, Any]]) -> Pipeline:
    """The classifier, trained on rows {"text", "label"}."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    found = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
    return found.fit([row["text"] for row in labelled], list(map(_good, labelled)))


def score(classifier: Pipeline, texts: list[str]) -> np.ndarray:
    """The reward [texts], in nats; above 0 is positive."""
    return classifier.decision_function(texts)


def _review(row: dict[str, Any]) -> dict[str, Any] | None:
    """A person's review as an opening and how it goes on; none where it is too short."""
    words = re.sub(r" (?=[.,!?;:)']|n't)", "", row["text"].replace("( ", "(")).split()
    if len(words) < 2 * OPENING:
        return None
    return {
        "query": prompt_of("sentiment", " ".join(words[:OPENING]).capitalize()),
        "responses": [" ".join(words[OPENING : OPENING + LONGEST])],
        "ended": [len(words) <= OPENING + LONGEST],
        "source": row["source"],
        "licence": LICENCE,
    }


def _good(row: dict[str, Any]) -> bool:
    return row["label"] == "positive"


def _read(data: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for _, line in numbered_lines(data / f"{name}.jsonl")]
