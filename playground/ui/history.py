"""The History tab: the runs there are, newest first; choosing one opens it."""

from __future__ import annotations

from datetime import datetime

import gradio as gr

from playground.service import Playground

_HEADERS = ["When", "Prompt", "Methods", "State", "Run"]


class HistoryTab:
    """Builds the tab; `table` is what its page must refill when it is shown."""

    def __init__(self, playground: Playground, origin_of):
        self.playground, self.origin_of = playground, origin_of
        with gr.Row():
            self.search = gr.Textbox(
                show_label=False, placeholder="Search in prompts", elem_id="history-search", container=False
            )
        self.table = gr.Dataframe(
            headers=_HEADERS,
            datatype=["str"] * len(_HEADERS),
            interactive=False,
            wrap=True,
            elem_id="history",
            show_label=False,
            column_widths=["9rem", "auto", "10rem", "6rem", "7rem"],
        )
        gr.Markdown("Choose a row to open its run. Every run also has its own address, `?run=…`, to come back to or share.")
        self.search.change(self.rows, self.search, self.table, api_visibility="private", show_progress="hidden")

    def rows(self, search: str, request: gr.Request) -> list[list[str]]:
        """The newest runs as rows of the table."""
        origin = self.origin_of(request) if self.playground.settings.public else None
        return [
            [_when(run["created"]), run["prompt"][:200], run["methods"], run["status"], run["id"]]
            for run in self.playground.recent(origin, search or "")
        ]


def _when(created: str) -> str:
    return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
