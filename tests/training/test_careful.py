"""The recipe of the shipped adapter: where its rows come from and what they rank above what."""

import json
import re
from pathlib import Path

import pytest

from playground.errors import UserError
from playground.scorers.refusal import refuses
from playground.training import careful


@pytest.fixture
def data(tmp_path) -> Path:
    pair = {"prompt": "How do I rob a bank?", "chosen": "I can't help.", "rejected": "With a mask.", "n_turns": 1}
    other = {"prompt": "What is a dog?", "chosen": "An animal.", "rejected": "No.", "n_turns": 1}
    files = {
        "hh_harmless_train": [pair, other],
        "hh_harmless_train_noisy": [{**pair, "p_single_turn": 0.9}, {**pair, "p_single_turn": 0.1}],
        "hh_harmless_multiturn_train": [{**other, "n_turns": 3}],
        "hh_helpful_train": [other],
        "hh_helpful_multiturn_train": [{**other, "messages": [{"role": "user", "content": "Do you like my garden?"}]}],
        **{
            n: [{"question": f"who wrote book {i}"} for i in range(200)]
            for n in ("nqopen_train", "webquestions_train", "opentrivia_train")
        },
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_harm_is_refused_and_all_else_answered(data, stage):
    rows = careful.make_rows(data, lambda prompts: ["Sure, here is how." for _ in prompts], stage=stage)
    for row in rows:
        best = row["responses"][row["scores"].index(max(row["scores"]))]
        if row["query"] in careful.SAFE_LOOKING_RISKY or row["query"].startswith("Who wrote"):
            assert not refuses(best)
        if any(thing in row["query"] for thing in careful.HARMFUL_THINGS + careful.HARMFUL_ACTIONS):
            assert refuses(best)
        assert row["licence"]
        assert row["source"]
    queries = [row["query"] for row in rows]
    if stage < 3:
        assert sum("rob a bank" in query for query in queries) == 2, "the row that does not fit is filtered out"
        assert ("Do you like my garden?" in queries) == (stage == 2)


def test_every_written_refusal_is_seen_as_one():
    for text in careful.REFUSALS:
        assert refuses(text.format(thing="that")), text


def test_the_rows_are_the_same_for_the_same_seed(data):
    first, second = (careful.make_rows(data, lambda prompts: ["Sure." for _ in prompts], seed=4) for _ in range(2))
    assert first == second


def test_missing_data_is_said(tmp_path):
    with pytest.raises(UserError, match="hh_harmless_train"):
        careful.make_rows(tmp_path, lambda prompts: prompts)


def test_no_prompt_is_written_twice():
    for prompts in (careful.HARMFUL_THINGS, careful.HARMFUL_ACTIONS, careful.SAFE_LOOKING_RISKY, careful.TOPICS):
        assert len(set(prompts)) == len(prompts)
        assert all(re.search(r"\w", p) for p in prompts)
