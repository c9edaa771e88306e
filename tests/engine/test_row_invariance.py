"""A row's numbers do not depend on its neighbours: over long texts of the embedded model, and in attention alone."""

import pytest
import torch

from playground.engine.kv import BLOCK, BlockPool
from playground.engine.requests import Extend, Open
from playground.engine.runner import KEYS, QUERIES, _attend, _blocks, _Read


@pytest.fixture
def engine(embedded):
    """One whose worker computes with two threads: how they share out the rows must change no bit."""

    def asking(threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        return before
        yield

    engine = embedded.engine
    before = engine.submit(asking(2)).wait(60)
    yield engine
    engine.submit(asking(before)).wait(60)


def follow(prompt, text):
    """Distributions along a fixed text."""

    def asking():
        [(sequence, first)] = yield [Open("reference", tuple(prompt))]
        found = [first]
        for token in text:
            found += yield [Extend(sequence, (token,))]
        return torch.stack(found)

    return asking()


def ids(count, seed):
    return torch.randint(20, 49_000, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def test_a_text_of_600_tokens_is_the_same_bits_alone_and_among_shorter_and_longer_ones(engine):
    prompt, text = ids(550, 1), ids(50, 2)
    alone = engine.submit(follow(prompt, text)).wait(300)
    others = [engine.submit(follow(ids(1 + 134 * i, 10 + i), ids(30 + 8 * i, 30 + i))) for i in range(5)]
    beside = engine.submit(follow(prompt, text)).wait(300)
    for other in others:
        other.wait(300)
    assert torch.equal(alone, beside)


def test_short_and_long_extensions_agree_closely(engine):
    """They run through different kernels of the same weights: not the same bits, but the same model."""

    def asking():
        [(one, _)] = yield [Open("reference", tuple(ids(20, 1)))]
        other = one.fork()
        text = tuple(ids(24, 2))
        for token in text:
            [step] = yield [Extend(one, (token,))]
        [whole] = yield [Extend(other, text)]
        return step, whole

    step, whole = engine.submit(asking()).wait(120)
    assert float((step.exp() * (step - whole)).sum()) < 0.02


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("length", [40, 200, 300, 536, 900])
def test_attention_adds_up_in_one_order_whatever_other_texts_the_call_has(dtype, length):
    """Every value stands once with each sign, so what is left of the sum is rounding alone: another order shows."""
    heads, groups, dim, blocks = 3, 3, 64, _blocks(length)
    assert blocks * BLOCK % KEYS == 0
    generator = torch.Generator().manual_seed(length)
    pool = BlockPool(1, heads, dim, dtype, torch.device("cpu"), 2 * blocks * heads * dim * BLOCK * 2 * dtype.itemsize)
    for which in (0, 1):
        half = torch.randn(length // 2, heads * dim, generator=generator)
        text = torch.cat([half, (1 - 2 * which) * half[torch.randperm(length // 2, generator=torch.manual_seed(1))]])
        rows = torch.zeros(blocks * BLOCK, heads * dim)
        rows[: len(text)] = text
        pool.data[1 : 1 + blocks, 0, which] = rows.to(dtype).view(blocks, BLOCK, -1)
    query = torch.randn(1, heads * groups, dim, generator=generator).to(dtype)

    def attend(texts):
        table = torch.arange(1, 1 + blocks).repeat(texts, 1)
        mask = torch.zeros(texts, 1, QUERIES, blocks * BLOCK, dtype=dtype)
        mask[..., length // 2 * 2 :] = float("-inf")
        return _attend(0, query.repeat(texts, 1, 1), _Read(slice(None), table, mask), pool)

    alone = attend(1)[0]
    assert 0 < alone.abs().max() < 1e-2
    for texts in (2, 3, 5, 9, 32):
        assert all(torch.equal(row, alone) for row in attend(texts))
