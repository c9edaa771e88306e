"""What stands before the page: which hosts, origins and bodies are served, what browsers are told, and who still
reads."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import re
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from gradio.routes import HTTPException
from starlette.requests import ClientDisconnect, Request

from playground.errors import UserError
from playground.service.crowd import UNREAD_SECONDS
from playground.ui.openai import errors as openai
from playground.ui.sessions import AGENT

_OWN = ("localhost", "127.0.0.1", "::1")
_STREAM = re.compile(r"/gradio_api/(?:queue/data|call/[^/]+/(?P<event>[^/]+))/?$")
_DIRECT = re.compile(r"/gradio_api/(?:run|api)/")
"""Where Gradio answers with status 500 for every error, also for a sentence on bad input."""
_AGENTS = "/gradio_api/mcp"
_REMEMBERED = 10_000
_LONGEST_PART = 255
"""Bytes between two slashes that a file system looks up."""
_UPLOAD = re.compile(r"/gradio_api/upload/?$")
LARGEST_BODY, LARGEST_UPLOAD = 1 << 20, 16 << 20
"""Bytes of a body, which stays in memory until it is whole, and of one that is files."""
BODY_SECONDS = 30.0
"""In which a body must be there."""
_UNSENT = 16 << 10
"""Bytes of an answer that the system may hold for a client that is not ready for them."""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "media-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self' {}"
)
"""Gradio writes scripts into its page and compiles those of its own components, so these are allowed; none from
elsewhere is, and nothing can be sent elsewhere."""


def hold_little(listening: Iterable[socket.socket]) -> None:
    """Let connections that these sockets accept tell soon when their client takes nothing: the system would hold
    megabytes for it, and a whole stream be sent that nobody reads. What is on its way is not limited."""
    if unsent := getattr(socket, "TCP_NOTSENT_LOWAT", None):  # not everywhere
        for one in listening:
            one.setsockopt(socket.IPPROTO_TCP, unsent, _UNSENT)


class Guard:
    """An ASGI application around the page's own."""

    def __init__(
        self,
        app: Any,
        page: gr.Blocks,
        host: str,
        hosts: Iterable[str] = (),
        frames: Iterable[str] = (),
        check_upload: Callable[[gr.Request, int], None] = lambda request, size: None,
    ):
        """host: the address listened on; hosts: further names of this server; frames: sites that may frame it;
        check_upload: raises UserError for an upload, of this size, that is too much."""
        self.app, self.page, self.check_upload = app, page, check_upload
        self.names = {name.lower() for name in (*_OWN, host, *hosts) if name}
        policy = _POLICY.format(" ".join(frames)).strip()
        self._told = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
        ]
        self._open: Counter[str] = Counter()
        self._closed: dict[str, float] = {}
        self._agents: set[bytes] = set()
        """The names of agents' calls under way, as they stand in the header."""

    def unread_since(self, session: str) -> float | None:
        """See `Crowd`."""
        return None if self._open[session] else self._closed.get(session, 0.0)

    @contextmanager
    def reading(self, session: str) -> Iterator[None]:
        """Somebody reads what this session is sent."""
        self._open[session] += 1
        try:
            yield
        finally:
            self._open[session] -= 1
            if not self._open[session]:
                del self._open[session]
                self._closed[session] = time.monotonic()
                while len(self._closed) > _REMEMBERED:
                    self._closed.pop(next(iter(self._closed)))

    @contextmanager
    def _known(self, agents: Iterable[bytes]) -> Iterator[None]:
        """These agents' calls are under way."""
        names = set(agents)
        self._agents |= names
        try:
            yield
        finally:
            self._agents -= names

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        host = _name(headers.get(b"host", b"").decode("latin-1"))
        if not self._serves(host):
            sentence = f"This server is not {host or 'without a name'}; PLAYGROUND_HOSTS names its hosts."
            await _refuse(send, scope["path"], 421, sentence)
            return
        if wrong := _wrong_with_path(scope["path"]):
            await _refuse(send, scope["path"], 400, f"This address cannot be read: {wrong}.")
            return
        dropped = set()
        if (origin := headers.get(b"origin")) is not None and not self._trusts(origin.decode("latin-1"), host):
            if scope["method"] not in ("GET", "HEAD", "OPTIONS"):
                sentence = "A page of another site may not do this; PLAYGROUND_HOSTS names trusted ones."
                await _refuse(send, scope["path"], 403, sentence)
                return
            dropped.add(b"origin")  # so that no answer names it as allowed
        if _name(headers.get(b"x-forwarded-host", b"").decode("latin-1")) not in self.names:
            dropped.add(b"x-forwarded-host")  # else Gradio copies it into the page
        agent, named = None, ()
        if scope["path"].startswith(_AGENTS):
            agent = secrets.token_hex(16)
            named = ((AGENT.encode(), f"{agent} {(scope.get('client') or ('',))[0]}".encode()),)
        if agent or headers.get(AGENT.encode()) not in self._agents:
            dropped.add(AGENT.encode())  # nobody may invent one
        scope = scope | {"headers": [*(pair for pair in scope["headers"] if pair[0] not in dropped), *named]}

        stalled = flows = False

        async def told(message: dict[str, Any]) -> None:
            nonlocal stalled, flows
            if message["type"] == "http.response.start":
                flows = dict(message.get("headers", ())).get(b"content-type", b"").startswith(b"text/event-stream")
                message = message | {"headers": [*message.get("headers", ()), *self._told]}
                if message["status"] == 500 and _DIRECT.match(scope["path"]):
                    message["status"] = 422
            try:
                async with asyncio.timeout(UNREAD_SECONDS if flows else None):
                    await send(message)
            except TimeoutError:
                stalled = True  # connected, but takes nothing
                raise

        files = headers.get(b"content-type", b"").startswith(b"multipart/") and _UPLOAD.match(scope["path"])
        if scope["method"] == "POST" and files:
            if wrong := self._wrong_with_upload(scope, headers.get(b"content-length", b"")):
                await _refuse(send, scope["path"], 413, wrong)
                return
        elif scope["method"] == "POST":
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    body = await _whole(receive)
            except TimeoutError:
                await _refuse(send, scope["path"], 408, "The body of this request did not come in time.")
                return
            if body is None:
                return  # the client went away
            if wrong := _wrong_with(body):
                await _refuse(send, scope["path"], 400, f"The body of this request cannot be read: {wrong}.")
                return
            receive = _again(body, receive)

        session = agent or self._session_read(scope)
        with nullcontext() if session is None else self.reading(session), self._known(name for _, name in named):
            try:
                await self.app(scope, receive, told)
            except (TimeoutError, ClientDisconnect):
                if not stalled:
                    raise
            except RuntimeError as error:
                if session is None or not isinstance(error.__cause__, HTTPException):
                    raise
                # A session that is unknown: Gradio tells it in the stream, and then raises although it has answered.
                await send({"type": "http.response.body", "body": b""})

    def _wrong_with_upload(self, scope: dict[str, Any], size: bytes) -> str | None:
        """Why files may not be uploaded, or None. Their number is not limited, and Gradio limits each alone."""
        if not size.isdigit():
            return "An upload must tell its size (Content-Length)."
        if int(size) > LARGEST_UPLOAD:
            return f"These files are larger than {LARGEST_UPLOAD >> 20} MiB."
        try:
            self.check_upload(gr.Request(Request(scope)), int(size))
        except UserError as error:
            return str(error)
        return None

    def _serves(self, host: str) -> bool:
        """A name must be known: a site may let its own name point here. Numbers cannot be borrowed."""
        return "*" in self.names or host in self.names or _is_number(host)

    def _trusts(self, origin: str, host: str) -> bool:
        name = _name(origin.partition("://")[2])
        return "*" in self.names or name in self.names or (bool(name) and name == host)

    def _session_read(self, scope: dict[str, Any]) -> str | None:
        """The session whose stream is read by this request, or None."""
        found = _STREAM.search(scope["path"])
        if scope["method"] != "GET" or not found:
            return None
        if event := found["event"]:
            known = self.page._queue.event_ids_to_events.get(event)
            return known.session_hash if known else event
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return asked.get("session_hash", [None])[0]


