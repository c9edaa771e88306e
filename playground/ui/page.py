"""The page as a whole: tabs, theme, addresses, and how it is served."""

from __future__ import annotations

import hashlib

import gradio as gr

from playground.models.fetch import bar
from playground.service import Playground
from playground.ui.compare import CompareTab, compare_endpoint
from playground.ui.errors import in_words
from playground.ui.history import HistoryTab

TITLE = "Realign Playground"
_SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
THEME = gr.themes.Soft(
    primary_hue="blue", font=_SYSTEM_FONTS, font_mono=["ui-monospace", "Consolas", "monospace"], radius_size="md"
)
CSS = """
.gradio-container { max-width: 1500px !important; margin: 0 auto; }
#head { align-items: center; }
#head h1 { margin: 0; font-size: 1.5rem; }
#head p { margin: .1rem 0 0; color: var(--body-text-color-subdued); }
#theme { max-width: 7.5rem; margin-left: auto; }
#examples button { white-space: normal; text-align: left; }
#actions { position: sticky; bottom: 0; z-index: 5; background: var(--body-background-fill); padding: .4rem 0; }
.lane-controls { gap: .6rem; }
"""
_SWITCH_THEME = "() => { document.body.classList.toggle('dark'); }"
_KEYS = """
<script>
document.addEventListener('keydown', e => {
  if (e.key === 'Escape' && !document.activeElement.classList.contains('token')) document.querySelector('#stop')?.click();
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); document.querySelector('#run')?.click(); }
});
</script>
"""
_ABOUT = """
Each **lane** is a method with its options; all lanes answer the same prompt at the same time, and the price of each
stands under it. Click any token to see what else could have stood there.

- **Greedy** takes the most probable token, **Sampling** draws one, **Best of N** draws N answers and keeps the one a scorer likes best.
- **DeRa** ([arXiv 2402.02992](https://arxiv.org/abs/2402.02992)) mixes the logits of a reference and an aligned model:
  λ = 0 is the reference, λ = 1 the aligned model, more exaggerates, less un-aligns. Darker tokens are those where the
  mixture moved furthest from the reference.

**Price:** *generated* counts tokens drawn (discarded answers too), *put through* the tokens that went through a model,
prompts included, as if the lane ran alone.

**Keys:** Ctrl + Enter runs, Escape stops, arrow keys walk along an answer's tokens, Enter shows a token's candidates.
"""


def build(playground: Playground) -> gr.Blocks:
    """The page over a service."""

    def origin_of(request: gr.Request) -> str:
        """Whose runs these are: a hash of the browser's own random id, never an address."""
        return hashlib.sha256((request.session_hash or "").encode()).hexdigest()[:16]

    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        with gr.Row(elem_id="head"):
            gr.Markdown(f"# {TITLE}\nSee what inference-time alignment does: methods side by side on one prompt.")
            theme = gr.Button("Light / dark", size="sm", elem_id="theme", min_width=110)
        with gr.Tabs(selected="compare") as tabs:
            with gr.Tab("Compare", id="compare"):
                compare = CompareTab(playground, origin_of)
            with gr.Tab("History", id="history") as history_tab:
                history = HistoryTab(playground, origin_of)
            with gr.Tab("About", id="about"):
                gr.Markdown(_ABOUT)

        quiet = {"api_visibility": "private", "show_progress": "hidden"}

        @in_words
        def open_from_address(request: gr.Request):
            run_id = request.query_params.get("run")
            return compare.open(run_id) if run_id else [gr.skip()] * len(compare.shown)

        @in_words
        def open_from_history(event: gr.SelectData):
            return gr.Tabs(selected="compare"), *compare.open(event.row_value[-1])

        theme.click(None, js=_SWITCH_THEME, **quiet)
        page.load(open_from_address, None, compare.shown, **quiet)
        page.unload(compare.leave)
        history_tab.select(history.rows, history.search, history.table, **quiet)
        history.table.select(open_from_history, None, [tabs, *compare.shown], **quiet)
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
        css=CSS,
        head=_KEYS,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=not block,
        quiet=not block,
    )
    return page, address
