"""What is wrong with a person's input, as one sentence: the bad value, what was expected, the way out."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from playground.errors import UserError, shown


def parts_of(text: str) -> list[str]:
    """The parts of a text between its commas; brackets keep commas together."""
    parts, depth = [""], 0
    for character in text:
        depth = max(0, depth + (character == "(") - (character == ")"))
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return list(filter(str.strip, parts))


def read_options(text: str, whole: str) -> dict[str, str]:
    """ "option=value,option=value" as a dictionary; brackets keep commas together. `whole` is what the text stands in.
    Raises UserError."""
    options: dict[str, str] = {}
    for part in parts_of(text):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UserError(
                f"{shown(part)} in {shown(whole)} is not option=value; write for example temperature=0.8,top_p=0.9."
            )
        if name in options:
            raise UserError(f"{shown(whole)} gives {name} twice; give it once.")
        options[name] = value
    return options


def explain(error: ValidationError, subject: str, kind: type[BaseModel]) -> str:
    """Pydantic's first complaint as a sentence: the bad value, what was expected, the way out."""
    problem = error.errors()[0]
    place, value = problem["loc"], problem["input"]
    return told(problem["type"], str(place[0]) if place else subject, value, subject, kind)


def told(problem: str, name: str, value: Any, subject: str, kind: type[BaseModel]) -> str:
    """What is wrong with one value, as a sentence. problem: pydantic's name of it."""
    schema = kind.model_json_schema()["properties"]
    if problem == "extra_forbidden":
        return f"{subject} has no option {shown(name)}; it has{': ' + ', '.join(schema) if schema else ' none'}."
    if problem == "missing":
        return f"{subject} lacks {shown(name)}; give it."
    if problem in ("too_long", "too_short"):
        field = schema[name]
        least, most = field.get("minItems", 0), field["maxItems"]
        return f"There are {len(value)} {field['title'].lower()}; a run takes {least} to {most}."
    return f"{subject}: {name} is {shown(value)}; it must be {_expected(schema.get(name, {}))}."


def _expected(schema: dict[str, Any]) -> str:
    if "expected" not in schema:  # of a value that may be left out, what it is if it is given
        schema = next((kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"), schema)
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    noun = schema.get("expected") or {
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
