"""Controls made from a method's typed options: one Gradio component per field, chosen by its JSON Schema."""

from __future__ import annotations

from typing import Any

import gradio as gr

_SLIDERS_UP_TO = 256


class Slider(gr.Slider):
    """One that lets the server see a number beyond its ends, as long as it is being typed: what is checked after it
    says in a sentence what is wrong. Gradio itself would answer with an error of the server for every key."""

    def get_block_name(self) -> str:
        return "slider"

    def preprocess(self, payload: float) -> float:
        return payload


def control(name: str, schema: dict[str, Any], value: Any) -> gr.components.Component:
    """The component that edits one option. `schema` is the field's JSON Schema; `value` what it starts with."""
    common = {
        "label": schema.get("title", name),
        "info": schema.get("description"),
        "value": value,
        "interactive": True,
    }
    if "enum" in schema:
        return gr.Dropdown(choices=labelled(schema["enum"], schema), **common)
    if "examples" in schema:
        return gr.Dropdown(choices=labelled(schema["examples"], schema), allow_custom_value=True, **common)
    kind = schema.get("type")
    if kind == "boolean":
        return gr.Checkbox(**common)
    if kind not in ("integer", "number"):
        return gr.Textbox(**common)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    whole = kind == "integer"
    if low is None or high is None or high - low > _SLIDERS_UP_TO:
        return gr.Number(precision=0 if whole else None, minimum=low, maximum=high, **common)
    step = 1 if whole else 0.05 if round(schema.get("default", 0) / 0.05, 6).is_integer() else 0.01
    if "exclusiveMinimum" in schema:  # sliders know inclusive bounds only
        low, step = low + 0.01, 0.01
    return Slider(low, high, step=step, **common)


def offer(schema: dict[str, Any], models: list[str]) -> None:
    """Let every option of a schema that takes a model offer these."""
    for field in schema["properties"].values():
        if field.get("policy"):
            field["examples"] = models


def labelled(values: list[str], schema: dict[str, Any]) -> list[tuple[str, str]]:
    """(label, value) each."""
    labels = schema.get("labels", {})
    return [(labels.get(value, value), value) for value in values]


def chosen(schema: dict[str, Any], values: list[Any]) -> dict[str, Any]:
    """The options of a lane from the values of its controls, in the order of the schema; empty numbers are left
    out, an empty text is what it is."""
    fields = zip(schema["properties"].items(), values, strict=True)
    return {
        name: value
        for (name, field), value in fields
        if value is not None and (value != "" or field.get("type") == "string")
    }
