"""The recipe of the shipped `careful` adapter: which rows make the model refuse harm and stay helpful otherwise.

Rows come from permissive sources only: texts written for this project (careful.yaml), hh-rlhf (MIT), Natural Questions
Open (Apache-2.0), WebQuestions (CC BY), OpenTriviaQA (CC BY-SA), and requests and answers that the embedded model
itself wrote (Apache-2.0).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from playground.errors import UserError
from playground.jsonl import numbered_lines
from playground.models.fetch import Progress
from playground.models.layers import dense_precision
from playground.models.loading import load_model, pick_device
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground
from playground.training.magpie import imagine

TEXTS: dict[str, list[str]] = yaml.safe_load((Path(__file__).parent / "careful.yaml").read_text(encoding="utf-8"))
OWN = {"source": "written for this project, answered by SmolLM2-135M-Instruct", "licence": "Apache-2.0"}
IMAGINED = {"source": "requests and answers written by SmolLM2-135M-Instruct", "licence": "Apache-2.0"}
HH = {"source": "hh-rlhf", "licence": "MIT"}
QUESTIONS = {"source": "NQ-Open, WebQuestions, OpenTriviaQA questions", "licence": "Apache-2.0, CC BY, CC BY-SA"}
ANSWERER = "greedy"
"""The method that gives the model's own answers."""
TOKENS = 48
"""At most so many tokens an answer."""
REQUESTS = 1800
"""Requests that the model is asked to think up; about three in four are kept."""
_DANGER = re.compile(
    r"\b(kill|murder|bomb|explosive|poison|steal|rob|shoplift|hack|drug|meth|cocaine|heroin|rape|racist|nazi|torture|"
    r"assault|weapon|gun|shoot|stab|hurt (someone|him|her|people)|beat up|launder|counterfeit|fake id|blackmail|kidnap|"
    r"arson|burn down|stalk|suicide|get away with|illegal|slur|smuggle|fraud|scam|credit card|home address)\w*\b",
    re.IGNORECASE,
)
Answerer = Callable[[list[str]], list[str]]
"""Prompts → the model's own greedy answers."""
Imaginer = Callable[[list[str]], list[str]]
"""First words → requests that begin so, thought up by the model."""


def careful_rows(playground: Playground, data: Path, seed: int, watch: Progress) -> list[dict[str, Any]]:
    """`make_rows` with the model of the variant `reference`."""
    name, settings = playground.catalogue.variant("reference").model, playground.settings

    def answer(prompts: list[str]) -> list[str]:
        jobs = [(prompt, LaneRequest(method=ANSWERER), 0) for prompt in prompts]
        return [lane["text"] for lane in playground.each(jobs, TOKENS, watch=watch)]

    def requests(openings: list[str]) -> list[str]:
        spec, device = playground.catalogue.models[name], pick_device(settings.device)
        loaded = load_model(name, spec, settings.cache, device, dense_precision(device.type), watch)
        return imagine(loaded, openings, seed, watch)

    return make_rows(data, answer, requests, seed)


def make_rows(data: Path, answer: Answerer, imagine: Imaginer, seed: int = 0) -> list[dict[str, Any]]:
    """The rows of the recipe. `data` is the folder of public data.

    A harmful request ranks a refusal above the people's chosen and rejected answers (hh-rlhf) and these above the
    model's own compliance; a harmless one ranks the model's own answer above a refusal. Every row says where it comes
    from in `source` and what licence that has in `licence`.
    """
    rng = random.Random(seed)
    risky_hh, other_hh = _harmless_pairs(data)
    rows = [_row(r["prompt"], [r["chosen"], r["rejected"]], [1, 0], HH) for r in other_hh]
    harmful = harmful_prompts(rng)
    for prompt, said in zip(harmful, answer(harmful), strict=True):
        rows.append(_refused(rng, prompt, [], said, OWN))
    for row, said in zip(risky_hh, answer([r["prompt"] for r in risky_hh]), strict=True):
        rows.append(_refused(rng, row["prompt"], [row["chosen"], row["rejected"]], said, HH))
    for prompts, origin in (
        (TEXTS["lookalikes"], OWN),
        ([frame.format(x=topic) for topic in TEXTS["topics"] for frame in rng.sample(TEXTS["topic_frames"], 5)], OWN),
        ([p for p in imagine(_openings(rng)) if not _DANGER.search(p)], IMAGINED),
        (rng.sample(helpful := _helpful_prompts(data), min(450, len(helpful))), HH),
        (_questions(data, rng), QUESTIONS),
    ):
        for prompt, said in zip(prompts, answer(prompts), strict=True):
            if not refuses(said):
                rows.append(_row(prompt, [said, rng.choice(TEXTS["refusals"])], [1, 0], origin))
    rng.shuffle(rows)
    return rows


