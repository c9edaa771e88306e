"""The History tab: the runs there are, newest first, as links to their addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from playground.service import Playground
from playground.ui.board import DataView

_HERE = Path(__file__).parent


class HistoryTab:
    """Builds the tab; the page refills `list` with `rows` when the tab is shown."""

    def __init__(self, playground: Playground, visitor: gr.BrowserState, origin_of):
        self.playground, self.origin_of = playground, origin_of
        self.search = gr.Textbox(
            label="Search in prompts", elem_id="history-search", interactive=True, placeholder="any part of a prompt"
        )
        self.list = DataView(
            html_template='<ol class="history"></ol>',
            css_template=(_HERE / "history.css").read_text(encoding="utf-8"),
            js_on_load=(_HERE / "history.js").read_text(encoding="utf-8"),
            elem_id="history",
        )
        self.search.change(
            self.rows, [self.search, visitor], self.list, api_visibility="private", show_progress="hidden"
        )

    def rows(self, search: str, visitor: str) -> list[dict[str, Any]]:
        """The newest runs; on a public server only those of this browser."""
        origin = self.origin_of(visitor) if self.playground.settings.public else None
        return self.playground.recent(origin, search or "")
