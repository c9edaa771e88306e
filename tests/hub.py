"""A stand-in for the Hub: data sets behind the addresses that huggingface_hub asks, which can fail on demand."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40
MISHAPS = ("refuse", "drop", "lose")
"""What may happen to a commit: 503 is answered; the connection breaks before the work, or after it, so that the answer
is lost."""


class StandInHub:
    """Serves at `address` until it is closed. `files`: path → content, of one private data set."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.mishaps: list[str] = []
        """What happens to the next commits, in this order; empty for nothing, "hang:SECONDS" as well."""
        self.share = 0.0
        """The share of commits that meet a mishap by chance."""
        self.down = False
        self.commits = self.squashed = 0
        self.tokens: set[str | None] = set()
        self.made: dict[str, Any] | None = None
        self.lock, self.rng = threading.Lock(), random.Random(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def mishap(self) -> str:
        with self.lock:
            if self.mishaps:
                return self.mishaps.pop(0)
            return self.rng.choice(MISHAPS) if self.rng.random() < self.share else ""

    def commit(self, operations: list[dict[str, Any]]) -> bool:
        """All or nothing; whether it was done."""
        with self.lock:
            gone = [o["value"]["path"] for o in operations if o["key"] == "deletedFile"]
            if not set(gone) <= set(self.files):
                return False
            for path in gone:
                del self.files[path]
            for operation in operations:
                if operation["key"] == "file":
                    self.files[operation["value"]["path"]] = base64.b64decode(operation["value"]["content"])
            self.commits += 1
            return True


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.hub.tokens.add(self.headers.get("authorization"))
        if self.hub.down:
            self._answer({"error": "the Hub is down"}, 503)
        elif self.path == "/api/repos/create":
            self.hub.made = self.hub.made or json.loads(body)
            self._answer({"url": f"{self.hub.address}/datasets/someone/votes"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            self._answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        elif "/super-squash/" in self.path:
            self.hub.squashed += 1
            self._answer({})
        elif "/commit/" in self.path:
            mishap = self._met()
            if mishap in ("refuse", "drop"):
                return
            if not self.hub.commit([json.loads(line) for line in body.splitlines()]):
                self._answer({"error": "A file with this name doesn't exist"}, 404)
            elif mishap == "lose":
                self._drop()
            else:
                self._answer(
                    {"commitUrl": f"{self.hub.address}/datasets/someone/votes/commit/{COMMIT}", "commitOid": COMMIT}
                )

    def do_GET(self) -> None:
        self._get()

    def do_HEAD(self) -> None:
        self._get()

    def _get(self) -> None:
        if self.hub.down:
            self._answer({"error": "the Hub is down"}, 503)
        elif "/tree/" in self.path:
            files = sorted(self.hub.files.items())
            self._answer([{"type": "file", "path": p, "size": len(c), "oid": "0" * 40} for p, c in files])
        elif found := re.search(r"/resolve/[^/]+/(.+)$", self.path):
            content = self.hub.files.get(found[1])
            if content is None:
                self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            else:
                etag = hashlib.sha1(content).hexdigest()
                self._send(content, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
        else:
            self._answer({"sha": COMMIT, "id": "someone/votes", "private": True, "siblings": []})

    def _met(self) -> str:
        """What goes wrong with this commit; but for "lose", the request is over then."""
        mishap = self.hub.mishap()
        if mishap == "refuse":
            self._answer({"error": "the Hub is busy"}, 503)
        elif mishap == "drop":
            self._drop()
        elif mishap.startswith("hang"):
            threading.Event().wait(float(mishap.partition(":")[2]))
            self._drop()
            return "drop"
        return mishap

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
