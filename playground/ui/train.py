"""The Train tab: choose data, start, watch the curves, stop, resume; the new adapter joins every method's list."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import gradio as gr

from playground.errors import UserError
from playground.figures.training import training_figure
from playground.service import Playground
from playground.service.methods import labels
from playground.training.data import read_rows
from playground.training.jobs import DATA, Trainings
from playground.training.records import RowsFile, RrhfConfig, RrhfJob, Sampling, Votes, checked
from playground.ui.errors import in_words

POLL_SECONDS = 1.0
ROWS, SAMPLE, VOTES = "Ranked rows or pairs (a file)", "Sample, score and rank (prompts)", "Votes of the arena"
_ROWS_INFO = """JSON Lines, one row a line: `{"query", "responses", "scores"}` or `{"prompt", "chosen", "rejected"}`."""
_STATES = {
    "preparing": "Getting ready",
    "training": "Training",
    "done": "Done",
    "stopped": "Stopped; can be resumed",
    "failed": "Failed",
    "interrupted": "Interrupted; can be resumed",
}


class TrainTab:
    """Builds the tab inside the current Blocks."""

    def __init__(self, playground: Playground, trainings: Trainings, token: gr.BrowserState):
        """token: the owner's, as this browser keeps it; every act asks for it."""
        self.playground, self.trainings = playground, trainings
        gr.Markdown(
            "RRHF trains a small LoRA adapter so that better responses become likelier than worse ones. "
            "It runs beside the page; the finished adapter is in every method's list of models."
        )
        with gr.Row():
            with gr.Column(scale=3, min_width=300):
                self.kind = gr.Radio([ROWS, SAMPLE, VOTES], value=ROWS, label="Data", elem_id="train-kind")
                with gr.Column(visible=True) as rows_part:
                    gr.Markdown(_ROWS_INFO)
                    self.file = gr.File(label="File", file_types=[".jsonl", ".json"], elem_id="train-file", height=150)
                    self.found = gr.Markdown("", elem_id="train-found")
                with gr.Column(visible=False) as sample_part:
                    self.prompts = gr.Textbox(label="Prompts, one a line", lines=6, elem_id="train-prompts")
                    with gr.Row():
                        self.samples = gr.Slider(2, 16, 4, step=1, label="Responses a prompt", min_width=130)
                        self.scorer = gr.Dropdown(playground.scorers(), label="Ranked by")
            with gr.Column(scale=2, min_width=280):
                self.name = gr.Textbox(label="Name of the adapter", placeholder="my-adapter", elem_id="train-name")
                self.start_from = gr.Dropdown(
                    self._starts(), value="", label="Start from", info="A fresh adapter, or one to continue"
                )
                with gr.Row():
                    self.steps = gr.Number(
                        60, label="Steps", precision=0, minimum=1, min_width=90, elem_id="train-steps"
                    )
                    self.rate = gr.Number(2e-4, label="Learning rate", minimum=1e-6, maximum=1e-2, min_width=110)
                    self.length = gr.Number(64, label="Response tokens", precision=0, minimum=1, min_width=110)
                with gr.Row():
                    start = gr.Button("Start", variant="primary", elem_id="train-start", min_width=100)
                    stop = gr.Button("Stop", variant="stop", elem_id="train-stop", min_width=80)
                    resume = gr.Button("Resume", elem_id="train-resume", min_width=80)
        self.watched = gr.Dropdown([], label="Training", elem_id="train-watched", interactive=True)
        self.status = gr.Markdown("No training yet.", elem_id="train-status")
        self.curves = gr.Plot(show_label=False, elem_id="train-curves", visible=False)
        self.timer = gr.Timer(POLL_SECONDS, active=False)

        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        seen = [self.status, self.curves, self.timer, self.start_from]
        self.kind.change(
            lambda kind: (gr.update(visible=kind == ROWS), gr.update(visible=kind == SAMPLE)),
            self.kind,
            [rows_part, sample_part],
            **quiet,
        )
        self.file.change(in_words(self.check), self.file, self.found, **quiet)
        start.click(
            in_words(self.start),
            [
                *(token, self.name, self.kind, self.file, self.prompts, self.samples, self.scorer),
                *(self.start_from, self.steps, self.rate, self.length),
            ],
            [self.watched, *seen],
            **quiet,
        )
        stop.click(in_words(self.stop), [token, self.watched], seen, **quiet)
        resume.click(in_words(self.resume), [token, self.watched], seen, **quiet)
        self.timer.tick(in_words(self.see), self.watched, seen, **quiet)
        self.watched.input(in_words(self.see), self.watched, seen, **quiet)

    def opened(self) -> tuple:
        """(trainings to choose from, what is seen of the newest); for when the tab is shown."""
        names = self.trainings.names()
        name = self.trainings.running() or (names[0] if names else None)
        return gr.update(choices=names, value=name), *self.see(name)

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `opened` fills, in its order."""
        return [self.watched, self.status, self.curves, self.timer, self.start_from]

    def check(self, file: str | None) -> str:
        """What an uploaded file holds, and what is wrong in it."""
        if not file:
            return ""
        found = read_rows(Path(file))
        bad = "".join(f"\n- {html.escape(problem)}" for problem in found.problems[:8])
        more = f"\n- and {len(found.problems) - 8} more" if len(found.problems) > 8 else ""
        left_out = f"\n\nLeft out ({len(found.problems)}):\n{bad}{more}" if found.problems else ""
        return f"{len(found.rows)} rows, {sum(row.pairs for row in found.rows)} ordered pairs.{left_out}"

    def start(
        self,
        token: str,
        name: str,
        kind: str,
        file: str | None,
        prompts: str,
        samples: float,
        scorer: str,
        start_from: str,
        steps: float | None,
        rate: float | None,
        length: float | None,
    ) -> tuple:
        """Begin a training; its data are kept beside the adapter."""
        self.playground.check_owner(token)
        if None in (steps, rate, length):
            raise UserError("Steps, learning rate and response tokens must all be given.")
        name = (name or "").strip()
        out, data = self.trainings.folder_of(name), ""
        if kind == ROWS:
            if not file:
                raise UserError("There is no file; upload one with ranked rows.")
            read_rows(Path(file))
            data, source = Path(file).read_text(encoding="utf-8"), RowsFile(path=out / DATA)
        elif kind == VOTES:
            source = Votes()
        else:
            lines = [line.strip() for line in (prompts or "").splitlines() if line.strip()]
            if not lines:
                raise UserError("There are no prompts; write at least one a line.")
            data = "".join(json.dumps({"prompt": line}) + "\n" for line in lines)
            source = checked(Sampling, prompts=out / DATA, samples=int(samples), score_with=scorer)
        config = checked(RrhfConfig, steps=steps, learning_rate=rate, max_response=length)
        start = self.playground.catalogue.variant(start_from).adapter if start_from else None
        self.trainings.start(RrhfJob(out=out, start=start, source=source, config=config), data)
        return gr.update(choices=self.trainings.names(), value=name), *self.see(name)

    def stop(self, token: str, name: str | None) -> tuple:
        """Stop the training that is watched."""
        self.playground.check_owner(token)
        if name and self.trainings.stop(name):
            gr.Info(f"{name} stops after the step it is at, and leaves a checkpoint.")
        return self.see(name)

    def resume(self, token: str, name: str | None) -> tuple:
        """Continue the training that is watched."""
        self.playground.check_owner(token)
        if not name:
            raise UserError("Choose a training to resume.")
        self.trainings.resume(name)
        return self.see(name)

    def see(self, name: str | None) -> tuple:
        """(status, curves, timer, adapters to start from) of a training."""
        if not name:
            return "No training yet.", gr.update(visible=False), gr.Timer(active=False), gr.skip()
        journal = self.trainings.read(name)
        at_work = journal["state"] in ("preparing", "training")
        if journal["state"] == "done":
            self.playground.memory.discover()
        figure = (
            gr.update(value=training_figure(journal), visible=True) if journal["losses"] else gr.update(visible=False)
        )
        return _status(name, journal), figure, gr.Timer(active=at_work), gr.update(choices=self._starts())

    def _starts(self) -> list[tuple[str, str]]:
        model = self.playground.catalogue.variant("reference").model
        variants = self.playground.catalogue.variants.items()
        usable = {n: v for n, v in variants if v.writes and v.adapter and v.model == model}
        return [("A fresh adapter", ""), *((label, name) for name, label in labels(usable).items())]


def _status(name: str, journal: dict[str, Any]) -> str:
    """A training's state in a few lines of Markdown with a bar."""
    parts = [f"**{_STATES[journal['state']]}** · {name}"]
    share = f' value="{journal["step"] / max(1, journal["steps"]):.3f}"'
    if journal["state"] == "preparing":
        parts.append(html.escape(journal["what"]))
        # Where a part of it is done, what comes next has not begun to tell.
        share = f' value="{journal["share"]:.3f}"' if journal["share"] < 1 else ""
    elif journal["steps"]:
        parts.append(f"step {journal['step']} of {journal['steps']}")
    if journal["step"] and journal["state"] == "training":
        left = journal["seconds"] / journal["step"] * (journal["steps"] - journal["step"])
        parts.append(f"about {left / 60:.0f} min left" if left > 90 else f"about {left:.0f} s left")
    if journal["losses"]:
        parts.append(f"loss {sum(journal['losses'][-10:]) / len(journal['losses'][-10:]):.3f}")
    parts += [f"{name} {curve[-1][1]:.3f}" for name, curve in journal["curves"].items() if curve]
    bar = f'<progress max="1"{share} aria-label="done so far"></progress>'
    said = "".join(f"\n- {html.escape(sentence)}" for sentence in journal["said"][-6:])
    error = f"\n\n{html.escape(journal['error'])}" if journal["error"] else ""
    done = (
        f"\n\nChoose **{name}** as a model in Compare, or as DeRa's aligned model."
        if journal["state"] == "done"
        else ""
    )
    return f"{' · '.join(parts)}\n\n{bar}{error}{done}\n{said}"
