"""What methods there are, with the JSON Schema of their options, and what scorers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playground.decoders import DECODERS, decoder
from playground.models.specs import Catalogue, MixSpec, VariantSpec
from playground.scorers import SCORERS
from playground.scorers.base import Scorer
from playground.scorers.classifier import ClassifierOptions


def list_scorers(catalogue: Catalogue) -> dict[str, Scorer]:
    """The scorers that can be used; that of classifiers only where there is one."""
    return {
        name: scorer
        for name, scorer in SCORERS.items()
        if catalogue.classifiers or not issubclass(scorer.options, ClassifierOptions)
    }


def options_schema(catalogue: Catalogue, method: str) -> dict[str, Any]:
    """The JSON Schema of a method's options, its own before those it shares. Models and scorers are listed as examples
    of what may stand where one is wanted, and labelled with name and title."""
    kind = decoder(method).options
    schema = kind.model_json_schema()
    own = [name for name in schema["properties"] if name in kind.__annotations__]
    schema["properties"] = {n: schema["properties"][n] for n in dict.fromkeys([*own, *schema["properties"]])}
    for field in schema["properties"].values():
        offered = catalogue.writers if field.get("policy") else list_scorers(catalogue) if field.get("scorer") else {}
        if offered:
            field["examples"] = list(offered)
            field["labels"] = labels(offered)
    return schema


def labels(offered: Mapping[str, Scorer | VariantSpec | MixSpec]) -> dict[str, str]:
    """ "name: title" by name: a list then shows what may be typed into mixtures and brackets."""
    return {name: name if thing.title == name else f"{name}: {thing.title}" for name, thing in offered.items()}


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
