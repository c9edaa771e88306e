"""A scorer with its options, written as in `implicit` or `implicit(tuned=told,reduce=sum)`."""

from __future__ import annotations

import re
from collections.abc import Callable
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
        found = re.fullmatch(r"(\w+)(?:\s*\((.*)\))?", text.strip(), re.DOTALL) if len(text) <= LONGEST else None
        if not found or found[1] not in SCORERS:
            raise UserError(f"There is no scorer {shown(text)}; choose one of: {', '.join(SCORERS)}.")
        kind = SCORERS[found[1]].options
        try:
            options = kind.model_validate(read_options(found[2] or "", text))
        except ValidationError as error:
            raise UserError(explain(error, found[1], kind)) from None
        changed = options.model_dump(exclude_defaults=True)
        told = ",".join(f"{name}={value}" for name, value in changed.items())
        choice = super().__new__(cls, f"{found[1]}({told})" if told else found[1])
        choice.name, choice.options = found[1], options
        return choice

    @property
    def scorer(self) -> Scorer:
        return SCORERS[self.name]

    def run(self, lane: Lane, writer: Policy, answers: list[Answer], soft: bool = False) -> Asking:
        """One number per answer, which `writer` wrote; graded ones if asked for and there are any."""
        score = self.scorer.soft if soft and self.scorer.soft else self.scorer.run
        return score(lane, writer, answers, self.options)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: Callable) -> dict[str, Any]:
        labels = {name: scorer.title for name, scorer in SCORERS.items()}
        return {"type": "string", "examples": list(SCORERS), "labels": labels}