def harmful_prompts(rng: random.Random) -> list[str]:
    """Requests for harm, as imperatives, as questions, and as twins of the harmless lookalikes."""
    twins = [f"{attack} {victim}" for attack in TEXTS["attacks"] for victim in rng.sample(TEXTS["victims"], 4)]
    return [
        *(frame.format(x=x) for x in TEXTS["harmful_things"] for frame in rng.sample(TEXTS["harmful_frames"], 7)),
        *(frame.format(x=x) for x in TEXTS["harmful_actions"] for frame in rng.sample(TEXTS["question_frames"], 5)),
        *(rng.choice(TEXTS["question_frames"]).format(x=twin) for twin in twins),
    ]


def _openings(rng: random.Random) -> list[str]:
    """A third of the requests begin as the model likes; it likes "Can you …?" too well to leave all to it."""
    return [rng.choice(TEXTS["openings"]) if n % 3 else "" for n in range(REQUESTS)]


def _refused(rng: random.Random, prompt: str, people: list[str], said: str, origin: dict[str, str]) -> dict[str, Any]:
    responses = [rng.choice(TEXTS["refusals"]), *people, *([] if refuses(said) else [said])]
    return _row(prompt, responses, list(range(len(responses)))[::-1], origin)


def _harmless_pairs(data: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """hh-rlhf's harmlessness pairs as {"prompt", "chosen", "rejected"}: those whose prompt asks for harm, and others.

    Of dialogues of two turns the person's turns make the prompt. Rows of the collapsed copy often do not fit their
    prompt; the doubtful ones serve only where a refusal stands above both answers."""
    sure = _read(data / "hh_harmless_train.jsonl")
    for row in _read(data / "hh_harmless_multiturn_train.jsonl"):
        if row["n_turns"] == 2:
            asked = "\n\n".join(m["content"] for m in row["messages"] if m["role"] == "user")
            sure.append({**row, "prompt": asked})
    noisy = [r for r in _read(data / "hh_harmless_train_noisy.jsonl") if r["p_single_turn"] >= 0.5]

    def usable(row: dict[str, Any]) -> bool:
        return bool(row["chosen"].strip() and row["rejected"].strip() and len(row["prompt"]) < 400)

    risky = [r for r in sure + noisy if usable(r) and _DANGER.search(r["prompt"])]
    sure += [r for r in noisy if r["p_single_turn"] >= 0.7]
    return risky, [r for r in sure if usable(r) and not _DANGER.search(r["prompt"])]


def _helpful_prompts(data: Path) -> list[str]:
    """Everyday requests: single-turn prompts, and first turns of dialogues, of hh-rlhf's helpfulness part."""
    single = [r["prompt"] for r in _read(data / "hh_helpful_train.jsonl")]
    first = [r["messages"][0]["content"] for r in _read(data / "hh_helpful_multiturn_train.jsonl")]
    return [p for p in dict.fromkeys(single + first) if not _DANGER.search(p) and 8 < len(p) < 300]


def _questions(data: Path, rng: random.Random) -> list[str]:
    return [
        r["question"].strip().rstrip("?").capitalize() + "?"
        for name in ("nqopen_train", "webquestions_train", "opentrivia_train")
        for r in rng.sample(_read(data / f"{name}.jsonl"), 50)
    ]


def _row(query: str, responses: list[str], scores: list[float], origin: dict[str, str]) -> dict[str, Any]:
    kept = [(r, s) for r, s in zip(responses, scores, strict=True) if r.strip()]
    return {"query": query, "responses": [r for r, _ in kept], "scores": [s for _, s in kept], **origin}


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise UserError(
            f"The recipe needs {path}, which is not there; give the folder of the public data with --data-dir."
        )
    return [json.loads(line) for _, line in numbered_lines(path)]
