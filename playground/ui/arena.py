"""The Arena tab: blind battles, votes, the reveal, and the leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from playground.arena import Arena
from playground.decoders import colour_of, decoder
from playground.errors import UserError
from playground.figures.ranking import ranking_figure
from playground.models.specs import Catalogue
from playground.policy import Policy
from playground.ranking import COVARIATES, FEW, effects_in_words
from playground.requests import LaneRequest
from playground.store.votes import REASONS
from playground.ui.board import DataView, changed
from playground.ui.errors import in_words
from playground.ui.sessions import known_visitor, person_of, place_in_words, voter_of

_HERE = Path(__file__).parent
_CHOICES = (("a", "A is better"), ("b", "B is better"), ("tie", "Tie"), ("both_bad", "Both bad"))
_WRITING = {"waiting": "Two methods are writing …"}
_SIGNED_IN = (
    "Signed in, you are one voter in every browser. Neither your name nor your account is stored with a vote, only a "
    "hash of the account's number."
)
_ALONE = " In the ranking only votes of people who are signed in count."
_COLUMNS = ("rank", "method", "strength", "low", "high", "wins", "losses", "ties", "both_bad")


class ArenaTab:
    """Builds the tab inside the current Blocks. A battle is waited for, voted on, and explained."""

    def __init__(self, arena: Arena, visitor: gr.BrowserState):
        self.arena = arena
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        gr.Markdown("Two hidden methods answer one prompt. Vote for the better answer; then the methods are shown.")
        with gr.Row(elem_id="battle-row"):
            self.prompt = gr.Textbox(
                label="Prompt",
                placeholder="Leave empty to get one of ours",
                lines=1,
                max_lines=8,
                scale=4,
                min_width=260,
                elem_id="battle-prompt",
            )
            begin = gr.Button("New battle", variant="primary", elem_id="new-battle", scale=1, min_width=130)
        self.stage = DataView(
            html_template='<div class="stage"></div>',
            css_template=(_HERE / "arena.css").read_text(encoding="utf-8"),
            js_on_load=(_HERE / "arena.js").read_text(encoding="utf-8"),
            elem_id="stage",
        )
        self.battle, self.voted = gr.State(None), gr.State(None)
        with gr.Row(elem_id="vote-bar") as self.bar:
            self.buttons = [
                gr.Button(text, elem_id=f"vote-{choice}", interactive=False, min_width=70) for choice, text in _CHOICES
            ]
        with gr.Column(visible=False, elem_id="after-vote") as self.after:
            following = gr.Button("Next battle", variant="primary", size="lg", elem_id="next-battle")
            with gr.Row():
                self.reasons = gr.CheckboxGroup(
                    list(REASONS), label="Why? (optional) The better answer is …", min_width=280, scale=2
                )
                self.note = gr.Textbox(
                    label="Note (optional)", lines=1, max_lines=4, min_width=220, elem_id="vote-note"
                )
            self.explained = gr.Markdown("", elem_id="explained")
        settings = arena.playground.settings
        gr.Markdown(settings.consent.replace("{licence}", settings.votes_licence), elem_id="consent")
        if settings.login:
            alone = set(settings.count_votes) <= {"login"}
            with gr.Row(elem_id="signing-in"):
                gr.LoginButton(size="sm", elem_id="login", scale=0, min_width=230)
                gr.Markdown(_SIGNED_IN + (_ALONE if alone else ""))
        with gr.Accordion("Leaderboard", open=False, elem_id="leaderboard") as self.board:
            with gr.Row():
                categories = sorted({p.category for p in arena.spec.prompts} | {"own"})
                self.category = gr.Dropdown(
                    [("all prompts", ""), *categories], value="", label="Category of prompts", min_width=190
                )
                self.reason = gr.Dropdown(
                    [("any reason", ""), *REASONS], value="", label="Reason of votes", min_width=190
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
        for asked in (begin.click, following.click):
            asked(
                in_words(self.begin),
                [visitor, self.prompt],
                [self.battle, self.stage, *self.steps],
                concurrency_limit=None,
                **quiet,
            )
        for (choice, _), button in zip(_CHOICES, self.buttons, strict=True):
            # Not named vote: the endpoint /vote has that name.
            def cast(account: gr.OAuthProfile | None, battle: dict | None, known: str, choice: str = choice) -> tuple:
                return self.vote(battle, *voter_of(arena.playground, known, account), choice)

            button.click(
                in_words(cast),
                [self.battle, visitor],
                [self.battle, self.voted, self.stage, self.prompt, self.reasons, self.note, *self.steps],
                **quiet,
            ).success(in_words(self.ranked), self.which, self.shown, **quiet)
        given = [self.voted, visitor, self.reasons, self.note]
        for told in (self.reasons.input, self.note.blur, self.note.submit):
            told(in_words(self.explain), given, self.explained, trigger_mode="always_last", **quiet)
        for choice in self.which:
            choice.input(in_words(self.ranked), self.which, self.shown, **quiet)

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `ranked` fills, in its order."""
        return [self.said, self.plot, self.table]

    @property
    def steps(self) -> list[gr.components.Component]:
        """What `_at` sets, in its order."""
        return [self.bar, self.after, self.explained, *self.buttons]

    @staticmethod
    def _at(voted: bool = False, open_to_votes: bool = False) -> tuple:
        """What a person can press: the votes, or what comes after one."""
        bar, after = gr.update(visible=not voted), gr.update(visible=voted)
        return bar, after, "", *([gr.update(interactive=open_to_votes)] * len(_CHOICES))

    def begin(self, request: gr.Request, account: gr.OAuthProfile | None, visitor: str, prompt: str) -> Iterator[tuple]:
        """Begin a battle; the buttons wait until both answers are there."""
        yield None, _WRITING, *self._at()
        try:
            voter, _ = voter_of(self.arena.playground, visitor, account)
            for told in self.arena.begin(voter, prompt, person_of(self.arena.playground, request)):
                if not isinstance(told, dict):
                    yield None, _WRITING if told is None else {"waiting": place_in_words(told)}, *self._at()
        except UserError:
            yield None, None, *self._at()
            raise
        yield told, told, *self._at(open_to_votes=True)

    def vote(self, battle: dict | None, visitor: str, way: str, choice: str) -> tuple:
        """Count the vote and show who wrote what; the next battle is on a fresh prompt unless one is written."""
        if not battle:
            raise UserError("There is no battle to vote on; press New battle.")
        shown = self.arena.vote(visitor, battle["battle"], choice, way=way)
        for side in "ab":
            shown[side]["who"] = in_plain_words(self.arena.playground.catalogue, shown[side])
        reasons = gr.update(value=[], visible=choice in ("a", "b"))  # only where one answer is the better one
        return None, battle["battle"], battle | {"shown": shown}, "", reasons, "", *self._at(voted=True)

    def explain(
        self, account: gr.OAuthProfile | None, voted: str | None, visitor: str, reasons: list[str], note: str
    ) -> str:
        """Keep why a person voted so."""
        if not voted:
            return ""
        voter, _ = voter_of(self.arena.playground, visitor, account)
        self.arena.explain(voter, voted, reasons, note)
        return "Kept with your vote."

    def opened(self, *which: Any) -> tuple:
        """The leaderboard, which stands open as soon as it tells something."""
        few = self.arena.votes.count() < FEW
        return gr.skip() if few else gr.update(open=True), *self.ranked(*which)

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


def in_plain_words(catalogue: Catalogue, lane: dict[str, Any]) -> dict[str, Any]:
    """Who a lane was: {"models": what they are called, "how": the method with what differs from its defaults}.
    `lane`: its "method" and "options"; one of another version has its label alone."""
    try:
        method, wanted = decoder(lane["method"]), LaneRequest.checked(method=lane["method"], options=lane["options"])
    except UserError:
        return {"models": [], "how": lane["label"]}
    asked = {name: value for name, value in wanted.options if isinstance(value, Policy)}
    names = dict.fromkeys(name for policy in asked.values() for name in policy.names)
    first, *rest = method.title.split(" ")
    title = " ".join([first.lower() if first == first.capitalize() else first, *rest])
    others = {name: value for name, value in lane["options"].items() if name not in asked}
    return {
        "models": [getattr(catalogue.variants.get(name), "called", "") or name for name in names],
        "how": " · ".join([title, *changed(others, method)]),
    }


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
