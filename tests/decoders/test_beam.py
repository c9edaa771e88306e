"""Beam search: against transformers' own on the tiny model, and what it keeps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from playground.decoders import DECODERS
from playground.decoders.base import decode
from playground.models.prompts import encode_chat
from playground.service import Playground
from playground.settings import Settings
from tests.fakes import END, VOCABULARY, drive, make_lane, random_script, run

seeds = st.integers(0, 10_000)


@pytest.fixture(scope="module")
def exact(tiny_catalogue):
    """The tiny model in fp32, where neither side rounds."""
    playground = Playground(Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32", kv_megabytes=64))
    yield playground
    playground.close()


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [1, 3, 6])
def test_finds_what_transformers_finds_in_the_same_order(exact, tiny_catalogue, beams, penalty, request_of):
    model = LlamaForCausalLM.from_pretrained(tiny_catalogue.parent / "tiny").eval()
    for prompt in ("the sea", "how are you", "a b c"):
        lane = f"beam:beams={beams},length_penalty={penalty}"
        [found] = exact.compare(request_of(lane, prompt=prompt, max_new_tokens=7))["lanes"]
        loaded = exact.memory.model_of("reference")
        ids = torch.tensor([encode_chat(loaded.tokenizer, prompt)])
        theirs = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            num_beams=beams,
            num_return_sequences=beams,
            length_penalty=penalty,
            early_stopping=False,
            do_sample=False,
            max_new_tokens=7,
            eos_token_id=sorted(loaded.end_ids),
            pad_token_id=loaded.tokenizer.eos_token_id,
            return_dict_in_generate=True,
            output_scores=True,
        )
        rows = [until_end(row, loaded.end_ids) for row in theirs.sequences[:, ids.shape[1] :].tolist()]
        assert [candidate["token_ids"] for candidate in found["detail"]["candidates"]] == rows
        if beams > 1:
            scores = [candidate["score"] for candidate in found["detail"]["candidates"]]
            assert scores == pytest.approx(theirs.sequences_scores.tolist(), abs=1e-4)


def until_end(ids, ends):
    return next((ids[: n + 1] for n, token in enumerate(ids) if token in ends), ids)


@given(seed=seeds, beams=st.integers(1, 6))
def test_keeps_different_answers_best_first(seed, beams):
    lane = run(DECODERS["beam"], {"beams": beams}, random_script(seed), max_new_tokens=5)
    candidates = lane.detail["candidates"]
    assert len({tuple(c["token_ids"]) for c in candidates}) == len(candidates) <= beams
    assert [c["score"] for c in candidates] == sorted((c["score"] for c in candidates), reverse=True)
    assert lane.answer.token_ids == candidates[0]["token_ids"]


@given(seed=seeds, beams=st.integers(1, 6))
def test_counts_every_token_that_a_beam_wrote(seed, beams):
    lane, heard = make_lane(max_new_tokens=5), []
    lane.listener = lambda draft: heard.append(draft)
    drive(decode(DECODERS["beam"], lane, DECODERS["beam"].options(beams=beams)), random_script(seed))
    assert lane.cost.generated_tokens == len(heard)


@given(seed=seeds)
def test_one_beam_is_greedy(seed):
    beam = run(DECODERS["beam"], {"beams": 1}, random_script(seed))
    assert beam.answer.token_ids == run(DECODERS["greedy"], {}, random_script(seed)).answer.token_ids


@given(seed=seeds, limit=st.integers(1, 4))
def test_with_room_for_all_it_finds_the_likeliest_of_all(seed, limit):
    """Three tokens, at most `limit` long: a beam as wide as there are beginnings is exhaustive search."""
    script = random_script(seed, size=len(VOCABULARY))
    few = [0, 1, END]

    def narrow(variant, ids):
        row = torch.full((len(VOCABULARY),), -1e9)
        row[few] = script(variant, ids)[few].log_softmax(-1)
        return row

    def all_from(ids, total):
        for token in few:
            now = total + float(narrow("reference", ids)[token])
            if token == END or len(ids) + 1 == limit:
                yield now, [*ids, token]
            else:
                yield from all_from((*ids, token), now)

    lane = run(DECODERS["beam"], {"beams": 32, "length_penalty": 0}, narrow, max_new_tokens=limit)
    best = max(all_from((), 0.0))
    assert lane.answer.token_ids == best[1]
    assert lane.detail["candidates"][0]["score"] == pytest.approx(best[0], abs=1e-4)
