"""Decoding arithmetic: pure functions on log-probabilities [..., vocabulary], never in place. What truncates and what
draws takes them without their normaliser, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

_HEAD = 2048
"""Most probable tokens looked at first when top-p is cut; the rest is sorted only if they do not suffice."""


def mix(rows: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """The weighted sum of log-probabilities, normalised: of weights 1 - λ and λ DeRa's mixture (Liu et al. 2024).

    One row of weight 1 comes back bit for bit, so that a mixture of one model is plain decoding.
    """
    if len(rows) == 1 and weights[0] == 1:
        return rows[0]
    total = weights[0] * rows[0]
    for row, weight in zip(rows[1:], weights[1:], strict=True):
        total = total + weight * row
    return total.log_softmax(-1)


def flip_points(reference: torch.Tensor, aligned: torch.Tensor, low: float, high: float) -> list[tuple[float, int]]:
    """Which token greedy DeRa takes at every λ of [low, high]: [(λ from which on, token)], the first at `low`.

    Each token's mixed logit is a line in λ, reference + λ·(aligned − reference); the winner follows the upper envelope
    of all lines of the vocabulary. Exact: from one winner, the next is the steeper line that it meets first. Both
    vectors [vocabulary] are finite.
    """
    height = reference.double()
    slope = aligned.double() - height
    at = low
    value = height + at * slope
    # Of lines that meet here the steepest wins just after.
    best = torch.where(value == value.max(), slope, -torch.inf).argmax()
    found = [(low, int(best))]
    while True:
        steeper = slope > slope[best]
        crossing = torch.where(steeper, (height[best] - height) / (slope - slope[best]), torch.inf)
        at = float(crossing.min())
        if at > high:
            return found
        best = torch.where(crossing == crossing.min(), slope, -torch.inf).argmax()
        if at <= found[-1][0]:
            found[-1] = (found[-1][0], int(best))
        else:
            found.append((at, int(best)))


def repetition_penalty(log_probs: torch.Tensor, seen: Iterable[int], penalty: float) -> torch.Tensor:
    """Scale the log-probability of every token already seen by `penalty` (CTRL, arXiv 1909.05858, on log-probs)."""
    if penalty == 1 or not (known := sorted(set(seen))):
        return log_probs
    ids = torch.tensor(known, dtype=torch.long)
    return log_probs.index_copy(-1, ids, log_probs.index_select(-1, ids) * penalty)


def top_k(log_probs: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the k most probable tokens, and whatever ties with the last of them; 0 keeps all."""
    if k <= 0 or k >= log_probs.shape[-1]:
        return log_probs
    least = log_probs.topk(k).values[..., -1:]
    return log_probs.masked_fill(log_probs < least, float("-inf"))


def top_p(log_probs: torch.Tensor, p: float) -> torch.Tensor:
    """Nucleus: keep the smallest set of most probable tokens whose probability reaches p (arXiv 1904.09751)."""
    if p >= 1:
        return log_probs
    probs = log_probs.double().softmax(-1)
    ranked = probs.topk(min(_HEAD, probs.shape[-1])).values
    if bool((ranked.sum(-1) < p).any()):
        ranked = probs.sort(descending=True).values
    before = ranked.cumsum(-1) - ranked
    kept = (before < p).sum(-1, keepdim=True).clamp_min(1)
    least = ranked.gather(-1, kept - 1)
    return log_probs.masked_fill(probs < least, float("-inf"))


def min_p(log_probs: torch.Tensor, p: float) -> torch.Tensor:
    """Keep tokens at least p times as probable as the most probable one (arXiv 2407.01082)."""
    if p <= 0:
        return log_probs
    floor = log_probs.max(-1, keepdim=True).values + torch.tensor(p).log()
    return log_probs.masked_fill(log_probs < floor, float("-inf"))


def draw(log_probs: torch.Tensor, uniform: float) -> int:
    """The token at which the cumulative probability passes `uniform` in [0, 1): inverse-transform sampling."""
    cumulative = log_probs.double().softmax(-1).cumsum(-1)
    found = int(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
    return min(found, len(cumulative) - 1)


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p‖q) in nats of two finite log-probability vectors. Added up in fp64: threads share a sum, and what is
    recorded must not tell how many they were."""
    return (p.exp() * (p - q)).sum(-1, dtype=torch.float64).clamp_min(0)


def entropy(log_probs: torch.Tensor) -> torch.Tensor:
    """Entropy in nats of a finite log-probability vector."""
    return -(log_probs.exp() * log_probs).sum(-1, dtype=torch.float64)
