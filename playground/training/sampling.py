"""The first half of RRHF's recipe: sample responses to prompts, score them, and keep them as ranked rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playground.decoders import decoder
from playground.errors import UserError, shown
from playground.jsonl import numbered_lines
from playground.models.fetch import Progress, no_progress
from playground.requests import LaneRequest
from playground.scorers import ScorerChoice
from playground.service import Playground

Scores = Callable[[list[tuple[str, str]]], list[float]]
"""(prompt, response) pairs → the score of each."""


def sample_rows(
    playground: Playground,
    prompts: list[str],
    lanes: list[LaneRequest],
    samples: int,
    scorer: str | Scores,
    max_new_tokens: int = 64,
    seed: int = 0,
    given: dict[str, list[str]] | None = None,
    watch: Progress = no_progress,
    say: Callable[[str], None] = lambda sentence: None,
) -> list[dict[str, Any]]:
    """Rows {"query", "responses", "scores", …}, one a prompt, with `samples` responses of every lane and those that
    others wrote (`given`, by prompt), scored by a scorer of that name or by a function. Equal responses are kept once;
    a prompt that has one only is left out and said.

    Raises UserError if no prompt has two different ones.
    """
    if isinstance(scorer, str):
        ScorerChoice(scorer)  # before anything is sampled
    jobs = [(prompt, run, seed + extra) for prompt in prompts for lane in lanes for run, extra in _runs(lane, samples)]
    found: dict[str, dict[str, str]] = {prompt: {} for prompt in prompts}
    cut: set[str] = set()
    for prompt, texts in (given or {}).items():
        for text in texts:
            found.setdefault(prompt, {}).setdefault(text, "given")
    for (prompt, lane, _), result in zip(
        jobs, playground.each(jobs, max_new_tokens, lambda share, what: watch(0.9 * share, what)), strict=True
    ):
        if result["error"]:
            raise UserError(f"Sampling {shown(prompt)} with {lane.method} failed: {result['error']}")
        for candidate in result["detail"].get("candidates", [result]):
            if candidate["text"].strip():
                found[prompt].setdefault(candidate["text"], lane.method)
                if candidate["finish_reason"] == "length":
                    cut.add(candidate["text"])
    usable = {prompt: responses for prompt, responses in found.items() if len(responses) > 1}
    if len(usable) < len(found):
        say(f"{len(found) - len(usable)} prompts have fewer than two different responses and are left out.")
    if not usable:
        raise UserError("No prompt has two different responses; ask for more samples, or sample hotter.")
    watch(0.9, "scoring")
    texts = [(prompt, text) for prompt, responses in usable.items() for text in responses]
    scores = iter(playground.scores(scorer, texts) if isinstance(scorer, str) else scorer(texts))
    watch(1.0, "sampled and scored")
    return [
        {
            "query": prompt,
            "responses": list(responses),
            "scores": [round(next(scores), 5) for _ in responses],
            "ended": [text not in cut for text in responses],
            "by": list(responses.values()),
            "source": f"sampled, scored by {scorer}",
            "licence": "not stated",
        }
        for prompt, responses in usable.items()
    ]


def _runs(lane: LaneRequest, samples: int) -> list[tuple[LaneRequest, int]]:
    """The runs of a lane that give `samples` answers, each with what is added to the seed: one of a method that gives
    many answers at once, else one a seed. Raises UserError if the method cannot give so many."""
    many = decoder(lane.method).many
    if not many:
        return [(lane, extra) for extra in range(samples)]
    options = lane.options.model_dump() | {many: samples}
    return [(LaneRequest.checked(method=lane.method, options=options, begin=lane.begin), 0)]


def read_given(path: Path) -> dict[str, list[str]]:
    """Responses of another model by prompt; see `rows_with_responses`."""
    found: dict[str, list[str]] = {}
    for row in rows_with_responses(path):
        found.setdefault(row["query"], []).extend(row["responses"])
    return found


def rows_with_responses(path: Path) -> list[dict[str, Any]]:
    """Rows {"query", "responses", …} from JSON Lines {"prompt" or "query", "responses" or "response"}; what else a row
    holds stays. Raises UserError with the line of a row that is none."""
    rows = []
    for number, line in numbered_lines(path, "answers"):
        try:
            row = json.loads(line)
            prompt = row.get("prompt", row.get("query"))
            responses = row.get("responses", [row["response"]] if "response" in row else None)
            good = isinstance(prompt, str) and responses and all(isinstance(r, str) and r.strip() for r in responses)
        except (json.JSONDecodeError, AttributeError, TypeError):
            good = False
        if not good:
            raise UserError(
                f"{path}, line {number}: a row needs prompt and responses (or response); mend or remove it."
            )
        rows.append(row | {"query": prompt, "responses": responses})
    return rows
