"""A scorer with its options, written as in `implicit` or `implicit(tuned=told,reduce=sum)`."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

from pydantic import ValidationError
from pydantic_core import core_schema

from playground.branch.lane import Lane
from playground.engine.engine import Asking
from playground.errors import UserError, shown
from playground.explain import explain, read_options
from playground.options import Options
from playground.policy import Policy
from playground.scorers.base import Answer, Scorer

LONGEST = 1000
"""Characters of a scorer with its options."""
SCORERS: dict[str, Scorer] = {}
"""All scorers by name; filled by `playground.scorers`."""


class ScorerChoice(str):
    """The text that names a scorer and the options that differ from its defaults; knows both. Raises UserError."""

    name: str
    options: Options

    def __new__(cls, text: str) -> ScorerChoice:
        if isinstance(text, ScorerChoice):
            return text
        if len(text) > LONGEST:
            raise UserError(f"The scorer {shown(text)} is too long; write it in at most {LONGEST} characters.")
        name, bracket, inside = text.strip().partition("(")
        name = name.strip()
        if name not in SCORERS:
            raise UserError(f"There is no scorer {shown(name)}; choose one of: {', '.join(SCORERS)}.")
        if bracket and not inside.endswith(")"):
            raise UserError(f"The bracket of the scorer {shown(text)} is not closed; write {name}(option=value).")
        kind = SCORERS[name].options
        try:
            options = kind.model_validate(read_options(inside.removesuffix(")"), text))
        except ValidationError as error:
            raise UserError(explain(error, name, kind)) from None
        changed = options.model_dump(exclude_defaults=True)
        told = ",".join(f"{option}={value}" for option, value in changed.items())
        choice = super().__new__(cls, f"{name}({told})" if told else name)
        choice.name, choice.options = name, options
        return choice

    @property
    def scorer(self) -> Scorer:
        return SCORERS[self.name]

    def run(self, lane: Lane, writer: Policy, answers: list[Answer], soft: bool = False) -> Asking:
        """One finite number per answer, which `writer` wrote; graded ones if asked for and there are any. Raises
        UserError for a scorer that is none."""
        score = self.scorer.soft if soft and self.scorer.soft else self.scorer.run
        asking = score(lane, writer, answers, self.options)
        if not isinstance(asking, Generator):
            raise UserError(f"The scorer {self.name} is no generator; it needs a `yield`, as docs/plugins.md shows.")
        scores = yield from asking
        whole = isinstance(scores, list) and len(scores) == len(answers)
        if not whole or not all(isinstance(score, int | float) and math.isfinite(score) for score in scores):
            raise UserError(
                f"The scorer {self.name} gave {shown(scores)} for {len(answers)} answers; it must give a list with "
                "one finite number (int or float) for each."
            )
        return scores

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: Callable) -> dict[str, Any]:
        return {"type": "string", "scorer": True}
