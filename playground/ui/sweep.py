"""The sweep tab: a handful of prompts at many settings of a method's dial in one batch, drawn as curves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from playground.decoders import DECODERS
from playground.decoders.base import Decoder
from playground.errors import UserError, shown
from playground.evaluation.sweep import sweep
from playground.figures.sweep import sweep_figure
from playground.requests import MAX_NEW_TOKENS
from playground.scorers import ScorerChoice
from playground.service import Playground
from playground.ui.controls import control, labelled, offer
from playground.ui.errors import in_words
from playground.ui.examples import EXAMPLES
from playground.ui.sessions import Sessions, place_in_words

METHOD: Decoder | None = next((method for method in DECODERS.values() if method.dial), None)
"""The first method with a dial: this tab turns it."""
MAX_PROMPTS, MAX_SETTINGS = 24, 13
_PROMPTS = "\n".join(text for kind, text in EXAMPLES if kind in ("Risky", "Looks risky", "Everyday"))


class SweepTab:
    """Builds the tab inside the current Blocks."""

    def __init__(self, playground: Playground, method: Decoder, all_models: Callable[[Any], list[str]]):
        """all_models: the mixtures that the browser keeps → all models to choose from."""
        self.playground, self.method, self.all_models = playground, method, all_models
        self.sessions = Sessions(playground)
        dial, schema = method.dial, self._schema([])
        gr.Markdown(
            f"{method.title} answers every prompt at every {dial.title}. The curves are means over the prompts."
        )
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.prompts = gr.Textbox(
                    _PROMPTS, label=f"Prompts, one per line (at most {MAX_PROMPTS})", lines=7, elem_id="sweep-prompts"
                )
            with gr.Column(scale=2, min_width=280):
                self.settings = gr.Textbox(
                    "0, 0.25, 0.5, 0.75, 1, 1.5, 2",
                    label=f"{dial.title} values",
                    info=f"Numbers from {dial.low:g} to {dial.high:g}, separated by commas",
                    elem_id="sweep-settings",
                )
                self.names = [name for name, field in schema.items() if field.get("policy")]
                self.models = [control(name, schema[name], schema[name]["default"]) for name in self.names]
                with gr.Accordion("Length and score", open=False):
                    self.length = gr.Slider(
                        1, min(256, MAX_NEW_TOKENS), 40, step=1, label="Max new tokens", elem_id="sweep-length"
                    )
                    self.scorer = gr.Dropdown(
                        playground.scorers(),
                        label="Scorer",
                        info="The mean of its scores is drawn",
                        allow_custom_value=True,
                    )
        with gr.Row():
            start = gr.Button("Start sweep", variant="primary", elem_id="sweep", scale=2, min_width=120)
            stop = gr.Button("Stop", variant="stop", min_width=90)
        self.plot = gr.Plot(show_label=False, elem_id="sweep-plot")
        with gr.Accordion("All answers", open=False):
            self.answers = gr.Dataframe(
                headers=["prompt", dial.title, "answer"],
                datatype="str",
                wrap=True,
                interactive=False,
                show_label=False,
                column_widths=["30%", "10%", "60%"],
            )
        start.click(
            in_words(self.run),
            [self.prompts, self.settings, self.length, self.scorer, *self.models],
            [self.plot, self.answers],
            api_visibility="private",
            concurrency_limit=None,
        )
        stop.click(self.stop, None, None, queue=False, api_visibility="private", show_progress="hidden")

    def _schema(self, kept: Any) -> dict[str, Any]:
        schema = self.playground.options_schema(self.method.name)
        offer(schema, self.all_models(kept))
        return schema["properties"]

    def offered(self, kept: Any) -> list[Any]:
        """The models to choose from, as they are now: one may have been trained or kept since the page was opened."""
        schema = self._schema(kept)
        return [gr.update(choices=labelled(schema[name]["examples"], schema[name])) for name in self.names]

    def run(
        self,
        request: gr.Request,
        prompts: str,
        settings: str,
        length: float,
        scorer: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it in
        *models: str,
    ) -> tuple[Any, list[list[str]]]:
        """Sweep; returns (figure, answers)."""
        lines = [line.strip() for line in (prompts or "").splitlines() if line.strip()]
        if not 1 <= len(lines) <= MAX_PROMPTS:
            raise UserError(f"There are {len(lines)} prompts; write 1 to {MAX_PROMPTS}, one per line.")
        dial, values, choice = self.method.dial, _numbers(settings, self.method.dial.title), ScorerChoice(scorer or "")
        with self.sessions.begin(request, 1, int(length) * len(lines) * len(values)) as ticket:

            def watch(share: float, what: str) -> None:
                progress(share, desc=what)
                if ticket.stopped:
                    raise UserError("The sweep was stopped.")

            for before in ticket.places():
                watch(0.0, place_in_words(before))
            options = dict(zip(self.names, models, strict=True))
            found, answers = sweep(
                self.playground, self.method.name, lines, values, choice, int(length), options, watch, ticket.person
            )
        table = [
            [prompt, f"{value:g}", answers[at][number]]
            for number, prompt in enumerate(lines)
            for at, value in enumerate(values)
        ]
        return sweep_figure(found[f"{dial.name}s"], dial.name, dial.title, choice.scorer.title), table

    def stop(self, request: gr.Request) -> None:
        """Stop what this page sweeps."""
        self.sessions.stop(request.session_hash)


def _numbers(text: str, title: str) -> list[float]:
    try:
        values = sorted({float(part) for part in (text or "").replace(";", ",").split(",") if part.strip()})
    except ValueError:
        values = []
    if not 1 <= len(values) <= MAX_SETTINGS:
        raise UserError(
            f"The {title} values are {shown(text)}; write 1 to {MAX_SETTINGS} numbers with commas, as 0, 0.5, 1."
        )
    return values
