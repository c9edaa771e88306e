"""A policy: whatever proposes the next token. One variant, or a weighted sum of variants' log-probabilities.

Written as `reference`, `0.5*reference+0.5*aligned` or `reference+0.8*aligned-0.8*told`. A minus sign that stands before
a number and `*`, or between spaces, is a minus; any other belongs to a name, as in `zephyr-sft`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from pydantic_core import core_schema

from playground.errors import UserError, shown

MOST_TERMS = 8
"""Variants behind one policy: each costs a pass for every token."""
LARGEST = 100.0
LONGEST = 1000
"""Characters of a policy as written."""
_WEIGHT = r"(?:[0-9.]+[eE][+-]?\d+|[A-Za-z0-9.]+)"
NAME = rf"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?=[A-Za-z0-9._-])(?!{_WEIGHT}\s*\*))*"
"""How a variant may be called."""
_TERM = re.compile(rf"([+-]?)\s*(?:({_WEIGHT})\s*\*\s*)?({NAME})\s*")


class Policy(str):
    """The text of a policy in its shortest form, which knows its `terms`: (name, weight) each, every name once and none
    with weight 0. Raises UserError for a text that is none."""

    terms: tuple[tuple[str, float], ...]

    def __new__(cls, text: str) -> Policy:
        return text if isinstance(text, Policy) else cls.of(_read(text))

    @classmethod
    def of(cls, terms: Iterable[tuple[str, float]]) -> Policy:
        """The policy of these terms; equal names are added up. Raises UserError for weights that cannot be used."""
        sums: dict[str, float] = {}
        for name, weight in terms:
            sums[name] = sums.get(name, 0.0) + weight
        kept = tuple((name, round(weight, 9)) for name, weight in sums.items())
        kept = tuple((name, weight) for name, weight in kept if weight)
        for name, weight in kept:
            if not abs(weight) <= LARGEST:
                raise UserError(
                    f"The weight of {shown(name)} is {weight:g}; it must be a number from -{LARGEST:g} to {LARGEST:g}."
                )
        if not 1 <= len(kept) <= MOST_TERMS:
            of = shown(", ".join(sums) or "nothing")
            raise UserError(f"A mixture of {of} has {len(kept)} parts with a weight; it needs 1 to {MOST_TERMS}.")
        policy = super().__new__(cls, _write(kept))
        policy.terms = kept
        return policy

    @classmethod
    def mix(cls, *parts: tuple[float, Policy]) -> Policy:
        """The weighted sum of policies."""
        return cls.of((name, share * weight) for share, policy in parts for name, weight in policy.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """The variants (or named mixtures) behind it, as written."""
        return tuple(name for name, _ in self.terms)

    @property
    def plain(self) -> bool:
        """Whether it is one variant as it is."""
        return len(self.terms) == 1 and self.terms[0][1] == 1

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: Callable) -> dict[str, Any]:
        return {"type": "string", "policy": True}


def _read(text: str) -> list[tuple[str, float]]:
    """The terms of a text, as they stand there; what is no text has none, whoever sent it."""
    if not isinstance(text, str):
        raise UserError(f"{shown(text)} is no model; write the name of one.")
    if len(text) > LONGEST:
        raise UserError(f"The mixture {shown(text)} is too long; write it in at most {LONGEST} characters.")
    text, terms, at = text.strip(), [], 0
    while at < len(text) or not terms:
        found = _TERM.match(text, at)
        if not found or (terms and not found[1]):
            raise UserError(
                f"{shown(text)} is no model and no mixture; write a name, or weights and names as in "
                "0.5*reference+0.5*aligned."
            )
        terms.append((found[3], _weight(found[2]) * (-1 if found[1] == "-" else 1)))
        at = found.end()
    return terms


def _weight(text: str | None) -> float:
    if text is None:
        return 1.0
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not abs(weight) <= LARGEST:
        raise UserError(f"The weight {shown(text)} cannot be used; give a number from -{LARGEST:g} to {LARGEST:g}.")
    return weight


def _write(terms: tuple[tuple[str, float], ...]) -> str:
    """The text that `_read` reads as these terms."""
    bare = {1: "+", -1: " - "}  # a minus before a bare name needs its spaces
    parts = (f"{bare[weight]}{name}" if weight in bare else f"{weight:+.12g}*{name}" for name, weight in terms)
    return "".join(parts).removeprefix("+").lstrip()
