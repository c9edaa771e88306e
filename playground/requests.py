"""What a person may ask for: a prompt and lanes. Checked here, once, with sentences for what is wrong."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, ValidationInfo, field_validator

from playground.decoders import decoder
from playground.errors import UserError, shown
from playground.explain import explain, read_options, told
from playground.options import Options

MAX_LANES = 6
MAX_CHARACTERS = 60_000
MAX_NEW_TOKENS = 2048
_OF_THE_RUN = ("system", "seed", "max_new_tokens", "stop")
"""What newcomers give to a lane although all lanes share it."""
_ALLOWED_CONTROLS = "\n\t\r"


class LaneRequest(BaseModel):
    """One method with its options, read into the method's own record, and what the answer must begin with."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    options: SerializeAsAny[Options] = Field(
        default_factory=dict, validate_default=True, json_schema_extra={"type": "object"}
    )
    begin: tuple[int, ...] | str = Field((), json_schema_extra={"expected": "a text, or a list of token ids"})
    """Token ids, or a text, that open the answer; the method writes what comes after them."""

    @field_validator("method")
    @classmethod
    def _known(cls, method: str) -> str:
        return decoder(method).name

    @field_validator("options", mode="plain")
    @classmethod
    def _read(cls, options: Any, info: ValidationInfo) -> Options:
        if "method" not in info.data:
            return Options()
        kind = decoder(info.data["method"]).options
        if isinstance(options, kind):
            return options
        if not isinstance(options, dict):
            raise ValueError("not an object")
        for name in _OF_THE_RUN:
            if name in options and name not in kind.model_fields:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{shown(name)} is no option of a lane: all lanes share it; give it once, as {flag}.")
        try:
            return kind.model_validate(options)
        except ValidationError as error:
            raise UserError(explain(error, info.data["method"], kind)) from None

    @field_validator("begin")
    @classmethod
    def _opens(cls, begin: tuple[int, ...] | str) -> tuple[int, ...] | str:
        if isinstance(begin, str):
            return _readable(begin, "beginning of an answer")
        if len(begin) > MAX_NEW_TOKENS or any(token < 0 for token in begin):
            raise UserError(f"A lane begins with {shown(begin)}; give at most {MAX_NEW_TOKENS:,} token ids, or a text.")
        return begin

    @classmethod
    def parse(cls, text: str) -> LaneRequest:
        """Read "method:option=value,option=value", as on the command line; `begin` is a lane's own. Raises
        UserError."""
        method, _, rest = text.partition(":")
        options: dict[str, Any] = read_options(rest, text)
        begin: Any = options.pop("begin", ())
        if isinstance(begin, str) and re.fullmatch(r"\d{1,7}( \d{1,7})*", begin):
            begin = tuple(map(int, begin.split()))
        return cls.checked(method=method.strip(), options=options, begin=begin)

    @classmethod
    def checked(cls, **fields: Any) -> LaneRequest:
        """Build a lane from untrusted fields. Raises UserError with one sentence for the first thing wrong."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise UserError(explain(error, "the lane", cls)) from None


class PromptRequest(BaseModel):
    """What is to be answered, and within which limits."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: str
    system: str = ""
    seed: int = Field(0, ge=0, lt=2**32)
    max_new_tokens: int = Field(128, ge=1, le=MAX_NEW_TOKENS)
    stop: tuple[str, ...] = Field((), max_length=8, title="Stop strings")
    earlier: tuple[tuple[str, str], ...] = Field((), max_length=20, title="Earlier turns")
    """What was said before the prompt: (the person's words, the model's) each."""

    @field_validator("prompt", "system")
    @classmethod
    def _text(cls, text: str, info) -> str:
        if info.field_name == "prompt" and not text.strip():
            raise UserError("The prompt is empty; type a question or pick an example.")
        return _readable(text, {"prompt": "prompt", "system": "system prompt"}[info.field_name])

    @field_validator("stop")
    @classmethod
    def _stop(cls, stop: tuple[str, ...]) -> tuple[str, ...]:
        if any(not s for s in stop):
            raise UserError("A stop string is empty; remove it or write the text at which the answer ends.")
        return tuple(_readable(s, "stop string") for s in stop)

    @field_validator("earlier")
    @classmethod
    def _earlier(cls, earlier: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        if any(not text.strip() for turn in earlier for text in turn):
            raise UserError("An earlier turn is empty; each needs what the person said and what was answered.")
        return tuple((_readable(a, "earlier turn"), _readable(b, "earlier turn")) for a, b in earlier)

    @property
    def conversation(self) -> str:
        """The prompt, with the earlier turns before it if there are any, as plain text."""
        said = [line for person, model in self.earlier for line in (f"Person: {person}", f"Model: {model}")]
        return "\n".join([*said, f"Person: {self.prompt}"]) if said else self.prompt

    @classmethod
    def checked(cls, **fields: Any) -> Self:
        """Build a request from untrusted fields. Raises UserError with one sentence for the first thing wrong."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise UserError(_explain(error, cls)) from None


class RunRequest(PromptRequest):
    """One prompt and the lanes that answer it."""

    lanes: tuple[LaneRequest, ...] = Field(min_length=1, max_length=MAX_LANES)


def _explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """The sentence for a bad run; what is wrong inside a lane names the lane."""
    problem = error.errors()[0]
    place = problem["loc"]
    if len(place) < 2 or place[0] != "lanes":
        return explain(error, "the run", kind)
    lane = f"lane {place[1] + 1}"
    if len(place) == 2:
        return f"{lane} is {shown(problem['input'])}; it must be an object with method and options."
    return told(problem["type"], str(place[2]), problem["input"], lane, LaneRequest)


def _readable(text: str, name: str) -> str:
    """The text, if it is no longer than can be read and has no control characters. Raises UserError."""
    if len(text) > MAX_CHARACTERS:
        raise UserError(
            f"The {name} is {len(text):,} characters long; at most {MAX_CHARACTERS:,} can be read, so shorten it."
        )
    for place, character in enumerate(text, 1):
        kind = unicodedata.category(character)
        if (kind == "Cc" and character not in _ALLOWED_CONTROLS) or kind == "Cs":
            raise UserError(f"The {name} has the control character U+{ord(character):04X} at place {place}; remove it.")
    return text
