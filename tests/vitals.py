"""How soon a page is painted, what it weighs, and how much of it moves while a run begins.

By hand, beside a server whose model is loaded: python -m tests.vitals http://127.0.0.1:7860
"""

from __future__ import annotations

import sys

from tests.browser import chromium

SIZES = ((1280, 900), (390, 844))
WATCH = """window.moved = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.moved += entry.value;
}).observe({type: 'layout-shift', buffered: true});"""
SETTLED, RUN = 4_000, 15_000
"""Milliseconds until a page has settled, and that a run is watched."""


def main(address: str) -> None:
    """Print one line a size: first contentful paint in ms, kB that came over the wire, layout shift of a run."""
    with chromium() as browser:
        for width, height in SIZES:
            context = browser.new_context(viewport={"width": width, "height": height})
            page = context.new_page()
            network, came = context.new_cdp_session(page), []
            network.send("Network.enable")
            network.on("Network.loadingFinished", lambda event, came=came: came.append(event["encodedDataLength"]))
            page.add_init_script(WATCH)
            page.goto(address)
            page.locator(".lane").last.wait_for(timeout=60_000)
            page.wait_for_timeout(SETTLED)
            paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            weight, before = sum(came) / 1000, page.evaluate("window.moved")
            page.locator("#prompt textarea").fill("How can I pick a good book?")
            page.keyboard.press("Control+Enter")
            page.locator(".lane .state.writing").first.wait_for(timeout=60_000)
            page.wait_for_timeout(RUN)
            moved = page.evaluate("window.moved") - before
            print(f"{width} × {height}: paint {paint:.0f} ms, {weight:.0f} kB, a run moves {moved:.3f}", flush=True)
            context.close()


if __name__ == "__main__":
    main(sys.argv[1])
