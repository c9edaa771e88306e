"""A tab of a browser on the page that a module serves at its `address`."""

import pytest
from playwright.sync_api import expect

from playground.ui.page import serve

PATIENCE = 60_000
CUT = ("AbortError", "Connection errored out")
"""What the browser and Gradio say of a stream that is cut because the page is left."""


@pytest.fixture(scope="module")
def address(embedded):
    """A page over the embedded model, for all tests of a module."""
    page, url = serve(port=None, playground=embedded, block=False)
    yield url
    page.close()


@pytest.fixture
def tab(chromium, address):
    """An empty tab; every console error, page error and request to elsewhere fails the test, but for streams that are
    cut."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    wrong: list[str] = []

    def note(error: str) -> None:
        if not any(cut in error for cut in CUT):
            wrong.append(error)

    tab.on("console", lambda m: note(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: note(str(e)))
    tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None)
    tab.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield tab
    context.close()
    assert not wrong


def unfold(heading):
    """Open a tab, or what is folded under a heading. In the frame after it is opened for the first time, Gradio (6.31)
    puts the values back that it was sent with, over what was typed by then."""
    heading.click()
    heading.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
