"""On the embedded model: a row's numbers do not depend on its neighbours, over long texts."""

import pytest
import torch

from playground.engine.requests import Extend, Open


@pytest.fixture
def engine(embedded):
    return embedded.engine


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
    prompt, text = ids(500, 1), ids(100, 2)
    alone = engine.submit(follow(prompt, text)).wait(300)
    others = [engine.submit(follow(ids(1 + 67 * i, 10 + i), ids(60 + 10 * i, 30 + i))) for i in range(9)]
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
