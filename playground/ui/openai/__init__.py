"""The interface of OpenAI's API beside the page, under /v1: `asked` reads what a client wants as runs, `told` writes
lanes as its answers, `routes` is in between. It runs nothing by itself: everything goes through the service."""

from playground.ui.openai.routes import serve_openai

__all__ = ["serve_openai"]
