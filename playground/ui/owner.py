"""The Owner tab: votes to look through, hide, download and push; what people may ask for of their own; the log."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from playground.arena import Arena
from playground.errors import UserError
from playground.store.ballots import HOLDS, write_votes
from playground.store.hub import push_votes
from playground.ui.errors import asked, in_words

_FILES = (("rrhf", "jsonl"), ("trl", "jsonl"), ("kto", "jsonl"), ("csv", "csv"), ("parquet", "parquet"))
_TAKE = "file => { const a = document.createElement('a'); a.href = file.url; a.download = file.orig_name; a.click(); }"
_LATEST, _VOTERS, _ACTS = 200, 20, 50
_VOTE = ("battle", "created", "prompt", "method_a", "method_b", "choice", "reasons", "note", "hidden", "voter")
_WIDTHS = [160, 110, 220, 150, 150, 90, 120, 140, 90, 160]
"""Of these columns, in pixels; longer words break."""
_VOTER = ("voter", "votes", "share", "last")
_ACT = ("created", "act", "target", "reason")
_SHORT = 80


class OwnerTab:
    """Builds the tab inside the current Blocks. Every act asks for the owner's token."""

    def __init__(self, arena: Arena, tab: gr.Tab, kept: gr.BrowserState):
        """tab: the one around it; kept: the token that this browser keeps."""
        self.arena, self.settings, self.check = arena, arena.playground.settings, arena.playground.check_owner
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        with gr.Row():
            self.token = gr.Textbox(
                label="Owner's token", type="password", lines=1, max_lines=1, elem_id="owner-token", scale=3
            )
            enter = gr.Button("Open", min_width=90, elem_id="owner-open")
        # Outside: what is hidden inside the column would be shown with it.
        self.made = gr.File(visible="hidden")
        with gr.Column(visible=False) as inside:
            self.burst = gr.Markdown("", elem_id="owner-burst")
            gr.Markdown("## Download")
            with gr.Row():
                self.method = gr.Dropdown([], label="Method", min_width=140, elem_id="owner-method")
                self.since = gr.Textbox(label="Since (date)", placeholder="2026-11-22", lines=1, min_width=120)
            which = [self.token, self.method, self.since]
            with gr.Row():
                for form, ending in _FILES:
                    save = gr.Button(f"Votes as {form}", size="sm", min_width=110, elem_id=f"save-{form}")
                    self._downloads(save, self._saver(form, ending), which)
                pushes = bool(self.settings.votes_repository)
                push = gr.Button("Push to the Hub", size="sm", min_width=110, visible=pushes)
            self.said = gr.Markdown("", elem_id="owner-said")
            gr.Markdown("## Votes\nA hidden vote is not counted and not exported, but it is not deleted.")
            self.votes = self._table(_VOTE, "owner-votes", wrap=True, column_widths=_WIDTHS)
            with gr.Row():
                self.battle = gr.Textbox(label="Battle", lines=1, min_width=180, elem_id="owner-battle")
                self.reason = gr.Textbox(label="Reason", lines=1, min_width=180, elem_id="owner-reason")
                hide = gr.Button("Hide", min_width=80, elem_id="owner-hide")
                show = gr.Button("Show again", min_width=80)
            gr.Markdown("## Voters\nOne voter with a large share of all votes can decide the ranking.")
            self.voters = self._table(_VOTER, "owner-voters")
            with gr.Row():
                self.voter = gr.Textbox(label="Voter", lines=1, min_width=180, elem_id="owner-voter")
                theirs = gr.Button("Download their votes", min_width=150)
                forget = gr.Button("Delete their votes", variant="stop", min_width=150, elem_id="owner-forget")
            with gr.Row(visible=False, elem_id="owner-sure") as sure:
                gr.Markdown("Their votes go for good, with prompts and answers. Delete them?")
                delete = gr.Button("Yes, delete", variant="stop", size="sm", min_width=90, elem_id="owner-delete")
                keep = gr.Button("No, keep", size="sm", min_width=90)
            forgotten = gr.Markdown("", elem_id="owner-forgotten")
            gr.Markdown(
                "## Snapshots\nVotes, judgements and your acts, saved outside of this server. What was deleted is in "
                "older files until you write all anew."
            )
            self.snapshots = gr.Textbox(
                label="Snapshots", show_label=False, lines=2, interactive=False, elem_id="owner-snapshots"
            )
            with gr.Row(visible=bool(self.settings.snapshots)):
                save = gr.Button("Save now", size="sm", min_width=110, elem_id="owner-save")
                compact = gr.Button("Write all anew", size="sm", min_width=110, elem_id="owner-compact")
            gr.Markdown("## Log")
            self.acts = self._table(_ACT, "owner-acts")
        self.shown = [inside, self.method, self.votes, self.voters, self.acts, self.snapshots, self.burst]
        for entered in (enter.click, self.token.submit):
            entered(in_words(self.open), self.token, self.shown, **quiet).success(
                lambda token: token, self.token, kept, **quiet
            )
        tab.select(lambda token: token, kept, self.token, **quiet).then(
            in_words(self.opened), self.token, self.shown, **quiet
        )
        self.votes.select(self._chosen(_VOTE.index("battle")), None, self.battle, **quiet)
        self.voters.select(self._chosen(_VOTER.index("voter")), None, self.voter, **quiet)
        for button, hidden in ((hide, True), (show, False)):
            button.click(
                in_words(self._hider(hidden)),
                [self.token, self.battle, self.reason],
                [self.said, self.battle, self.reason, *self.shown],
                **quiet,
            )
        self._downloads(theirs, self.export_voter, [self.token, self.voter])
        forget.click(lambda: (gr.update(visible=True), ""), None, [sure, forgotten], **quiet)
        keep.click(lambda: gr.update(visible=False), None, sure, **quiet)
        delete.click(
            in_words(self.forget), [self.token, self.voter], [forgotten, self.voter, sure, *self.shown], **quiet
        )
        push.click(in_words(self.push), which, self.said, **quiet)
        for button, anew in ((save, False), (compact, True)):
            button.click(in_words(self._snapshot(anew)), self.token, self.snapshots, **quiet)

    def _downloads(self, button: gr.Button, make: Callable[..., str], inputs: list[gr.components.Component]) -> None:
        """Let a button make a file and take it home. A DownloadButton would hand out what was made a click before."""
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        button.click(in_words(make), inputs, self.made, **quiet).success(None, self.made, None, js=_TAKE)

    @staticmethod
    def _table(columns: tuple[str, ...], name: str, **more: Any) -> gr.Dataframe:
        headers = [column.replace("_", " ") for column in columns]
        return gr.Dataframe(headers=headers, interactive=False, show_label=False, max_height=320, elem_id=name, **more)

    def opened(self, token: str | None) -> tuple:
        """What `shown` holds when the tab is chosen: nothing until the token was given."""
        return self.open(token) if token else (gr.update(visible=False), *[gr.skip()] * 6)

    def open(self, token: str | None) -> tuple:
        """(the inside, methods, votes, voters, acts, how snapshots stand, a warning)."""
        self.check(token)
        votes = self.arena.votes
        compared = votes.compared()
        methods = sorted({row[f"method_{side}"] for row in compared for side in "ab"})
        voters = [row | {"share": f"{row['share']:.1%}"} for row in votes.voters(_VOTERS)]
        latest = [row | self._labels(row) for row in votes.latest(_LATEST)]
        tables = [(latest, _VOTE), (voters, _VOTER), (votes.acts()[:_ACTS], _ACT)]
        return (
            gr.update(visible=True),
            gr.update(choices=[("any method", ""), *methods], value=""),
            *([[_short(name, row[name]) for name in columns] for row in rows] for rows, columns in tables),
            self.arena.playground.snapshots.said(),
            self.arena.burst(),
        )

    def _labels(self, row: dict[str, Any]) -> dict[str, str]:
        """A vote's methods with their options, as the leaderboard names them, and its reasons in words."""
        return {
            f"method_{side}": self.arena.label(row[f"method_{side}"], json.loads(row[f"options_{side}"]))
            for side in "ab"
        } | {"reasons": ", ".join(json.loads(row["reasons"]))}

    def hide(self, token: str, battle: str, reason: str, hidden: bool) -> tuple:
        """Hide a vote, or show it again; the reason is logged."""
        self.check(token)
        if not reason.strip():
            raise UserError("Give a reason; the log keeps it.")
        self.arena.votes.hide(battle.strip(), hidden, reason.strip())
        return f"The vote is {'hidden' if hidden else 'shown again'}.", "", "", *self.open(token)

    def forget(self, token: str, voter: str) -> tuple:
        """Delete all that a voter gave."""
        self.check(token)
        count = self.arena.votes.forget(voter.strip())
        said = f"{count} vote{'' if count == 1 else 's'} deleted, with prompts and answers."
        return said, "", gr.update(visible=False), *self.open(token)

    def export_voter(self, token: str, voter: str) -> str:
        """A file with all votes of a voter."""
        self.check(token)
        rows = self.arena.votes.rows(voter=voter.strip(), hidden=True)
        return _file("voter.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())

    def push(self, token: str, method: str, since: str) -> str:
        """Push a snapshot to the data set that the settings name."""
        self.check(token)
        rows = self.arena.votes.rows(method or None, since.strip() or None)
        return f"{len(rows)} votes were pushed: {push_votes(rows, self.settings.votes_repository)}"

    def snapshot(self, token: str, anew: bool) -> str:
        """Save what is new outside, or everything anew, and tell how it stands."""
        self.check(token)
        snapshots = self.arena.playground.snapshots
        (snapshots.compact if anew else snapshots.attempt)()
        return snapshots.said()

    def _snapshot(self, anew: bool):
        return lambda token: self.snapshot(token, anew)

    def _hider(self, hidden: bool):
        return lambda token, battle, reason: self.hide(token, battle or "", reason or "", hidden)

    @staticmethod
    def _chosen(column: int):
        @in_words
        def chosen(event: gr.EventData) -> str:
            row = asked(event).get("row_value")
            if not isinstance(row, list) or len(row) <= column:
                raise UserError("The page did not say which row was chosen; reload it.")
            return str(row[column])

        return chosen

    def _saver(self, form: str, ending: str):
        def save(token: str, method: str, since: str) -> str:
            self.check(token)
            rows = self.arena.votes.rows(method or None, (since or "").strip() or None)
            written = write_votes(rows, form, self.settings.votes_licence)
            if not written:
                raise UserError(f"None of these {len(rows)} votes fits: a {form} file holds {HOLDS[form]}.")
            return _file(f"votes-{form}.{ending}", written)

        return save


def _short(name: str, value: Any) -> Any:
    """As it stands in a table."""
    if name in ("created", "last"):
        return value[:16].replace("T", " ")
    if name == "hidden":
        return "yes" if value else ""
    return value[:_SHORT] + "…" if isinstance(value, str) and len(value) > _SHORT else value


def _file(name: str, content: bytes) -> str:
    path = Path(tempfile.mkdtemp()) / name
    path.write_bytes(content)
    return str(path)
