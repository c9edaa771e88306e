"""How a link to the page looks where it is shared. Gradio's page names Gradio there, in fixed words."""

from __future__ import annotations

import html
import re

from gradio import routes
from jinja2 import ChoiceLoader, DictLoader

_PAGE = "frontend/index.html"


def describe(title: str, text: str) -> None:
    """Put title and text in place of Gradio's, and take its picture out, in every page that is served from now on."""
    templates = routes.templates.env
    source, _, _ = templates.loader.get_source(templates, _PAGE)
    for name, value in (("title", title), ("description", text)):
        content = f'content="{html.escape(value)}"'
        source = re.sub(rf'(="(?:og|twitter):{name}"\s+)content="[^"]*"', lambda found: found[1] + content, source)
    source = re.sub(r'<meta\s+(?:name|property)="(?:og|twitter):(?:image|url|creator)"[^>]*>\s*', "", source)
    templates.loader = ChoiceLoader([DictLoader({_PAGE: source}), templates.loader])
