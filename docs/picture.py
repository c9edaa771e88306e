"""Makes the picture in the README, docs/page.png, and that of links to the page, playground/ui/card.png, from the real
page: python -m docs.picture (or make picture).

It is what a person sees who opens the page and clicks a token of the answer that the dial turns. All of it is recorded,
so no model writes for it.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from playground.service import Playground
from playground.settings import Settings
from playground.ui.page import serve
from playground.ui.preview import CARD
from playground.ui.preview import SIZE as SIZE_OF_CARD
from tests.browser import chromium

PICTURE = Path(__file__).parent / "page.png"
LARGEST = 300_000
"""Bytes; the README is read on phones, too."""
SIZE = {"width": 1180, "height": 900}
COLOURS = 64
"""Of the picture's palette: text on flat colours needs no more."""
EDGE = 16
PATIENCE = 300_000
"""Milliseconds."""


def main() -> None:
    """Serve, look, take the picture."""
    playground = Playground(replace(Settings(), database=":memory:", public=False))
    page, address = serve(port=None, playground=playground, block=False)
    try:
        with chromium() as browser:
            tab = browser.new_page(viewport=SIZE, color_scheme="light")
            tab.set_default_timeout(PATIENCE)
            tab.goto(address)
            look(tab)
            keep(PICTURE, smaller(tab.screenshot(full_page=True, clip=part(tab))))
            keep(CARD, smaller(card(browser, address)))
    finally:
        page.close()
        playground.close()


def keep(path: Path, picture: bytes) -> None:
    """Write a picture, if it is small."""
    if len(picture) > LARGEST:
        sys.exit(f"{path} has {len(picture):,} bytes, more than {LARGEST:,}; make it smaller in docs/picture.py.")
    path.write_bytes(picture)
    print(f"{path} has {len(picture):,} bytes.")


def card(browser: Browser, address: str) -> bytes:
    """The dial and both answers, without the controls around them, in the size of links' pictures."""
    width, height = SIZE_OF_CARD
    tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
    tab.goto(address)
    tab.locator(".lane").last.wait_for()
    tab.locator("body").evaluate("body => body.classList.add('large')")
    tab.emulate_media(media="print")
    return tab.screenshot()


def look(tab: Page) -> None:
    """Open the candidates of a token of the turned answer, as somebody who has seen the tour."""
    tab.evaluate("seeTour()")
    tab.locator(".lane").last.locator(".token").first.click()
    tab.locator(".lane table").first.wait_for()


def part(tab: Page) -> dict[str, float]:
    """The rectangle from the top of the page to the end of the answers."""
    board = tab.locator(".board").bounding_box()
    return {"x": 0, "y": 0, "width": SIZE["width"], "height": board["y"] + board["height"] + EDGE}


def smaller(picture: bytes) -> bytes:
    """The same PNG with few colours."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


if __name__ == "__main__":
    main()
