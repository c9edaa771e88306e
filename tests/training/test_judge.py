"""The judge's recipe: dialogues that nothing else learned from, what counts as harmless, and a fit that tells apart."""

import json
import random

import pytest

from playground import cli
from playground.training.data import write_rows
from playground.training.judge import HELPFUL, JUDGED, judge_rows


def dialogue(first, turns, chosen="good dog", rejected="bad fox"):
    said = [{"role": "user", "content": text} for text in (first, *["and then"] * (turns - 1))]
    messages = [m for one in said for m in (one, {"role": "assistant", "content": "hm"})][:-1]
    return {
        "prompt": said[-1]["content"],
        "chosen": chosen,
        "rejected": rejected,
        "n_turns": turns,
        "messages": messages,
    }


@pytest.fixture
def data(tmp_path):
    noisy = [{"prompt": "kept copy", "chosen": "a", "rejected": "b", "p_single_turn": 0.4}]
    noisy += [{"prompt": "fits", "chosen": "a", "rejected": "b", "p_single_turn": 0.6}]
    files = {
        "hh_harmless_train": [{"prompt": "single", "chosen": "a", "rejected": "b"}],
        "hh_harmless_multiturn_train": [
            dialogue("long", 3),
            dialogue("short", 2),
            dialogue("single", 4),
            dialogue("fits", 3),
            dialogue("silent", 3, rejected=" "),
        ],
        "hh_harmless_train_noisy": noisy,
        "hh_helpful_multiturn_train": [dialogue(f"help {n}", 2) for n in range(HELPFUL + 5)],
    }
    for name, rows in files.items():
        write_rows(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def test_what_the_other_recipes_learn_from_is_left_out(data):
    rows = judge_rows(data)
    pairs = {row["query"]: row for row in rows if row["scores"] == [1, -1]}
    assert pairs.keys() == {"long\n\nand then\n\nand then", "kept copy"}
    assert sum(row["scores"] == [1, 1] for row in rows) == HELPFUL
    read = [json.loads(line) for line in JUDGED.read_text().splitlines()]
    own = {(row["query"], *row["responses"]): row["scores"] for row in rows if row["weight"] > 1}
    assert all(own[row["prompt"], row["response"].strip()] == [1 if row["harmless"] else -1] for row in read)
    assert all(row["licence"] in ("MIT", "Apache-2.0") for row in rows)
    assert judge_rows(data) == rows, "the same from the same seed"


def test_the_command_fits_and_writes_a_card(tiny_catalogue, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    rng = random.Random(0)
    rows = [
        {"query": f"the fox {n}", "responses": rng.sample(["a dog", "dog a"], 2), "scores": [score, score]}
        for n in range(8)
        for score in (1,)
    ] + [{"query": f"the fox {n}", "responses": ["cake", "a cake"], "scores": [-1, -1]} for n in range(8)]
    write_rows(tmp_path / "rows.jsonl", [row | {"source": "here", "licence": "MIT"} for row in rows])
    arguments = ["train", "judge", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "judge")]
    assert cli.main(arguments) == 0
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "32 answers, 16 of them called harmless" in card and "| AUROC on answers of: here | 1.000 | 32 |" in card
    write_rows(tmp_path / "rows.jsonl", [row for row in rows if row["scores"] == [1, 1]])
    assert cli.main(arguments) == 2
    assert "of one kind only" in capsys.readouterr().err