def _name(host: str) -> str:
    """A host without its port, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wrong_with_path(path: str) -> str | None:
    """Why a path is none that Gradio can look up, or None."""
    if max(len(part.encode("utf-8", "replace")) for part in path.split("/")) > _LONGEST_PART:
        return f"a part of it is longer than {_LONGEST_PART} bytes"
    return "it holds a control character" if any(ord(letter) < 32 for letter in path) else None


async def _whole(receive: Any) -> bytes | None:
    """The body of a request, or the beginning of one that is too large; None if it is cut off."""
    body = b""
    while len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _wrong_with(body: bytes) -> str | None:
    """Why a body is no JSON that can be answered, or None. Gradio takes what cannot be written into an answer, too."""
    if len(body) > LARGEST_BODY:
        return f"it is larger than {LARGEST_BODY >> 20} MiB"
    try:
        told = json.loads(body or b"{}", parse_constant=_none_such, parse_float=_finite)
        if b"\\u" in body:
            json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "it holds half a character (a lone surrogate)"
    except (ValueError, RecursionError):
        return "it is no JSON with finite numbers, or too deep"
    return None if isinstance(told, dict) else "it is no JSON object"


def _none_such(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is too large")
    return number


def _again(body: bytes, receive: Any) -> Any:
    """A `receive` that hands a body out again that was read."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> dict[str, Any]:
        return left.pop() if left else await receive()

    return received


async def _refuse(send: Any, path: str, status: int, sentence: str) -> None:
    kind = b"text/plain; charset=utf-8"
    if path.startswith(f"{openai.PREFIX}/"):
        kind, sentence = b"application/json", json.dumps(openai.body_of(sentence, status))
    headers = [(b"content-type", kind), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode("utf-8", "replace")})
