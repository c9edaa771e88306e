"""A Chromium to drive: installed on the machine, or Playwright's own (see the Makefile)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def installed() -> str | None:
    """The path of a browser of this machine, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that is closed at the end."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=installed(), args=list(_QUIET))
        yield browser
        browser.close()


def run_beside(coroutine: Coroutine) -> Any:
    """What a coroutine returns, run in a thread of its own: the driver's loop may run in this one."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(asyncio.run, coroutine).result()
