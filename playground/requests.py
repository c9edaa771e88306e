"""What a person may ask for: a prompt and lanes. Checked here, once, with sentences for what is wrong."""

from __future__ import annotations

import unicodedata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from playground.decoders import decoder
from playground.decoders.base import Options
from playground.errors import UserError, shown

MAX_LANES = 6
MAX_CHARACTERS = 60_000
MAX_NEW_TOKENS = 2048
_ALLOWED_CONTROLS = "\n\t\r"


class LaneRequest(BaseModel):
    """One method with its options, which are checked against the method's own record."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    method: str
    options: dict[str, Any] = Field(default_factory=dict)

    def checked(self) -> Options:
        """The options as the method's record. Raises UserError."""
        kind = decoder(self.method).options
        try:
            return kind.model_validate(self.options)
        except ValidationError as error:
            raise UserError(explain(error, self.method, kind)) from None

    @classmethod
    def parse(cls, text: str) -> LaneRequest:
        """Read "method:option=value,option=value", as on the command line. Raises UserError."""
        method, _, rest = text.partition(":")
        options: dict[str, str] = {}
        for part in filter(None, rest.split(",")):
            name, equals, value = part.partition("=")
            if not equals:
                raise UserError(
                    f"{shown(part)} in the lane {shown(text)} is not option=value; write for example "
                    "sample:temperature=0.8,top_p=0.9."
                )
            if name.strip() in options:
                raise UserError(f"The lane {shown(text)} gives {name.strip()} twice; give it once.")
            options[name.strip()] = value.strip()
        return cls(method=method.strip(), options=options)


class RunRequest(BaseModel):
    """One prompt and the lanes that answer it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: str
    lanes: tuple[LaneRequest, ...] = Field(min_length=1, max_length=MAX_LANES)
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
    def checked(cls, **fields: Any) -> RunRequest:
        """Build a request from untrusted fields. Raises UserError with one sentence for the first thing wrong."""
        try:
            request = cls.model_validate(fields)
        except ValidationError as error:
            raise UserError(explain(error, "the run", cls)) from None
        for lane in request.lanes:
            lane.checked()
        return request


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


def explain(error: ValidationError, subject: str, kind: type[BaseModel]) -> str:
    """Pydantic's first complaint as a sentence: the bad value, what was expected, the way out."""
    problem = error.errors()[0]
    place, value = problem["loc"], problem["input"]
    if len(place) > 1 and place[0] == "lanes":
        lane = f"lane {place[1] + 1}"
        if len(place) == 2:
            return f"{lane} is {shown(value)}; it must be an object with method and options."
        return _told(problem["type"], str(place[2]), value, lane, LaneRequest)
    return _told(problem["type"], str(place[0]) if place else subject, value, subject, kind)


def _told(problem: str, name: str, value: Any, subject: str, kind: type[BaseModel]) -> str:
    schema = kind.model_json_schema()["properties"]
    if problem == "extra_forbidden":
        return f"{subject} has no option {shown(name)}; it has: {', '.join(schema)}."
    if problem == "missing":
        return f"{subject} lacks {shown(name)}; give it."
    if problem in ("too_long", "too_short"):
        field = schema[name]
        least, most = field.get("minItems", 0), field["maxItems"]
        return f"There are {len(value)} {field['title'].lower()}; a run takes {least} to {most}."
    return f"{subject}: {name} is {shown(value)}; it must be {_expected(schema.get(name, {}))}."


def _expected(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    noun = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "array": "a list of texts",
        "object": "an object of options",
    }.get(schema.get("type"), "of another kind")
    bounds = [
        f"{word} {schema[key]:,}" if isinstance(schema[key], int) else f"{word} {schema[key]:g}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]
    return " ".join([noun, " and ".join(bounds)]).strip()
