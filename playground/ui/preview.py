"""How a link to the page looks where it is shared: title, text and picture. Gradio's page names Gradio there, in fixed
words; a run's own address says its prompt."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import quote

from gradio import routes
from gradio.route_utils import get_root_url
from gradio.routes import App, FileResponse
from jinja2 import ChoiceLoader, DictLoader

CARD = Path(__file__).parent / "card.png"
"""Made by docs/pictures.py."""
SIZE = 1200, 630
_PAGE = "frontend/index.html"
_LONGEST = 110
"""Characters of a prompt in a title."""
_TAGS = """
		<title>{{ preview(request).title }}</title>
		<meta property="og:type" content="website" />
		<meta property="og:site_name" content="{{ preview(request).site }}" />
		<meta property="og:title" content="{{ preview(request).title }}" />
		<meta property="og:description" content="{{ preview(request).text }}" />
		<meta property="og:url" content="{{ preview(request).url }}" />
		<meta property="og:image" content="{{ preview(request).picture }}" />
		<meta property="og:image:width" content="WIDTH" />
		<meta property="og:image:height" content="HEIGHT" />
		<meta property="og:image:alt" content="{{ preview(request).alt }}" />
		<meta name="description" content="{{ preview(request).text }}" />
		<meta name="twitter:card" content="summary_large_image" />
		<meta name="twitter:title" content="{{ preview(request).title }}" />
		<meta name="twitter:description" content="{{ preview(request).text }}" />
		<meta name="twitter:image" content="{{ preview(request).picture }}" />
"""
"""Jinja escapes what stands in them: a prompt may be anything."""


@dataclass(frozen=True)
class Preview:
    """What a link says. `url` and `picture` are absolute."""

    site: str
    title: str
    text: str
    url: str
    picture: str
    alt: str = "Two answers to one prompt, side by side, and the dial that turns one into the other"


def preview_of(
    request: Any, site: str, text: str, prompt_of: Callable[[str], str | None], address: str = ""
) -> Preview:
    """request: Starlette's. prompt_of: run id → its prompt, or None. address: where people find this server, if it
    knows; else it is where this request found it, whose host the guard has let in."""
    root = (address or get_root_url(request, "/", None)).rstrip("/")
    run_id = request.query_params.get("run", "")
    prompt = prompt_of(run_id) if run_id else None
    if prompt is None:
        return Preview(site, site, text, f"{root}/", f"{root}/{CARD.name}")
    title = f"{shorten(prompt, _LONGEST, placeholder='…') or '…'} · {site}"
    return Preview(site, title, text, f"{root}/?run={quote(run_id, safe='')}", f"{root}/{CARD.name}")


def describe(preview: Callable[[Any], Preview]) -> None:
    """Put these tags in place of Gradio's, in every page that is served from now on."""
    templates = routes.templates.env
    source, _, _ = templates.loader.get_source(templates, _PAGE)
    source = re.sub(r'<meta\s+(?:name|property)="(?:og|twitter):[^>]*>\s*', "", source)
    width, height = SIZE
    tags = _TAGS.replace("WIDTH", str(width)).replace("HEIGHT", str(height))
    templates.globals["preview"] = preview
    # In front: some who read this stop before the page's own data, which is long.
    source = source.replace("<head>", f"<head>{tags}", 1)
    templates.loader = ChoiceLoader([DictLoader({_PAGE: source}), templates.loader])


def serve_card(app: App) -> None:
    """Serve the picture, before Gradio's routes, one of which takes every name."""
    app.add_api_route(f"/{CARD.name}", lambda: FileResponse(CARD, headers={"cache-control": "max-age=86400"}))
    app.router.routes.insert(0, app.router.routes.pop())
