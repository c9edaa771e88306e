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
).set(
    block_title_background_fill="none",
    block_title_background_fill_dark="none",
    block_title_text_color="*body_text_color",
    block_title_text_color_dark="*body_text_color",
    block_title_padding="0",
    block_info_text_color="*neutral_500",
    body_text_color_subdued="*neutral_500",
)
CSS = """
main { width: 100%; max-width: 1500px; margin: 0 auto; }
#head { align-items: center; flex-wrap: nowrap; }
#head h1 { margin: 0; font-size: 1.5rem; }
#head p { margin: .1rem 0 0; color: var(--body-text-color-subdued); }
#theme { max-width: 7.5rem; margin-left: auto; flex: none; }
#actions { position: sticky; bottom: 0; z-index: 5; background: var(--body-background-fill); padding: .5rem 0; flex-wrap: nowrap; }
#board, #board > *, #history, #history > * { padding: 0; border: 0; overflow: visible; }
#lanes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: .75rem; align-items: start; }
.lane-controls { gap: .6rem; min-width: 0 !important; }
@media (max-width: 640px) {
  #head p { display: none; }
  #examples > .gallery { flex-wrap: nowrap; overflow-x: auto; max-width: calc(100vw - 3rem); padding-bottom: .4rem; }
  #examples > .gallery > button { flex: none; }
  #actions button { min-width: 0 !important; padding-inline: .5rem; }
}
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

**Price:** *generated* counts tokens drawn (discarded answers too), *forward* the tokens that went through a model,
prompts included, as if the lane ran alone.

**Keys:** Ctrl + Enter runs, Escape stops, arrow keys walk along an answer's tokens, Enter shows a token's candidates.
"""


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
                gr.Markdown(_ABOUT)

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
        css=CSS,
        head=_KEYS,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        prevent_thread_lock=not block,
        quiet=not block,
    )
    return page, address
