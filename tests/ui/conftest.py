"""A tab of a browser on the page that a module serves at its `address`."""

import pytest
from playwright.sync_api import expect

PATIENCE = 60_000


@pytest.fixture
def tab(chromium, address):
    """An empty tab; every console error, page error and request to elsewhere fails the test. A stream that is cut
    because the page is left is no error."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    wrong: list[str] = []

    def note(error: str) -> None:
        if "AbortError" not in error:
            wrong.append(error)

    tab.on("console", lambda m: note(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda e: note(str(e)))
    tab.on("request", lambda r: wrong.append(r.url) if not r.url.startswith((address, "data:", "blob:")) else None)
    tab.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield tab
    context.close()
    assert not wrong
