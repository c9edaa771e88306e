"""The endpoints under /v1: who may ask, runs begun in the one line of all people, answers whole or as a stream."""

from __future__ import annotations

import asyncio
import functools
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.routes import App, JSONResponse, Response, StreamingResponse

from playground.decoders import DECODERS, decoder
from playground.errors import UserError, shown
from playground.record import LaneRecord, RunRecord
from playground.requests import RunRequest
from playground.service import Person, Playground, Run, size_of
from playground.ui.openai import told
from playground.ui.openai.asked import Asked, ChatBody, CompletionBody, lane_of, read
from playground.ui.openai.errors import PREFIX, Refused, status_and_body
from playground.ui.sessions import person_of

UPDATE_SECONDS = 0.02
"""Time between two pieces of a stream, at least."""
LOOK_SECONDS = 1.0
"""How often at least a client is looked after, when nothing happens."""
KEEP_ALIVE_SECONDS = 5.0
"""A stream in which nothing is written says so often that it is still there."""
_KEEP_ALIVE = ": still at work\n\n"
_CLIENT_IS_GONE = 499
"""The status of an answer that nobody reads."""
_LACKS = {"info": {"meta": {"capabilities": {"builtin_tools": False, "vision": False}}}}
"""What no model here can do, where Open WebUI looks for it: else it sends tools with every message."""
Form = type[told.Chat] | type[told.Completion]


def serve_openai(app: App, playground: Playground, reading: Callable[[str], AbstractContextManager[None]]) -> None:
    """Serve the endpoints, before Gradio's routes, one of which takes every name. reading: says that somebody reads
    what a session is sent."""
    api = _Api(playground, reading)
    before = len(app.router.routes)
    for path, method, answer in (
        ("/models", "GET", api.models),
        ("/models/{model:path}", "GET", api.model),
        ("/chat/completions", "POST", functools.partial(api.complete, told.Chat, ChatBody)),
        ("/completions", "POST", functools.partial(api.complete, told.Completion, CompletionBody)),
        ("/{rest:path}", None, api.nothing),
    ):
        methods = [method] if method else ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        app.add_route(f"{PREFIX}{path}", api.guarded(answer), methods=methods, include_in_schema=False)
    added = app.router.routes[before:]
    app.router.routes[:] = [*added, *app.router.routes[:before]]


@dataclass
class _Choice:
    """One answer of several. streams: whether it is sent while it is written. opened, sent, counted, closed: what the
    client has of it: its opening, so many characters, the log-probabilities of so many tokens, its end."""

    number: int
    request: RunRequest
    streams: bool
    run: Run | None = None
    error: Exception | None = None
    over: bool = False
    opened: bool = False
    sent: int = 0
    counted: int = 0
    closed: bool = False

    def result(self) -> RunRecord:
        """Of a run that is over. Raises UserError if its lane failed."""
        [lane] = self.run.lanes
        if lane.error:
            raise Refused(lane.error, 400 if isinstance(lane.failure, UserError) else 500)
        return self.run.result()

    def text(self) -> tuple[LaneRecord, str]:
        """Its lane, and as much of the text as stands for good."""
        if self.over:
            [lane] = self.result()["lanes"]
            return lane, lane["text"]
        [lane] = self.run.result()["lanes"]
        return lane, told.settled(lane, list(self.request.stop))


def _only_adds(request: RunRequest) -> bool:
    """Whether what its lane has written stays, so that it may be sent at once."""
    [lane] = request.lanes
    known = decoder(lane.method)
    return known.by_token and not known.abstains and lane.options.branches == 1


