"""The History tab: the runs there are, newest first, as links to their addresses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import gradio as gr

from playground.decoders import DECODERS
from playground.errors import UserError
from playground.service import Playground
from playground.ui.board import DataView
from playground.ui.errors import in_words

_GO = "id => { if (id) window.location.search = '?run=' + id; }"
_HERE = Path(__file__).parent


class HistoryTab:
    """Builds the tab; the page refills `list` with `rows` when the tab is shown."""

    def __init__(self, playground: Playground, visitor: gr.BrowserState, origin_of):
        self.playground, self.origin_of = playground, origin_of
        self.search = gr.Textbox(
            label="Search prompts", elem_id="history-search", interactive=True, placeholder="Any part of a prompt"
        )
        self.upload = gr.UploadButton(
            "Open a saved run",
            file_types=[".json", ".gz"],
            type="filepath",
            size="sm",
            elem_id="open-run",
            min_width=160,
        )
        opened = gr.Textbox(visible="hidden", elem_id="opened-run")
        self.upload.upload(
            in_words(self.take), [self.upload, visitor], opened, api_visibility="private", show_progress="hidden"
        ).success(None, opened, None, js=_GO)
        self.list = DataView(
            html_template='<ol class="history"></ol>',
            css_template=(_HERE / "history.css").read_text(encoding="utf-8"),
            js_on_load=(_HERE / "history.js").read_text(encoding="utf-8"),
            elem_id="history",
        )
        self.search.change(
            self.rows, [self.search, visitor], self.list, api_visibility="private", show_progress="hidden"
        )

    def take(self, file: str, visitor: str) -> str:
        """Keep an uploaded run; returns its id. The file goes."""
        if not file:
            raise UserError("There is no file; choose a saved run.")
        path = Path(file)
        try:
            return self.playground.archive.read(path.read_bytes(), self.origin_of(visitor))
        finally:
            path.unlink(missing_ok=True)

    def rows(self, search: str, visitor: str) -> list[dict[str, Any]]:
        """The newest runs; on a public server only those of this browser."""
        origin = self.origin_of(visitor) if self.playground.settings.public else None
        return [
            run | {"methods": _titles(run["methods"])} for run in self.playground.archive.recent(origin, search or "")
        ]


def _titles(methods: str) -> str:
    """Names of methods as people know them, "Greedy, DeRa × 2"; those of a plug-in that has gone stay as they are."""
    counts = Counter(DECODERS[name].title if name in DECODERS else name for name in methods.split(", "))
    return ", ".join(title if count == 1 else f"{title} × {count}" for title, count in counts.items())
