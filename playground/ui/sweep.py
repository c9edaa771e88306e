"""The λ sweep tab: a handful of prompts at many λ in one batch, drawn as curves."""

from __future__ import annotations

from typing import Any

import gradio as gr

from playground.errors import UserError, shown
from playground.evaluation.dera import sweep
from playground.figures.sweep import sweep_figure
from playground.requests import MAX_NEW_TOKENS
from playground.scorers import SCORERS
from playground.service import Playground
from playground.ui.compare import Sessions
from playground.ui.errors import in_words
from playground.ui.examples import EXAMPLES

MOST_PROMPTS, MOST_LAMBDAS = 24, 13
_PROMPTS = "\n".join(text for kind, text in EXAMPLES if kind in ("Risky", "Looks risky", "Everyday"))


class SweepTab:
    """Builds the tab inside the current Blocks."""

    def __init__(self, playground: Playground):
        self.playground, self.sessions = playground, Sessions()
        variants = self._choices()
        gr.Markdown("Every prompt is answered by DeRa at every λ. The curves are means over the prompts.")
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.prompts = gr.Textbox(
                    _PROMPTS, label=f"Prompts, one a line (at most {MOST_PROMPTS})", lines=7, elem_id="sweep-prompts"
                )
            with gr.Column(scale=2, min_width=280):
                self.lambdas = gr.Textbox(
                    "0, 0.25, 0.5, 0.75, 1, 1.5, 2", label="λ values", info="From -1 to 5", elem_id="sweep-lambdas"
                )
                self.reference = gr.Dropdown(variants, value="reference", label="Reference model")
                self.aligned = gr.Dropdown(variants, value="aligned", label="Aligned model", elem_id="sweep-aligned")
                with gr.Accordion("Length and score", open=False):
                    self.length = gr.Slider(
                        1, min(256, MAX_NEW_TOKENS), 40, step=1, label="Most new tokens", elem_id="sweep-length"
                    )
                    self.scorer = gr.Dropdown([(s.title, n) for n, s in SCORERS.items()], label="Mean score of")
        with gr.Row():
            start = gr.Button("Sweep", variant="primary", elem_id="sweep", scale=2, min_width=120)
            stop = gr.Button("Stop", variant="stop", min_width=90)
        self.plot = gr.Plot(show_label=False, elem_id="sweep-plot")
        with gr.Accordion("All answers", open=False):
            self.answers = gr.Dataframe(
                headers=["prompt", "λ", "answer"],
                datatype="str",
                wrap=True,
                interactive=False,
                show_label=False,
                column_widths=["30%", "10%", "60%"],
            )
        start.click(
            in_words(self.run),
            [self.prompts, self.lambdas, self.reference, self.aligned, self.length, self.scorer],
            [self.plot, self.answers],
            api_visibility="private",
            concurrency_limit=8,
        )
        stop.click(self.stop, None, None, queue=False, api_visibility="private", show_progress="hidden")

    def _choices(self) -> list[tuple[str, str]]:
        self.playground.memory.discover()
        return [(v.title, n) for n, v in self.playground.catalogue.writers.items()]

    def variants(self) -> tuple:
        """The models to choose from, as they are now: one may have been trained since the page was opened."""
        choices = self._choices()
        return gr.update(choices=choices), gr.update(choices=choices)

    def run(
        self,
        request: gr.Request,
        prompts: str,
        lambdas: str,
        reference: str,
        aligned: str,
        length: float,
        scorer: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio hands it in
    ) -> tuple[Any, list[list[str]]]:
        """Sweep; returns (figure, answers)."""
        lines = [line.strip() for line in (prompts or "").splitlines() if line.strip()]
        if not 1 <= len(lines) <= MOST_PROMPTS:
            raise UserError(f"There are {len(lines)} prompts; write 1 to {MOST_PROMPTS}, one a line.")
        values = _lambdas(lambdas)
        with self.sessions.begin(request.session_hash) as ticket:

            def watch(share: float, what: str) -> None:
                progress(share, desc=what)
                if ticket.stopped:
                    raise UserError("The sweep was stopped.")

            pair = {"reference": reference, "aligned": aligned}
            found, answers = sweep(self.playground, lines, values, scorer, int(length), pair, watch)
        table = [
            [prompt, f"{value:g}", answers[at][number]]
            for number, prompt in enumerate(lines)
            for at, value in enumerate(values)
        ]
        return sweep_figure(found["lambdas"], SCORERS[scorer].title), table

    def stop(self, request: gr.Request) -> None:
        """Stop what this page sweeps."""
        self.sessions.stop(request.session_hash)


def _lambdas(text: str) -> list[float]:
    try:
        values = sorted({float(part) for part in (text or "").replace(";", ",").split(",") if part.strip()})
    except ValueError:
        values = []
    if not 1 <= len(values) <= MOST_LAMBDAS:
        raise UserError(f"The λ values are {shown(text)}; write 1 to {MOST_LAMBDAS} numbers with commas, as 0, 0.5, 1.")
    return values
