"""The Arena tab: blind battles, votes, the reveal, and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from playground.arena import Arena
from playground.decoders import colour_of
from playground.errors import UserError
from playground.figures.ranking import ranking_figure
from playground.ranking import COVARIATES, effects_in_words
from playground.store.votes import REASONS
from playground.ui.board import DataView
from playground.ui.errors import in_words
from playground.ui.sessions import known_visitor, person_of

_HERE = Path(__file__).parent
_CHOICES = (("a", "A is better (1)"), ("b", "B is better (2)"), ("tie", "Tie (3)"), ("both_bad", "Both bad (4)"))
_COLUMNS = ("rank", "method", "strength", "low", "high", "wins", "losses", "ties", "both_bad")


class ArenaTab:
    """Builds the tab inside the current Blocks."""

    def __init__(self, arena: Arena, visitor: gr.BrowserState):
        self.arena = arena
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        gr.Markdown("Two hidden methods answer one prompt. Vote for the better answer; then the methods are shown.")
        with gr.Row():
            self.prompt = gr.Textbox(
                label="Prompt",
                placeholder="Leave empty to get a prompt from the pool",
                lines=1,
                max_lines=8,
                scale=4,
                elem_id="battle-prompt",
            )
            begin = gr.Button("New battle", variant="primary", elem_id="new-battle", scale=1, min_width=130)
        self.stage = DataView(
            html_template='<div class="stage"></div>',
            css_template=(_HERE / "arena.css").read_text(encoding="utf-8"),
            js_on_load=(_HERE / "arena.js").read_text(encoding="utf-8"),
            elem_id="stage",
        )
        self.battle = gr.State(None)
        with gr.Row():
            self.reasons = gr.CheckboxGroup(
                list(REASONS), label="Reasons (optional): the better answer is …", min_width=280, scale=2
            )
            self.note = gr.Textbox(label="Note (optional)", lines=1, max_lines=4, min_width=220)
        settings = arena.playground.settings
        gr.Markdown(settings.consent.replace("{licence}", settings.votes_licence), elem_id="consent")
        with gr.Row():
            self.buttons = [
                gr.Button(text, elem_id=f"vote-{choice}", interactive=False, min_width=120) for choice, text in _CHOICES
            ]
        with gr.Accordion("Leaderboard", open=True):
            with gr.Row():
                categories = sorted({p.category for p in arena.spec.prompts} | {"own"})
                self.category = gr.Dropdown(
                    [("all prompts", ""), *categories], value="", label="Category of prompts", min_width=140
                )
                self.reason = gr.Dropdown(
                    [("any reason", ""), *REASONS], value="", label="Reason of votes", min_width=140
                )
                self.adjust = gr.CheckboxGroup(
                    list(COVARIATES), label="Adjust for differences in", min_width=200, elem_id="adjust"
                )
            self.which = [self.category, self.reason, self.adjust]
            self.said = gr.Markdown("", elem_id="leaderboard-said")
            self.plot = gr.Plot(show_label=False, visible=False, elem_id="leaderboard-plot")
            self.table = gr.Dataframe(
                headers=[name.replace("_", " ") for name in _COLUMNS],
                interactive=False,
                show_label=False,
                visible=False,
            )
        begin.click(
            in_words(self.begin),
            [visitor, self.prompt],
            [self.battle, self.stage, *self.buttons],
            concurrency_limit=None,
            **quiet,
        )
        for (choice, _), button in zip(_CHOICES, self.buttons, strict=True):
            # Not named vote: the endpoint /vote has that name.
            def cast(battle: dict | None, known: str, reasons: list[str], note: str, choice: str = choice) -> tuple:
                return self.vote(battle, known, choice, reasons, note)

            button.click(
                in_words(cast),
                [self.battle, visitor, self.reasons, self.note],
                [self.battle, self.stage, self.prompt, self.reasons, self.note, *self.buttons],
                **quiet,
            ).success(self.ranked, self.which, self.shown, **quiet)
        for choice in self.which:
            choice.input(in_words(self.ranked), self.which, self.shown, **quiet)

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `ranked` fills, in its order."""
        return [self.said, self.plot, self.table]

    def begin(self, request: gr.Request, visitor: str, prompt: str) -> Iterator[tuple]:
        """Run a battle; the buttons wait until both answers are there."""
        waiting = [gr.update(interactive=False)] * len(_CHOICES)
        yield None, {"waiting": True}, *waiting
        try:
            visitor = known_visitor(self.arena.playground, visitor)
            battle = self.arena.battle(visitor, prompt, person_of(self.arena.playground, request))
        except UserError:
            yield None, None, *waiting
            raise
        yield battle, battle, *([gr.update(interactive=True)] * len(_CHOICES))

    def vote(self, battle: dict | None, visitor: str, choice: str, reasons: list[str], note: str) -> tuple:
        """Count the vote and show who wrote what; the next battle is on a fresh prompt unless one is written."""
        if not battle:
            raise UserError("There is no battle to vote on; press New battle.")
        shown = self.arena.vote(visitor, battle["battle"], choice, reasons, note, way="page")
        return None, battle | {"shown": shown}, "", [], "", *([gr.update(interactive=False)] * len(_CHOICES))

    def ranked(self, category: str, reason: str, adjust: list[str]) -> tuple:
        """(what is said, figure, table) of the leaderboard."""
        found = self.arena.leaderboard(category or "", reason or "", tuple(adjust or ()))
        votes = "1 vote" if found["votes"] == 1 else f"{found['votes']:,} votes"
        said = f"{votes}. " + " ".join(found["warnings"] + effects_in_words(found))
        if not found["methods"]:
            return said, gr.update(visible=False), gr.update(visible=False)
        table = [[_whole(method[name]) for name in _COLUMNS] for method in found["methods"]]
        colours = [colour_of(method["method"].partition(":")[0]) for method in found["methods"]]
        figure = ranking_figure(found["methods"], colours)
        return said, gr.update(value=figure, visible=True), gr.update(value=table, visible=True)


def _whole(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value


def arena_endpoints(arena: Arena):
    """The functions behind the API endpoints /battle and /vote."""

    def battle(request: gr.Request, visitor: str, prompt: str | None = "") -> dict[str, Any]:
        """Run a blind battle on a prompt, or on one from the pool: {"battle", "prompt", "a", "b"}. `visitor` is an id
        that /visitor gave; the same one must vote."""
        visitor = known_visitor(arena.playground, visitor)
        return arena.battle(visitor, prompt, person_of(arena.playground, request))

    def vote(
        visitor: str, battle: str, choice: str, reasons: list[str] | None = None, note: str | None = ""
    ) -> dict[str, Any]:
        """Vote a, b, tie or both_bad on a battle, once; tells who wrote what."""
        return arena.vote(visitor, battle, choice, reasons, note)

    return in_words(battle, escape=False), in_words(vote, escape=False)
