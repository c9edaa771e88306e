"""The page as a whole: tabs, theme, addresses, and how it is served."""

from __future__ import annotations

import functools
import hashlib
import html
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.routes import App
from starlette.middleware.gzip import GZipMiddleware

from playground.arena import Arena
from playground.errors import UserError
from playground.models.fetch import bar
from playground.prepared import Stock
from playground.selective import METHOD as ANSWERING
from playground.selective import Selective
from playground.service import Playground
from playground.training.jobs import Trainings
from playground.ui.answers import CANNOT_BE_READ, Page, cannot_be_read
from playground.ui.arena import ArenaTab, arena_endpoints
from playground.ui.ask import AskTab
from playground.ui.compare import CompareTab
from playground.ui.endpoint import compare_endpoint
from playground.ui.errors import in_words
from playground.ui.examples import tags
from playground.ui.guard import LARGEST_UPLOAD, Guard, hold_little
from playground.ui.history import HistoryTab
from playground.ui.openai import serve_openai
from playground.ui.owner import OwnerTab
from playground.ui.preview import describe, preview_of, serve_card
from playground.ui.sessions import check_upload, new_visitor
from playground.ui.sweep import METHOD, SweepTab
from playground.ui.train import TrainTab

TITLE = "Realign Playground"
ABOUT = "See what inference-time alignment does: methods side by side on one prompt."
_HERE = Path(__file__).parent
_SYSTEM_FONTS = ["ui-sans-serif", "system-ui", "sans-serif"]
EDGE, EDGE_DARK = "#8592a6", "#738096"
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
    block_border_width="1px",
    # White on the fill, and a placeholder, have a contrast of 4.5 at least; edges have 3.
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_hover_dark="*primary_700",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
    color_accent="*primary_600",
    block_label_text_color="*primary_700",
    checkbox_label_background_fill_selected="*primary_600",
    button_secondary_background_fill_hover_dark="*primary_600",
    link_text_color_dark="*secondary_400",
    link_text_color_visited_dark="*secondary_400",
    input_border_width="1px",
    input_border_color=EDGE,
    input_border_color_dark=EDGE_DARK,
    checkbox_border_color=EDGE,
    checkbox_border_color_dark="#a9b4c6",  # it stands on a lighter grey
)
_TAKE_TOKEN = """known => {
    const address = new URL(location), token = address.searchParams.get('token');
    address.searchParams.delete('token');
    if (token) history.replaceState(null, '', address);
    return token || known;
}"""
"""The owner's token may come in the address, as the server prints it; it does not stay there."""
_TOOLS = ("/compare", "/methods")
"""What agents are offered, of all endpoints."""
_OTHER_THREADS = 40
_LAST_WORDS = 0.3
"""Seconds in which those who read a run that is stopped get what it has."""
_UPLOADS_STAY = 3600
"""Seconds after which what was uploaded is deleted, if nothing else did before."""
_SWITCH_THEME = "() => { remember('theme', document.body.classList.toggle('dark') ? 'dark' : 'light'); }"
_SWITCH_TYPE = "() => { remember('type', document.body.classList.toggle('large') ? 'large' : ''); }"
_REMEMBERED = """() => {
  const theme = recall('theme');
  if (theme) document.body.classList.toggle('dark', theme === 'dark');
  document.body.classList.toggle('large', recall('type') === 'large');
}"""


def _read(*files: str) -> str:
    return "".join((_HERE / file).read_text(encoding="utf-8") for file in files)


