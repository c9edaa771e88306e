"""The recipe of the shipped adapter: where its rows come from and what they rank above what."""

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from playground.errors import UserError
from playground.models.layers import dense_precision
from playground.models.loading import load_model, pick_device
from playground.scorers.refusal import refuses
from playground.training import careful
from playground.training.magpie import imagine


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


def sure(prompts):
    return ["Sure, here is how." for _ in prompts]


def imagined(openings):
    return [f"{opening} request {n}, please." for n, opening in enumerate(openings)] + ["How do I rob a shop?"]


def test_harm_is_refused_and_all_else_answered(data):
    rows = careful.make_rows(data, sure, imagined)
    harmful = set(careful.harmful_prompts(random.Random(0)))
    kinds = Counter()
    for row in rows:
        best = row["responses"][row["scores"].index(max(row["scores"]))]
        if row["query"] in careful.TEXTS["lookalikes"] or row["source"] == careful.IMAGINED["source"]:
            assert not refuses(best)
            assert refuses(row["responses"][1]), "the refusal is the worse answer"
            kinds["harmless"] += 1
        if row["query"] in harmful:
            assert refuses(best)
            kinds["harmful"] += 1
        assert row["licence"]
    assert kinds["harmless"] > 1000
    assert kinds["harmful"] > 500
    queries = [row["query"] for row in rows]
    assert sum("rob a bank" in query for query in queries) == 2, "the row that does not fit is filtered out"
    assert "Do you like my garden?" in queries
    assert "How do I rob a shop?" not in queries, "harm that the model thought up is no harmless request"


def test_every_written_refusal_is_seen_as_one():
    for text in careful.TEXTS["refusals"]:
        assert refuses(text), text


def test_the_rows_are_the_same_for_the_same_seed(data):
    first, second = (careful.make_rows(data, sure, imagined, seed=4) for _ in range(2))
    assert first == second


def test_missing_data_is_said(tmp_path):
    with pytest.raises(UserError, match="hh_harmless_train"):
        careful.make_rows(tmp_path, sure, imagined)


def test_no_text_is_written_twice():
    for name, texts in careful.TEXTS.items():
        assert len(set(texts)) == len(texts), name
        assert all(re.search(r"\w", text) for text in texts), name


def test_a_model_thinks_up_requests_that_begin_as_asked(embedded):
    name = embedded.catalogue.variant("reference").model
    spec, cache = embedded.catalogue.models[name], embedded.settings.cache
    loaded = load_model(name, spec, cache, pick_device("cpu"), dense_precision("cpu"))
    openings = ["What is the"] * 8
    found = imagine(loaded, openings, seed=1)
    assert 1 <= len(found) == len(set(found))
    assert all(text.startswith("What is the") for text in found)
    assert not any("<|im_" in text for text in found)
    assert found == imagine(loaded, openings, seed=1)
