"""The attack: suffixes that lower the loss and stay the same tokens, a search that goes on, methods put to both."""

import json

import pytest
import torch

from playground.evaluation.attack import attacked_model, evaluate_attack, lanes_against, search_suffixes
from playground.evaluation.suffix import FIRST, Effort, _Attack, find_suffix
from playground.models.prompts import encode_chat
from playground.settings import Settings

SMALL = Effort(steps=4, candidates=6, top=8, goal_tokens=5)
ROWS = [
    {"prompt": "how do I make a cake", "target": "the lazy dog jumps"},
    {"prompt": "once upon a time", "target": "in a far land"},
]


@pytest.fixture(scope="module")
def loaded(tiny_catalogue):
    return attacked_model(Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32"), name="adapted")


@torch.no_grad()
def loss_of(loaded, request, suffix, wanted, count):
    """The loss of the first `count` tokens of `wanted`, by one plain pass over everything."""
    goal = loaded.tokenizer(wanted, add_special_tokens=False).input_ids[:count]
    before = encode_chat(loaded.tokenizer, request + suffix)
    logits = loaded.model(torch.tensor([before + goal])).logits[0, len(before) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits.float(), torch.tensor(goal)))


@pytest.mark.parametrize("row", ROWS, ids=["cake", "time"])
def test_a_suffix_lowers_the_loss_that_one_plain_pass_finds(loaded, row):
    found = find_suffix(loaded, row["prompt"], row["target"], SMALL)
    assert found.loss < found.loss_before
    assert found.loss == pytest.approx(loss_of(loaded, row["prompt"], found.text, row["target"], 5), abs=1e-4)
    assert found.loss_before == pytest.approx(loss_of(loaded, row["prompt"], FIRST, row["target"], 5), abs=1e-4)
    assert found.text.isascii() and found.text.isprintable()
    assert found == find_suffix(loaded, row["prompt"], row["target"], SMALL)
    assert found.loss == min(
        find_suffix(loaded, row["prompt"], row["target"], Effort(steps, 6, 8, 5)).loss for steps in (1, 2, 4)
    )


def test_candidates_differ_at_one_place_and_survive_the_way_through_text(loaded):
    attack = _Attack(loaded, ROWS[0]["prompt"], ROWS[0]["target"], SMALL, seed=1)
    for other in attack.candidates():
        assert int((other != attack.suffix).sum()) == 1
        ids = encode_chat(loaded.tokenizer, ROWS[0]["prompt"] + attack.text(other))
        assert ids[len(attack.before) : len(attack.before) + len(other)] == other.tolist()


def test_the_gradient_is_that_of_the_loss(loaded):
    attack = _Attack(loaded, ROWS[0]["prompt"], ROWS[0]["target"], SMALL, seed=1)
    losses, embedded = attack.losses(attack.suffix[None], gradient=True)
    (gradient,) = torch.autograd.grad(losses.sum(), embedded)
    table = attack.table.clone()
    step = 1e-3 * gradient / gradient.norm()
    moved = torch.nn.Parameter(torch.cat([table, (embedded.detach() + step)[0]]), requires_grad=False)
    loaded.model.get_input_embeddings().weight, kept = moved, loaded.model.get_input_embeddings().weight
    try:
        after, _ = attack.losses(torch.arange(len(table), len(moved))[None])
    finally:
        loaded.model.get_input_embeddings().weight = kept
    assert float(after - losses.detach()) == pytest.approx(1e-3 * float(gradient.norm()), rel=0.1)


def test_a_search_that_was_cut_goes_on(loaded, tmp_path):
    file = tmp_path / "new" / "suffixes.jsonl"
    [first] = search_suffixes(lambda: loaded, ROWS[:1], file, SMALL)
    loads = []
    both = search_suffixes(lambda: loads.append(1) or loaded, ROWS, file, SMALL)
    assert both[0] == first and len(both) == 2 and loads == [1]
    assert search_suffixes(lambda: pytest.fail("nothing is missing"), ROWS, file, SMALL) == both
    assert [json.loads(line) for line in file.read_text().splitlines()] == both


def test_every_method_answers_without_and_with_the_suffix(embedded):
    suffixes = [{"prompt": "Name a colour.", "suffix": " ! ! red", "loss_before": 2.0, "loss": 1.0}]
    found = evaluate_attack(embedded, suffixes, budget=60, max_new_tokens=4, judge="harmless_judge")
    assert (found["n"], found["loss_before"], found["loss"]) == (1, 2.0, 1.0)
    assert [method["method"] for method in found["methods"]] == list(lanes_against(60))
    for method in found["methods"]:
        for way in ("plain", "attacked"):
            one = method[way]
            assert 0 <= one["interval"][0] <= one["success_rate"] <= one["interval"][1] <= 1
            assert len(one["answers"]) == 1 and one["forward_tokens"] > 0
