"""The arithmetic agrees with transformers' processors and with the identities of the papers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from playground.branch import logits

vectors = st.lists(st.floats(-12, 12, width=32), min_size=3, max_size=40).map(
    lambda v: (torch.tensor(v) + torch.arange(len(v)) * 1e-3).log_softmax(-1)
)


def mixed_at(reference, aligned, lambda_):
    return logits.mix([reference, aligned], [1 - lambda_, lambda_])


def kept(log_probs):
    return set(torch.isfinite(log_probs).nonzero()[:, -1].tolist())


@given(vectors, st.integers(1, 10))
def test_top_k_keeps_what_transformers_keeps(log_probs, k):
    assert kept(logits.top_k(log_probs, k)) == kept(TopKLogitsWarper(k)(None, log_probs[None]))


@given(vectors, st.floats(0.05, 0.95))
def test_min_p_keeps_what_transformers_keeps(log_probs, p):
    assert kept(logits.min_p(log_probs, p)) == kept(MinPLogitsWarper(p)(None, log_probs[None]))


@given(vectors, st.floats(0.05, 0.95))
def test_top_p_keeps_the_smallest_set_that_reaches_p(log_probs, p):
    mine = kept(logits.top_p(log_probs, p))
    ranked = log_probs.exp().double().sort(descending=True)
    reached = ranked.values.cumsum(-1)
    if (reached - p).abs().min() < 1e-5:
        return  # the boundary itself is a matter of rounding
    assert mine == set(ranked.indices[: int((reached < p).sum()) + 1].tolist())
    assert mine == kept(TopPLogitsWarper(p)(None, log_probs[None]))


def test_top_p_sorts_further_where_the_head_does_not_suffice():
    flat = torch.linspace(0, 1, 10_000).log_softmax(-1)
    expected = int((flat.double().exp().sort(descending=True).values.cumsum(-1) < 0.9).sum()) + 1
    assert expected > logits._HEAD
    assert len(kept(logits.top_p(flat, 0.9))) == pytest.approx(expected, abs=2)


@given(vectors, st.lists(st.integers(0, 2), max_size=5), st.floats(0.5, 3))
def test_repetition_penalty_is_that_of_transformers(log_probs, seen, penalty):
    expected = (
        log_probs if not seen else RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([seen]), log_probs[None])[0]
    )
    assert torch.allclose(logits.repetition_penalty(log_probs, seen, penalty), expected)


@given(vectors, st.floats(-1, 5), st.floats(-50, 50))
def test_a_constant_on_either_side_changes_no_mixture(log_probs, lambda_, constant):
    other = log_probs.flip(0)
    mixed = mixed_at(log_probs, other, lambda_).log_softmax(-1)
    assert torch.allclose(mixed_at(log_probs + constant, other, lambda_).log_softmax(-1), mixed, atol=1e-3)
    assert torch.allclose(mixed_at(log_probs, other + constant, lambda_).log_softmax(-1), mixed, atol=1e-3)


@given(vectors, st.floats(-1, 5))
def test_the_mixture_is_the_normalised_geometric_mean(log_probs, lambda_):
    other = log_probs.flip(0)
    mean = log_probs.double().exp() ** (1 - lambda_) * other.double().exp() ** lambda_
    assert torch.allclose(mixed_at(log_probs, other, lambda_).double().exp(), mean / mean.sum(), atol=1e-4)


@given(vectors)
def test_a_mixture_of_one_is_bit_for_bit_that_one(log_probs):
    assert torch.equal(logits.mix([log_probs], [1.0]), log_probs)
    assert not torch.equal(logits.mix([log_probs], [0.5]), log_probs)


@given(vectors, st.floats(0, 1, exclude_max=True))
def test_draw_inverts_the_cumulative_distribution(log_probs, uniform):
    token = logits.draw(log_probs, uniform)
    cumulative = log_probs.double().softmax(-1).cumsum(-1)
    assert cumulative[token] >= uniform * cumulative[-1]
    assert token == 0 or cumulative[token - 1] <= uniform * cumulative[-1]


def test_draw_never_takes_an_impossible_token():
    log_probs = torch.tensor([float("-inf"), 0.0, float("-inf")])
    assert {logits.draw(log_probs, u) for u in (0.0, 0.5, 0.999999)} == {1}


@given(vectors)
def test_kl_is_zero_with_itself_and_entropy_is_at_most_that_of_equal_chances(log_probs):
    assert float(logits.kl(log_probs, log_probs)) == 0
    assert float(logits.kl(log_probs, log_probs.flip(0))) >= 0
    assert float(logits.entropy(log_probs)) <= torch.tensor(float(len(log_probs))).log() + 1e-4


@given(vectors, st.floats(-1, 5))
def test_flip_points_say_the_winner_at_every_lambda(log_probs, lambda_):
    other = log_probs.flip(0)
    flips = logits.flip_points(log_probs, other, -1, 5)
    starts = [at for at, _ in flips]
    assert starts[0] == -1
    assert starts == sorted(starts)
    if min(abs(lambda_ - at) for at in starts[1:] or [9]) < 1e-4:
        return  # at a crossing two tokens win
    winner = [token for at, token in flips if at <= lambda_][-1]
    mixed = log_probs.double() + lambda_ * (other.double() - log_probs.double())
    assert float(mixed[winner]) == pytest.approx(float(mixed.max()), abs=1e-9)


@given(vectors)
def test_flip_points_are_those_of_a_fine_grid(log_probs):
    other = log_probs.roll(1)
    flips = logits.flip_points(log_probs, other, -1, 5)
    grid = torch.linspace(-1, 5, 2001).double()
    height, slope = log_probs.double(), other.double() - log_probs.double()
    winners = (height + grid[:, None] * slope).argmax(-1).tolist()
    assert set(winners) <= {token for _, token in flips}
    assert len(flips) <= len(log_probs)


def test_equal_models_never_flip():
    log_probs = torch.randn(50).log_softmax(-1)
    assert logits.flip_points(log_probs, log_probs, -1, 5) == [(-1, int(log_probs.argmax()))]