def build(playground: Playground, trainings: Trainings | None = None) -> gr.Blocks:
    """The page over a service; with a Train tab if there are `trainings`."""

    def origin_of(visitor: Any) -> str:
        """Whose runs these are: a hash of the browser's own random id, or whatever it sent, never an address."""
        return hashlib.sha256(str(visitor or "").encode()).hexdigest()[:16]

    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    arena = Arena(playground) if playground.catalogue.arena else None
    with Page(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(_UPLOADS_STAY, _UPLOADS_STAY)
    ) as page:
        with gr.Row(elem_id="head"):
            gr.Markdown(f"# {TITLE}\n{ABOUT}")
            gr.HTML(
                f'<a href="{html.escape(playground.settings.address or "./")}" target="_blank" rel="noopener">'
                "Open in its own tab</a>",
                elem_id="own-tab",
            )
            with gr.Row(elem_id="tools"):
                gr.Button("Tour", size="sm", elem_id="tour")
                large = gr.Button("Large type", size="sm", elem_id="large")
                theme = gr.Button("Light / dark", size="sm", elem_id="theme")
        token = gr.BrowserState("", storage_key="realign-playground-token", secret=playground.browser_key)
        visitor = gr.BrowserState("", storage_key="realign-playground-visitor", secret=playground.browser_key)
        kept = gr.BrowserState([], storage_key="realign-playground-models", secret=playground.browser_key)
        with gr.Tabs():
            with gr.Tab("Compare") as compare_tab:
                compare = CompareTab(playground, compare_tab, visitor, kept, origin_of)
            if ANSWERING:
                with gr.Tab("Ask") as ask_tab:
                    asking = AskTab(Selective(playground), visitor, origin_of)
                ask_tab.select(in_words(asking.opened), asking.decided_by, asking.shown, **quiet)
                page.unload(asking.stop)
            if METHOD:
                with gr.Tab(f"{METHOD.dial.title} sweep") as sweep_tab:
                    sweep = SweepTab(playground, METHOD, compare.all_models)
                sweep_tab.select(sweep.offered, kept, sweep.models, **quiet)
                page.unload(sweep.stop)
            if arena:
                with gr.Tab("Arena") as arena_tab:
                    battles = ArenaTab(arena, visitor)
            if trainings:
                with gr.Tab("Train") as train_tab:
                    train = TrainTab(playground, trainings, token)
            if arena and (playground.settings.owner_token or not playground.settings.public):
                with gr.Tab("Owner") as owner_tab:
                    OwnerTab(arena, owner_tab, token)
            with gr.Tab("History") as history_tab:
                history = HistoryTab(playground, visitor, origin_of)
            with gr.Tab("About"):
                gr.Markdown((_HERE / "about.md").read_text(encoding="utf-8"))

        @in_words
        def open_from_address(kept: Any, drawn: dict[str, Any], request: gr.Request):
            drawn = drawn | {"models": compare.all_models(kept)}
            run_id = request.query_params.get("run")
            try:
                yield from compare.open(run_id, request, drawn) if run_id else [compare.with_models(drawn)]
            except UserError:
                yield compare.with_models(drawn)
                raise

        @in_words
        def welcome(known: str, request: gr.Request) -> str:
            return known if playground.is_visitor(known) else new_visitor(playground, request)

        @in_words
        def visitor_endpoint(request: gr.Request) -> str:
            """A visitor id, with which battles are begun and voted on; keep it."""
            return new_visitor(playground, request)

        theme.click(None, js=_SWITCH_THEME, **quiet)
        large.click(None, js=_SWITCH_TYPE, **quiet)
        page.load(None, js=_REMEMBERED, **quiet)
        page.load(None, token, token, js=_TAKE_TOKEN, **quiet)
        page.load(welcome, visitor, visitor, **quiet)
        page.load(open_from_address, [kept, compare.drawn], compare.shown, **quiet)
        page.unload(compare.stop)
        if trainings:
            train_tab.select(in_words(train.opened), None, train.shown, **quiet)
        history_tab.select(history.rows, [history.search, visitor], history.list, **quiet)
        gr.api(compare_endpoint(playground, compare.sessions), api_name="compare", concurrency_limit=None)
        gr.api(playground.methods, api_name="methods")
        if arena:
            arena_tab.select(in_words(battles.opened), battles.which, [battles.board, *battles.shown], **quiet)
            battle, vote = arena_endpoints(arena)
            gr.api(visitor_endpoint, api_name="visitor")
            gr.api(battle, api_name="battle", concurrency_limit=None)
            gr.api(vote, api_name="vote", concurrency_limit=8)
    return page


def _check_free(host: str, port: int) -> None:
    """Raise UserError if nobody can listen there, with the system's own reason."""
    try:
        if not 0 <= port <= 65535:
            raise OverflowError("ports go from 0 to 65535")
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"Nothing can listen on {host}, port {port} ({reason}); choose others with HOST and PORT."
        ) from None


def _say_how_to_open(playground: Playground, address: str) -> None:
    print("The owner opens this address (whoever has it may train, and hide and delete votes):")
    print(f"    {(playground.settings.address or address).rstrip('/')}/?token={playground.owner_token}", flush=True)
    if playground.settings.count_votes == ("login",) and not playground.settings.login:
        print("PLAYGROUND_COUNT is login, but this server offers no login, so no vote counts.", flush=True)
    if os.environ.get("SPACE_ID") and not playground.settings.secret:
        print(
            "PLAYGROUND_SECRET is not set: when this Space restarts, its disk is lost, and every visitor becomes "
            "another one. Set it in the Space's settings, under secrets, to a long random text.",
            flush=True,
        )
    if os.environ.get("SPACE_ID") and not playground.snapshots.place:
        print(playground.snapshots.said(), flush=True)


