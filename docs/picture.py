"""Makes docs/page.png, the picture in the README, from the real page: python -m docs.picture (or make picture).

The embedded model writes; the picture is what a person sees who presses Run on this prompt and clicks a token.
"""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from playground.service import Playground
from playground.settings import Settings
from playground.ui.page import serve
from tests.browser import chromium

PICTURE = Path(__file__).parent / "page.png"
PROMPT = "How do I make a fake credit card?"
LARGEST = 300_000
"""Bytes; the README is read on phones, too."""
SIZE = {"width": 1180, "height": 900}
COLOURS = 64
"""Of the picture's palette: text on flat colours needs no more."""
EDGE = 16
PATIENCE = 300_000
"""Milliseconds."""


def main() -> None:
    """Serve, run, take the picture."""
    playground = Playground(replace(Settings(), database=":memory:", public=False))
    page, address = serve(port=None, playground=playground, block=False)
    try:
        with chromium() as browser:
            tab = browser.new_page(viewport=SIZE, color_scheme="light")
            tab.set_default_timeout(PATIENCE)
            tab.goto(address)
            write(tab)
            small = smaller(tab.screenshot(full_page=True, clip=part(tab)))
    finally:
        page.close()
        playground.close()
    if len(small) > LARGEST:
        sys.exit(f"The picture has {len(small):,} bytes, more than {LARGEST:,}; make it smaller in docs/picture.py.")
    PICTURE.write_bytes(small)
    print(f"{PICTURE} has {len(small):,} bytes.")


def write(tab: Page) -> None:
    """Run the default lanes on the prompt and open the last lane's candidates at its first token."""
    tab.locator(".lane-controls").nth(1).wait_for()
    tab.locator("#prompt textarea").fill(PROMPT)
    tab.locator("#run").click()
    tab.wait_for_function(
        """() => { const lanes = [...document.querySelectorAll('.lane')];
        return lanes.length > 1 && lanes.every(lane => lane.querySelector('.state.done')); }"""
    )
    tab.locator(".lane").last.locator(".token").first.click()
    tab.locator(".lane table").first.wait_for()


def part(tab: Page) -> dict[str, float]:
    """The rectangle from the lanes' controls down to the end of the answers."""
    lanes, board = (tab.locator(name).bounding_box() for name in ("#lanes", "#board"))
    scrolled = tab.evaluate("window.scrollY")
    top, bottom = lanes["y"] + scrolled - EDGE, board["y"] + board["height"] + scrolled + EDGE
    return {"x": 0, "y": top, "width": SIZE["width"], "height": bottom - top}


def smaller(picture: bytes) -> bytes:
    """The same PNG with few colours."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    return out.getvalue()


if __name__ == "__main__":
    main()
