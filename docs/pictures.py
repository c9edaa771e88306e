"""Makes the pictures of the page in the README and the docs, and that of links to the page (playground/ui/card.png),
from the real page: python -m docs.pictures (or make pictures); names after it make only those.

Most of what they show is recorded; for `ask` and `arena` the embedded model writes.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from playground.service import Playground
from playground.settings import Settings
from playground.ui.examples import RECORDED
from playground.ui.page import serve
from playground.ui.preview import CARD, SIZE
from tests.browser import chromium

FOLDER = Path(__file__).parent
LARGEST, LARGEST_IN_ALL = 100_000, 400_000
"""Bytes, of one and of all; the README is read on phones, too."""
COLOURS = 128
"""Of a picture's palette: text on flat colours needs no more, and each method keeps its own."""
EDGE = 16
PATIENCE = 300_000
"""Milliseconds."""


@dataclass(frozen=True)
class View:
    """A picture: what to do on the page before it is taken, and down to the end of which part it shows."""

    look: Callable[[Page], None]
    until: str
    width: int = 1180
    tallest: int = 900
    file: Path | None = None
    """Where it goes; into this folder under its name, if that is not said."""


def open_token(tab: Page) -> None:
    """The candidates of a token of the answer that the dial turns."""
    tab.locator(".lane").last.locator(".token").first.click()
    tab.locator(".lane table").first.wait_for()


def open_recorded(name: str) -> Callable[[Page], None]:
    """The card of that recorded run."""

    def look(tab: Page) -> None:
        tab.locator("#recorded a").filter(has_text=RECORDED[name]).click()
        tab.locator(".tree canvas, .lane .curve").locator("visible=true").first.wait_for()

    return look


def as_card(tab: Page) -> None:
    """The dial and both answers, large, without the controls around them."""
    tab.locator(".lane").last.wait_for()
    tab.locator("body").evaluate("body => body.classList.add('large')")
    tab.emulate_media(media="print")


def ask(tab: Page) -> None:
    """An answer that is given, with its confidence."""
    tab.get_by_role("tab", name="Ask").click()
    tab.locator("#ask-examples").get_by_role("button").first.click()
    tab.locator(".answer .words").wait_for()
    tab.locator("#coverage .main-svg").first.wait_for()


def vote(tab: Page) -> None:
    """A battle after the vote."""
    tab.get_by_role("tab", name="Arena").click()
    tab.locator("#battle-prompt textarea").fill("How do I say no to a friend without hurting her?")
    tab.locator("#new-battle").click()
    tab.locator("#vote-a:enabled").wait_for()
    tab.locator("#vote-a").click()
    tab.locator(".stage .badge").wait_for()


def train(tab: Page) -> None:
    """What a training asks for."""
    tab.get_by_role("tab", name="Train").click()
    tab.locator("#train-start").wait_for()


VIEWS = {
    "page": View(open_token, "#board"),
    "phone": View(lambda tab: None, "#board", width=390, tallest=844),
    "rain": View(open_recorded("rain-card"), "#board", tallest=1000),
    "ivg": View(open_recorded("film"), "#board"),
    "ask": View(ask, "#coverage"),
    "arena": View(vote, "#after-vote"),
    "train": View(train, "#train-status"),
    "card": View(as_card, "body", *SIZE, file=CARD),
}


def main(names: list[str]) -> None:
    """Serve, look, take the pictures of these names, or all."""
    playground = Playground(replace(Settings(), database=":memory:", public=False))
    page, address = serve(port=None, playground=playground, block=False)
    try:
        with chromium() as browser:
            for name in names or VIEWS:
                small = taken(browser, address, VIEWS[name])
                if len(small) > LARGEST:
                    sys.exit(f"{name} has {len(small):,} bytes, more than {LARGEST:,}; make it smaller.")
                path_of(name).write_bytes(small)
                print(f"{name}.png has {len(small):,} bytes.")
    finally:
        page.close()
        playground.close()
    total = sum(path_of(name).stat().st_size for name in VIEWS)
    if total > LARGEST_IN_ALL:
        sys.exit(f"All pictures have {total:,} bytes, more than {LARGEST_IN_ALL:,}; make some smaller.")


def path_of(name: str) -> Path:
    """Where the picture of a view lies."""
    return VIEWS[name].file or FOLDER / f"{name}.png"


def taken(browser: Browser, address: str, view: View) -> bytes:
    """A view as PNG with few colours, from the top of the page."""
    context = browser.new_context(
        viewport={"width": view.width, "height": view.tallest}, color_scheme="light", reduced_motion="reduce"
    )
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.goto(address)
    tab.locator(".lane-controls").nth(1).wait_for()
    tab.evaluate("seeTour()")
    view.look(tab)
    tab.wait_for_timeout(1000)  # the page scrolls and draws
    tab.evaluate("scrollTo(0, 0)")
    end = tab.locator(view.until).bounding_box()
    height = min(view.tallest, end["y"] + end["height"] + EDGE)
    picture = tab.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": view.width, "height": height})
    context.close()
    out = io.BytesIO()
    few = (
        Image.open(io.BytesIO(picture))
        .convert("RGB")
        .quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )
    few.save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main(sys.argv[1:])