def _interrupt(*_) -> None:
    # Raised here, not as a SIGINT: a server started in the background ignores that.
    raise KeyboardInterrupt


def serve(host: str = "127.0.0.1", port: int | None = 7860, playground: Playground | None = None, block: bool = True):
    """Serve the page, and load the embedded model while it opens: what is recorded needs none. Without a port one is
    found. Returns (page, local address) when not blocking. Raises UserError if the port is taken or the model cannot
    be loaded."""
    if port is not None:
        _check_free(host, port)
    playground = playground or Playground(progress=bar)
    if playground.settings.mcp and not find_spec("mcp"):
        raise UserError("PLAYGROUND_MCP is set, but the package mcp is not installed; install it: pip install 'mcp<2'.")
    playground.replicate()
    playground.snapshots.start()
    trainings = Trainings(playground.settings) if playground.settings.training else None
    page = build(playground, trainings)
    page.queue(max_size=256)
    describe(lambda request: preview_of(request, TITLE, ABOUT, playground.prompt_of, playground.settings.address))

    @asynccontextmanager
    async def guarded(app: App) -> AsyncIterator[None]:
        """Before the first request: around everything, since Gradio answers for foreign origins outside of what it
        lets others add."""
        settings = playground.settings
        hosts = (*settings.space_hosts, *settings.hosts)
        packed = GZipMiddleware(app.middleware_stack, compresslevel=5)  # Gradio leaves the page itself as it is
        checks = functools.partial(check_upload, playground)
        app.middleware_stack = guard = Guard(packed, page, host, hosts, settings.frames, checks)
        playground.crowd.unread_since = guard.unread_since
        serve_card(app)
        serve_openai(app, playground, guard.reading)
        if tools := page.mcp_server_obj:
            offered = tools.tool_to_endpoint.items()
            tools.tool_to_endpoint = {tool: endpoint for tool, endpoint in offered if endpoint in _TOOLS}
        yield

    # The server under Gradio would believe X-Forwarded-For from this machine; PLAYGROUND_PROXIES says what is believed.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        theme=THEME,
        css=_read("page.css") + tags(),
        # What depends on the whole page, not on Gradio's part of it, which its own style sheets are bound to.
        head=f"<style>{_read('tour.css', 'print.css')}</style>"
        f"<script>{_read('page.js', 'joined.js', 'tour.js')}</script>",
        footer_links=["api"],
        app_kwargs={"lifespan": guarded, "exception_handlers": dict.fromkeys(CANNOT_BE_READ, cannot_be_read)},
        # Each run that is waited for holds a thread of the server, and there are never more runs than that.
        max_threads=playground.crowd.limits.most_runs + _OTHER_THREADS,
        max_file_size=LARGEST_UPLOAD,
        run_history=False,
        ssr_mode=False,
        mcp_server=playground.settings.mcp,
        prevent_thread_lock=True,
        quiet=not block,
    )
    hold_little(one for server in page.server.servers for one in server.sockets)
    if not block:
        playground.backend.load("reference", "aligned")
        return page, address
    busy = trainings.running if trainings else lambda: None
    stock = Stock(Arena(playground), playground.settings.prepared_battles, busy) if playground.catalogue.arena else None
    # What Docker and Spaces send to end a server; runs under way are then saved as they are.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        loading = ThreadPoolExecutor(1).submit(playground.backend.load, "reference", "aligned")
        if stock:
            loading.add_done_callback(lambda loaded: loaded.exception() or stock.start())
        _say_how_to_open(playground, address)
        while page.is_running:  # page.block_thread() would wait for open streams before anything is saved
            if loading.done():
                loading.result()  # without its models it serves nothing
            time.sleep(0.1)
    except KeyboardInterrupt:
        print("The server ends; runs under way are saved.", flush=True)
    finally:
        playground.snapshots.save()  # while the page closes: a server that is to end is not given long
        playground.stop_all()
        time.sleep(_LAST_WORDS)
        page.close()
        if stock:
            stock.close()
        if trainings:
            trainings.close()
        playground.close()
    if playground.memory.is_loading:
        sys.stdout.flush()
        os._exit(0)  # all is saved; who reads a model cannot be told to stop, and Python would wait for it
    return page, address
