"""Answers in words to whatever is sent to the page: values of a wrong kind, events that are none, requests that
Gradio's own routes cannot read. What handlers raise is told by `in_words` (errors.py).
"""

from __future__ import annotations

import html
import inspect
import logging
from typing import Any

import gradio as gr
from gradio.blocks import BlockFunction
from gradio.route_utils import FnIndexInferError
from gradio.routes import PlainTextResponse

from playground.errors import shown

log = logging.getLogger(__name__)

CANNOT_BE_READ = (TypeError, ValueError, LookupError, AttributeError, RecursionError, FnIndexInferError)
"""What Gradio's routes raise for a request that they take for granted; its handlers never raise there."""


class Page(gr.Blocks):
    """Blocks whose events answer in words, whatever they are sent, and whose API endpoints may be called without the
    arguments that have defaults, by plain HTTP too."""

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        if block_fn.fn is None:
            raise gr.Error("This event is the browser's own; the server does nothing for it.", print_exception=False)
        wanted = [p for p in inspect.signature(block_fn.fn).parameters.values() if p.name != "request"]
        for parameter in wanted[len(inputs) : len(block_fn.inputs)]:
            if parameter.default is inspect.Parameter.empty:
                names = ", ".join(p.name for p in wanted)
                raise gr.Error(
                    f"{parameter.name} is missing; this takes, in this order: {names}.", print_exception=False
                )
            inputs.append(parameter.default)
        for component, value in zip(block_fn.inputs, inputs, strict=False):
            if isinstance(component, gr.Dataset) and not _is_sample(component, value):
                raise gr.Error(f"There is no example {shown(value)}.", print_exception=False)

    async def preprocess_data(self, *args: Any, **kwargs: Any) -> list[Any]:
        """What components make of the values sent."""
        try:
            return await super().preprocess_data(*args, **kwargs)
        except gr.Error as error:
            error.print_exception, error.message = False, html.escape(error.message)
            raise
        except Exception as error:
            log.info("a value was not understood: %s", error)
            raise gr.Error(
                "A value that was sent is not of the kind that is wanted there; reload the page.",
                print_exception=False,
            ) from None

    async def process_api(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """An event. What no handler has put in words is told in general ones; the log says what it was."""
        try:
            return await super().process_api(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            log.error("an event failed", exc_info=error)
            raise gr.Error("Something went wrong; the server's log says what.", print_exception=False) from None


def _is_sample(dataset: gr.Dataset, value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < len(dataset.samples or ())


async def cannot_be_read(request: Any, error: Exception) -> PlainTextResponse:
    """The answer to a request that one of Gradio's routes cannot read."""
    log.warning("%s %r was not understood: %r", request.method, request.url.path[:200], shown(str(error)))
    return PlainTextResponse("This request cannot be read; the page's /gradio_api/info tells what is wanted.", 400)
