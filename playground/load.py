"""Many people at once, as `bench load` sends them: over HTTP, by the API and by the page, to a server process of its
own. A person on the page sends what a browser sends and reads what a browser reads, but draws nothing: thirty browsers
would take the two cores that are measured.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from playground.errors import UserError
from playground.settings import ROOT

PATIENCE = 600
"""Seconds after which an answer that does not come is an error."""
_START = 300


class Server:
    """app.py as a process. `gib`: its resident memory now; `peak_gib`: the most that was seen."""

    def __init__(self, process: subprocess.Popen, address: str):
        self.address = address
        self._process = psutil.Process(process.pid)
        self.peak_gib = 0.0

    @property
    def gib(self) -> float:
        now = self._process.memory_info().rss / 2**30
        self.peak_gib = max(self.peak_gib, now)
        return now

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/config", timeout=10):
                return True
        except OSError:
            return False


@contextmanager
def server() -> Iterator[Server]:
    """A server with a new database that believes the address that its proxy (whoever measures) tells it. Raises
    UserError if it does not come up."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "PLAYGROUND_PROXIES": "1"}
        env |= {"PLAYGROUND_DATABASE": str(Path(folder) / "bench.db")}
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, **quiet)
        try:
            found = Server(process, f"http://127.0.0.1:{port}")
            began = time.monotonic()
            while not found.is_up():
                if process.poll() is not None or time.monotonic() - began > _START:
                    raise UserError(f"The server did not come up within {_START} seconds; start app.py to see why.")
                time.sleep(0.5)

            def watch() -> None:
                while not over.wait(0.2) and process.poll() is None:
                    _ = found.gib

            threading.Thread(target=watch, daemon=True).start()
            yield found
        finally:
            over.set()
            process.terminate()
            process.wait()


@dataclass(frozen=True)
class Answer:
    """tokens: of the first lane; first: seconds until its first token was there, None where only the whole is told;
    seconds: until all was there."""

    tokens: int
    first: float | None
    seconds: float


class Person:
    """Somebody with an address and a session of their own. Errors of the server are raised as RuntimeError."""

    def __init__(self, server: Server, number: int):
        self.address = server.address
        self.session = f"person{number}-{secrets.token_hex(4)}"
        self._headers = {
            "content-type": "application/json",
            "x-forwarded-for": f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        }

    def ask(self, prompt: str, lanes: list[str], tokens: int) -> Answer:
        """Run lanes by the API's /compare."""
        began = time.perf_counter()
        with self.asking(prompt, lanes, tokens) as stream:
            told = dict(line.decode().rstrip("\n").partition(": ")[::2] for line in stream if b": " in line)
        if told.get("event") != "complete":
            raise RuntimeError(f"/compare was not completed: {told}")
        lane = json.loads(told["data"])[0]["lanes"][0]
        return Answer(len(lane["token_ids"]), None, time.perf_counter() - began)

    @contextmanager
    def asking(self, prompt: str, lanes: list[str], tokens: int) -> Iterator[Any]:
        """The stream of a run by the API; who leaves it ends the run."""
        asked = {"data": [prompt, lanes, 0, tokens]}
        event = self._send("/gradio_api/call/compare", asked)["event_id"]
        with self._open(f"/gradio_api/call/compare/{event}") as stream:
            yield stream

    def chat(self, prompt: str, model: str, tokens: int) -> Answer:
        """Ask /v1 for a stream. Of its tokens those pieces are counted that hold text."""
        began, first, pieces = time.perf_counter(), None, 0
        asked = {"model": model, "prompt": prompt, "max_tokens": tokens, "seed": 0, "stream": True}
        with self._open("/v1/completions", asked) as stream:
            for line in stream:
                told = json.loads(line[6:]) if line.startswith(b"data: {") else {}
                if "error" in told:
                    raise RuntimeError(f"/v1 was not completed: {told['error']}")
                if any(choice["text"] for choice in told.get("choices", ())):
                    first, pieces = first or time.perf_counter() - began, pieces + 1
        return Answer(pieces, first, time.perf_counter() - began)

    def open_page(self) -> None:
        """Open the page and leave one lane, a greedy one: the first of the two that it begins with."""
        config = self._send("/config")
        self._values = {c["id"]: c["props"].get("value") for c in config["components"]}
        self._ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
        drawing = next(d for d in config["dependencies"] if d["targets"][0][1] == "load" and len(d["targets"]) > 1)
        self._draw(drawing)
        second = [c["id"] for c in self._drawn["components"] if c["props"].get("value") == "Remove"][1]
        for _ in self._event(self._on(second)):
            pass
        self._draw(drawing)

    def run(self, prompt: str, tokens: int) -> Answer:
        """Press Run on the page, and read it to the end."""
        self._values |= {self._ids["prompt"]: prompt, self._ids["length"]: tokens}
        began, first, board = time.perf_counter(), None, None
        for message in self._event(self._on(self._ids["run"])):
            if first is None and _has_tokens(message["output"]["data"][0]):
                first = time.perf_counter() - began
            board = message["output"]["data"][0]
        [lane] = board["lanes"]
        if lane["status"] != "done":
            raise RuntimeError(f"the lane is {lane['status']}: {lane['error']}")
        return Answer(len(lane["pieces"]), first, time.perf_counter() - began)

    def _draw(self, drawing: dict[str, Any]) -> None:
        """Have the lanes' controls drawn, as the page does when they change."""
        *_, last = self._event(drawing)
        self._drawn = last["output"]["render_config"]
        self._values |= {c["id"]: c["props"].get("value") for c in self._drawn["components"]}

    def _on(self, component: int) -> dict[str, Any]:
        """What a click on a component begins."""
        return next(d for d in self._drawn["dependencies"] if [component, "click"] in d["targets"])

    def _event(self, dependency: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The messages with output of an event, until it is completed."""
        data = [self._values.get(component) for component in dependency["inputs"]]
        asked = {"data": data, "fn_index": dependency["id"], "session_hash": self.session}
        event = self._send("/gradio_api/queue/join", asked)["event_id"]
        with self._open(f"/gradio_api/queue/data?session_hash={self.session}") as stream:
            for line in stream:
                message = json.loads(line[5:]) if line.startswith(b"data:") else {}
                if message.get("event_id") != event or not message.get("output"):
                    continue
                if not message["success"]:
                    raise RuntimeError(f"the page was told: {message['output']}")
                yield message
                if message["msg"] == "process_completed":
                    return

    def _send(self, path: str, body: Any = None) -> Any:
        with self._open(path, body) as answer:
            return json.load(answer)

    def _open(self, path: str, body: Any = None):
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.address + path, data, self._headers)
        return urllib.request.urlopen(asked, timeout=PATIENCE)


def _has_tokens(board: Any) -> bool:
    """Whether the first lane has a token in what the board is told: a whole board, or what has changed of one."""
    if isinstance(board, dict):
        return any(lane["pieces"] for lane in board.get("lanes", ())[:1])
    return any(path[:3] == ["lanes", 0, "pieces"] for _, path, _ in board)
