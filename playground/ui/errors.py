"""Error sentences on their way to the browser, where toasts are drawn as HTML: the one place that escapes them."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable

import gradio as gr

from playground.errors import UserError


def in_words(function: Callable, escape: bool = True) -> Callable:
    """Let a UserError of an event handler (plain or generator) appear as its sentence; without `escape` for clients
    of the API, who read text."""

    def told(error: UserError) -> gr.Error:
        sentence = html.escape(str(error)) if escape else str(error)
        return gr.Error(sentence, title="Please check", duration=12, print_exception=False)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            try:
                yield from function(*args, **kwargs)
            except UserError as error:
                raise told(error) from None
    else:

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except UserError as error:
                raise told(error) from None

    return wrapped
