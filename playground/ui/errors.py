"""Errors on their way to the browser, where toasts are drawn as HTML: the one place that makes sentences of them and
escapes these."""

from __future__ import annotations

import functools
import html
import inspect
import logging
from collections.abc import Callable
from typing import Any

import gradio as gr

from playground.errors import UserError

log = logging.getLogger(__name__)


def asked(event: gr.EventData) -> dict[str, Any]:
    """What the browser sent along with an event; it may send anything. Raises UserError for what is no object."""
    if not isinstance(event._data, dict):
        raise UserError("The page sent nothing that can be understood; reload it.")
    return event._data


def in_words(function: Callable, escape: bool = True) -> Callable:
    """Let a UserError of an event handler (plain or generator) appear as its sentence, and any other error as a general
    one; without `escape` for clients of the API, who read text."""

    def told(error: Exception) -> gr.Error:
        if isinstance(error, UserError):
            sentence = html.escape(str(error)) if escape else str(error)
            return gr.Error(sentence, title="Please check", duration=12, print_exception=False)
        log.error("an event handler failed", exc_info=error)
        return gr.Error("Something went wrong; the server's log says what.", duration=12, print_exception=False)

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            try:
                yield from function(*args, **kwargs)
            except Exception as error:
                raise told(error) from None
    else:

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            try:
                return function(*args, **kwargs)
            except Exception as error:
                raise told(error) from None

    return wrapped
