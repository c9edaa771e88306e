"""Text grows token by token as the whole would be decoded, whatever the tokenizer does at the edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from playground.branch.lane import Lane, Limits
from tests.tiny import make_tokenizer


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Words open with ▁, bytes stand in for unknown characters, and the decoder strips the first space: as Llama 2,
    Mistral and Zephyr do."""
    words = [
        "<unk>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
        "▁",
        *"abcdefgh",
        "▁Hello",
        "▁world",
        "▁you",
        "ll",
        "▁a",
    ]
    core = Tokenizer(
        models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>")


TOKENIZERS = {"byte level": make_tokenizer(), "sentencepiece": sentencepiece_like()}


def make_lane(tokenizer, **limits) -> Lane:
    return Lane(lambda v: [0], tokenizer, frozenset([1]), Limits(**{"max_new_tokens": 10_000} | limits), seed=0)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(ids=st.lists(st.integers(2, 266), max_size=30))
def test_pieces_join_to_the_decoded_whole(name, ids):
    tokenizer = TOKENIZERS[name]
    lane = make_lane(tokenizer)
    draft = lane.draft()
    for token in ids:
        draft.append(token)
    assert draft.text == "".join(record["text"] for record in draft.records)
    whole = lane.decode(ids)
    if "\ufffd" not in whole:  # broken characters may come out as more or fewer marks
        assert draft.text == whole


def test_spaces_between_words_are_kept():
    tokenizer = TOKENIZERS["sentencepiece"]
    lane = make_lane(tokenizer, stop=("d y",))
    draft = lane.draft()
    for word in ("▁Hello", "▁world", "▁you"):
        draft.append(tokenizer.convert_tokens_to_ids(word))
    assert [r["text"] for r in draft.records] == ["Hello", " world", " you"]
    assert (draft.text, draft.finish_reason) == ("Hello worl", "stop")
    assert lane.decode_one(tokenizer.convert_tokens_to_ids("▁you")) == " you"


def test_a_character_of_several_tokens_comes_whole():
    tokenizer = TOKENIZERS["byte level"]
    lane = make_lane(tokenizer)
    draft = lane.draft()
    for token in tokenizer("a🙂b", add_special_tokens=False).input_ids:
        draft.append(token)
    assert "🙂" in [r["text"] for r in draft.records]
    assert draft.text == "a🙂b"
