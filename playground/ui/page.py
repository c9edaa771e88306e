"""The page as a whole: tabs, theme, addresses, and how it is served."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gradio as gr

from playground.models.fetch import bar
from playground.service import Playground
from playground.ui.compare import CompareTab, compare_endpoint
from playground.ui.errors import in_words
from playground.ui.history import HistoryTab

TITLE = "Realign Playground"
_HERE = Path(__file__).parent
_SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
THEME = gr.themes.Soft(
    primary_hue="blue", font=_SYSTEM_FONTS, font_mono=["ui-monospace", "Consolas", "monospace"], radius_size="md"
).set(
    block_title_background_fill="none",
    block_title_background_fill_dark="none",
    block_title_text_color="*body_text_color",
    block_title_text_color_dark="*body_text_color",
    block_title_padding="0",
    block_info_text_color="*neutral_500",
    body_text_color_subdued="*neutral_500",
)
_SWITCH_THEME = "() => { document.body.classList.toggle('dark'); }"


def build(playground: Playground) -> gr.Blocks:
    """The page over a service."""

    def origin_of(request: gr.Request) -> str:
        """Whose runs these are: a hash of the browser's own random id, never an address."""
        return hashlib.sha256((request.session_hash or "").encode()).hexdigest()[:16]

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        with gr.Row(elem_id="head"):
            gr.Markdown(f"# {TITLE}\nSee what inference-time alignment does: methods side by side on one prompt.")
            theme = gr.Button("Light / dark", size="sm", elem_id="theme", min_width=110)
        with gr.Tabs():
            with gr.Tab("Compare"):
                compare = CompareTab(playground, origin_of)
            with gr.Tab("History") as history_tab:
                history = HistoryTab(playground, origin_of)
            with gr.Tab("About"):
                gr.Markdown((_HERE / "about.md").read_text(encoding="utf-8"))

        quiet = {"api_visibility": "private", "show_progress": "hidden"}

        @in_words
        def open_from_address(request: gr.Request):
            run_id = request.query_params.get("run")
            return compare.open(run_id) if run_id else [gr.skip()] * len(compare.shown)

        theme.click(None, js=_SWITCH_THEME, **quiet)
        page.load(open_from_address, None, compare.shown, **quiet)
        page.unload(compare.leave)
        history_tab.select(history.rows, history.search, history.list, **quiet)
        gr.api(compare_endpoint(playground), api_name="compare", concurrency_limit=8)
        gr.api(playground.methods, api_name="methods")
    return page


def serve(host: str = "127.0.0.1", port: int = 7860, playground: Playground | None = None, block: bool = True):
    """Load the embedded model and serve the page. Returns (page, local address) when not blocking."""
    playground = playground or Playground(progress=bar)
    playground.ensure("reference", "aligned")
    page = build(playground)
    page.queue(max_size=256)
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        theme=THEME,
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        head=f"<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=not block,
        quiet=not block,
    )
    return page, address
