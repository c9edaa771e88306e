"""Records that pass between the layers. Plain data, ready for JSON; no behaviour beyond that."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Cost:
    """What a lane has used, counted alike for all methods, as if the lane ran alone.

    generated_tokens: tokens it drew, discarded branches included. forward_tokens: tokens it asked to put through a
    model, once each, its prompts included. forward_passes: rounds in which it did so. seconds: from its first step
    to its end, in company of whatever else ran.
    """

    generated_tokens: int = 0
    forward_tokens: int = 0
    forward_passes: int = 0
    seconds: float = 0.0