class _Api:
    def __init__(self, playground: Playground, reading: Callable[[str], AbstractContextManager[None]]):
        self.playground, self.reading = playground, reading
        self.since = int(time.time())

    def guarded(self, answer: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        """Only for those who may, and with errors in the form of this interface."""

        async def guarded(request: Any) -> Response:
            try:
                self._check_key(request)
                return await answer(request)
            except Exception as error:
                status, body = status_and_body(error)
                return JSONResponse(body, status)

        return guarded

    def _check_key(self, request: Any) -> None:
        settings = self.playground.settings
        if settings.api_key is None:
            if settings.public:
                raise Refused(
                    f"This server is public and has no key for {PREFIX}; its owner sets PLAYGROUND_API_KEY.", 403
                )
            return
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), settings.api_key.encode()):
            raise Refused(
                "The key is missing or wrong; send the one in PLAYGROUND_API_KEY as Authorization: Bearer KEY.",
                401,
                code="invalid_api_key",
            )

    async def nothing(self, request: Any) -> Response:
        """For all other addresses."""
        raise Refused(
            f"{request.method} {shown(request.url.path)} is not offered; there are GET {PREFIX}/models, POST "
            f"{PREFIX}/chat/completions and POST {PREFIX}/completions.",
            404,
        )

    async def models(self, request: Any) -> Response:
        """All methods with their defaults, then all models that may write."""
        self.playground.memory.discover()
        methods = [self._told(name) for name in DECODERS]
        return JSONResponse({"object": "list", "data": [*methods, *map(self._told, self.playground.catalogue.writers)]})

    async def model(self, request: Any) -> Response:
        """One of them, or any lane or mixture that can be written."""
        name = request.path_params["model"]
        lane_of(CompletionBody(model=name, prompt=name), self.playground.catalogue)
        return JSONResponse(self._told(name))

    def _told(self, name: str) -> dict[str, Any]:
        model = {"id": name, "object": "model", "created": self.since, "owned_by": "realign-playground", **_LACKS}
        if known := DECODERS.get(name):
            return model | {
                "name": known.title,
                "description": known.summary,
                "options": known.options().model_dump(mode="json"),
            }
        written = self.playground.catalogue.writers.get(name)
        return model | ({"name": written.title} if written else {})

    async def complete(self, form: Form, kind: type, request: Any) -> Response:
        """Answer a prompt, whole or as a stream."""
        try:
            body = json.loads(await request.body())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise Refused("The body of this request is no JSON object.")
        self.playground.memory.discover()
        asked = read(body, kind, self.playground.catalogue)
        person = person_of(self.playground, gr.Request(request, session_hash=secrets.token_hex(16)))
        answer = _Answer(form, asked, f"{form.prefix}-{secrets.token_hex(12)}")
        at_work = self._written(answer.choices, person)
        if not asked.stream:
            async with aclosing(at_work):
                async for _ in at_work:
                    if await request.is_disconnected():
                        return Response(status_code=_CLIENT_IS_GONE)
            return JSONResponse(answer.whole())
        pieces = answer.stream(at_work)
        try:
            first = await anext(pieces)  # so that what is wrong at the beginning has its own status
        except Exception:
            await at_work.aclose()
            raise
        return _Stream(first, pieces, at_work)

    async def _written(self, choices: list[_Choice], person: Person) -> AsyncIterator[None]:
        """Begin all choices when it is their turn, and yield whenever one of them may have grown, until all are over.
        Left earlier, they are stopped. Raises UserError if one cannot begin."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()
        lanes, tokens = size_of(choices[0].request)

        def note() -> None:
            with suppress(RuntimeError):  # the server ends
                loop.call_soon_threadsafe(changed.set)

        def write(choice: _Choice) -> None:
            try:
                ticket.wait()
                if ticket.stopped:
                    raise Refused("This run was stopped before it began.", 503)
                choice.run = ticket.hold(self.playground.start(choice.request, owner=person))
                note()
                if choice.streams:
                    for _ in choice.run.watch(lambda: UPDATE_SECONDS):
                        note()
                choice.run.wait()
            except Exception as error:
                choice.error = error
            choice.over = True
            note()

        entered = self.playground.crowd.enter(person, lanes * len(choices), tokens * len(choices))
        with self.reading(person.session), entered as ticket:
            writers = ThreadPoolExecutor(len(choices))
            for choice in choices:
                writers.submit(write, choice)
            writers.shutdown(wait=False)
            over = False
            while not over:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), LOOK_SECONDS)
                changed.clear()
                over = all(choice.over for choice in choices)
                for choice in choices:
                    if choice.error:
                        raise choice.error
                yield


class _Answer:
    """What a client is told of its choices."""

    def __init__(self, form: Form, asked: Asked, name: str):
        self.form, self.asked, self.id, self.created = form, asked, name, int(time.time())
        self.choices = [
            _Choice(number, request, asked.stream and _only_adds(request)) for number, request in enumerate(asked.runs)
        ]

    def whole(self) -> dict[str, Any]:
        """All of it."""
        runs = [choice.result() for choice in self.choices]
        return self._object(self.form.whole) | {
            "choices": [
                {"index": number, **self.form.written(run["lanes"][0]["text"]), **self._logprobs(run)}
                | told.ending(run)
                for number, run in enumerate(runs)
            ],
            "usage": self._usage(runs),
        }

    async def stream(self, at_work: AsyncIterator[None]) -> AsyncIterator[str]:
        """Events, the last of them [DONE]. Raises UserError for what goes wrong before the first one; later it is an
        event."""
        said = time.monotonic()
        begun = False
        try:
            async for _ in at_work:
                for piece in self._grown():
                    begun, said = True, time.monotonic()
                    yield piece
                if time.monotonic() - said > KEEP_ALIVE_SECONDS:
                    begun, said = True, time.monotonic()
                    yield _KEEP_ALIVE
            if self.asked.include_usage:
                runs = [choice.result() for choice in self.choices]
                yield self._event({"choices": [], "usage": self._usage(runs)})
            yield "data: [DONE]\n\n"
        except Exception as error:
            if not begun:
                raise
            yield f"data: {json.dumps(status_and_body(error)[1])}\n\n"

    def _grown(self) -> list[str]:
        """What the client does not have yet."""
        pieces = []
        for choice in self.choices:
            if choice.run is None or choice.closed:
                continue
            if not choice.opened:
                choice.opened = True
                pieces.append(self._piece(choice, self.form.opening | {"finish_reason": None}))
            if not (choice.over or choice.streams):
                continue
            lane, text = choice.text()
            if len(text) > choice.sent:
                found = self._logprobs_of(lane, len(text), choice.counted)
                pieces.append(
                    self._piece(choice, self.form.grown(text[choice.sent :]) | found | {"finish_reason": None})
                )
                choice.sent, choice.counted = len(text), len(told.placed(lane, len(text)))
            if choice.over:
                choice.closed = True
                pieces.append(self._piece(choice, self.form.grown("") | told.ending(choice.result())))
        return pieces

    def _piece(self, choice: _Choice, what: dict[str, Any]) -> str:
        usage = {"usage": None} if self.asked.include_usage else {}
        return self._event({"choices": [{"index": choice.number, "logprobs": None} | what], **usage})

    def _event(self, what: dict[str, Any]) -> str:
        return f"data: {json.dumps(self._object(self.form.piece) | what)}\n\n"

    def _object(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.asked.model}

    def _logprobs(self, run: RunRecord) -> dict[str, Any]:
        [lane] = run["lanes"]
        return {"logprobs": None} | self._logprobs_of(lane, len(lane["text"]), 0)

    def _logprobs_of(self, lane: LaneRecord, length: int, first: int) -> dict[str, Any]:
        if self.asked.candidates is None:
            return {}
        return {"logprobs": self.form.logprobs(told.placed(lane, length)[first:], self.asked.candidates)}

    def _usage(self, runs: list[RunRecord]) -> dict[str, Any]:
        return told.usage(runs, self.choices[0].run.lanes[0].prompt_tokens)


class _Stream(StreamingResponse):
    """A stream that ends its runs when its client has gone."""

    def __init__(self, first: str, rest: AsyncIterator[str], at_work: AsyncIterator[None]):
        async def pieces() -> AsyncIterator[str]:
            yield first
            async for piece in rest:
                yield piece

        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}  # the latter for proxies
        super().__init__(pieces(), media_type="text/event-stream", headers=headers)
        self._at_work = at_work

    async def __call__(self, *args: Any) -> None:
        try:
            await super().__call__(*args)
        finally:
            await self._at_work.aclose()
