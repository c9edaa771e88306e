"""Error sentences on their way to the browser, where toasts are drawn as HTML: the one place that escapes them."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable

import gradio as gr

from playground.errors import UserError


def in_words(function: Callable) -> Callable:
    """Let a UserError of an event handler (plain or generator) appear on the page as its sentence."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            try:
                yield from function(*args, **kwargs)
            except UserError as error:
                raise gr.Error(
                    html.escape(str(error)), title="Please check", duration=12, print_exception=False
                ) from None
    else:

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except UserError as error:
                raise gr.Error(
                    html.escape(str(error)), title="Please check", duration=12, print_exception=False
                ) from None

    return wrapped
