"""What methods there are, with the JSON Schema of their options."""

from __future__ import annotations

from typing import Any

from playground.decoders import DECODERS, decoder
from playground.models.specs import Catalogue


def options_schema(catalogue: Catalogue, method: str) -> dict[str, Any]:
    """The JSON Schema of a method's options, its own before those it shares; models are listed as examples of what
    may stand where one is wanted."""
    kind = decoder(method).options
    schema = kind.model_json_schema()
    own = [name for name in schema["properties"] if name in kind.__annotations__]
    schema["properties"] = {n: schema["properties"][n] for n in dict.fromkeys([*own, *schema["properties"]])}
    for field in schema["properties"].values():
        if field.get("policy"):
            field["examples"] = list(catalogue.writers)
            field["labels"] = {name: spec.title for name, spec in catalogue.writers.items()}
    return schema


def list_methods(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Every method: name, title, summary, source, and the JSON Schema of its options."""
    return [
        {
            "name": d.name,
            "title": d.title,
            "summary": d.summary,
            "source": d.source,
            "options": options_schema(catalogue, d.name),
        }
        for d in DECODERS.values()
    ]
