"""More than a thousand hostile inputs against a running server and the command line: none may print a traceback, be
answered by a 5xx or an error without words, or hang.

By hand: python -m tests.hostile --seed 0. It prints a table, and the inputs that were answered badly.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gzip
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from playground.cli import main as command_line
from playground.cli import parser
from playground.cli.page import all_commands
from playground.settings import ROOT
from playground.store.exchange import RECORDED
from tests.tiny import make_catalogue

PATIENCE = 60.0
"""Seconds after which an input hangs."""
KINDS = ("input", "traceback", "http 5xx", "error: null", "hang", "leak", "died")
DEEP: Any = 0
for _ in range(200):
    DEEP = [DEEP]
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 2**31, 2**63, -(2**70), 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", " ", "0", "\x00", "\ud800", "é" * 4, "a" * 70_000, "<script>alert(1)</script>", "../../etc/passwd", "%s%n"),
    *("greedy", "greedy:", "greedy:variant=", "best_of_n:n=1e9", "nobody:x=1", "sample:temperature=nan", "[", '["'),
    *([], {}, [None], [[]], [{}], {"": None}, {"method": None}, {"__type__": "update"}, {"path": "/etc/passwd"}, DEEP),
    *([0] * 2000, ["greedy"] * 7, [["Person", 1]], {"method": "greedy", "options": []}, {"a": {"b": {"c": []}}}),
)
VALID = {
    "compare": ["the fox", ["greedy"], 0, 4, "", [], [], True],
    "methods": [],
    "visitor": [],
    "battle": ["VISITOR", ""],
    "vote": ["VISITOR", "BATTLE", "a", [], ""],
}


class Hung(Exception):
    """An input that is not answered in time."""


class Table:
    """What came of the inputs, by family."""

    def __init__(self, log: Path):
        self.counts: dict[str, Counter[str]] = {}
        self.bad: list[str] = []
        self._log, self._read = log, 0

    def tried(self, family: str, what: str, call: Callable[[], list[str]]) -> None:
        """Make a call, which returns what was wrong with the answer; the server's log is read after it."""
        counts = self.counts.setdefault(family, Counter())
        counts["input"] += 1
        try:
            wrong = call()
        except (Hung, httpx.TimeoutException):
            wrong = ["hang"]
        except (httpx.HTTPError, OSError):
            wrong = []  # a connection that is closed is an answer, too, while the server lives
        told = self._log.read_text(errors="replace")[self._read :]
        self._read += len(told)
        if "Traceback" in told:
            wrong = [*wrong, "traceback"]
        for kind in dict.fromkeys(wrong):
            counts[kind] += 1
        if wrong:
            self.bad.append(f"{family}: {', '.join(dict.fromkeys(wrong))}: {what[:300]}\n{told[-1500:]}")

    def __str__(self) -> str:
        rows = [*self.counts.items(), ("all", sum(self.counts.values(), Counter()))]
        head = f"{'family':14}" + "".join(f"{kind:>13}" for kind in KINDS)
        return "\n".join([head, *(f"{name:14}" + "".join(f"{c[kind]:13}" for kind in KINDS) for name, c in rows)])


class Hostile:
    """Somebody who knows the server's addresses and means no good. Each family of inputs is a method."""

    def __init__(self, address: str, folder: Path, rng: random.Random, table: Table):
        self.rng, self.table, self.folder = rng, table, folder
        self.http = httpx.Client(base_url=address, timeout=PATIENCE, verify=False)
        self.place = ("127.0.0.1", int(address.rpartition(":")[2]))
        self.config = self.http.get("/config").json()
        self.visitor = json.loads(self._stream("/gradio_api/call/visitor", {"data": []})[1]["data"])[0]
        self.number = 0

    def _nasty(self) -> Any:
        return copy.deepcopy(self.rng.choice(NASTY))

    def _mutated(self, value: Any, changes: int = 1) -> Any:
        """A copy with some places anywhere inside replaced, removed or doubled."""
        value = copy.deepcopy(value)
        for _ in range(changes):
            at = value
            while isinstance(at, dict | list) and at:
                key = self.rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
                if not isinstance(at[key], dict | list) or not at[key] or self.rng.random() < 0.15:
                    break
                at = at[key]
            if not isinstance(at, dict | list) or not at:
                return self._nasty()
            if self.rng.random() < 0.2:
                del at[key]
            else:
                at[key] = self._nasty()
        return value

    def _answer(self, status: int, text: str) -> list[str]:
        wrong = ["http 5xx"] if status >= 500 else []
        return [*wrong, "traceback"] if "Traceback" in text else wrong

    def _stream(self, path: str, body: Any) -> tuple[list[str], dict[str, str]]:
        """Call an endpoint; (what was wrong, the last event)."""
        raw = json.dumps(body)
        answer = self.http.post(path, content=raw, headers={"content-type": "application/json"})
        wrong, told = self._answer(answer.status_code, answer.text), {}
        if answer.status_code == 200 and "event_id" in answer.text:
            began = time.monotonic()
            with self.http.stream("GET", f"{path.replace('/v2', '')}/{answer.json()['event_id']}") as stream:
                wrong += self._answer(stream.status_code, "")
                for line in stream.iter_lines():
                    key, _, value = line.partition(": ")
                    told[key] = value
                    if time.monotonic() - began > PATIENCE:
                        raise Hung
            if told.get("event") == "error" and told.get("data") in (None, "null", '{"error": null}'):
                wrong.append("error: null")
        return wrong, told

    def _event(self, body: dict[str, Any]) -> list[str]:
        """Begin an event of the page and read its session's stream."""
        self.number += 1
        session = f"hostile{self.number}"
        body = {"session_hash": session} | body
        answer = self.http.post(
            "/gradio_api/queue/join", content=json.dumps(body), headers={"content-type": "application/json"}
        )
        wrong = self._answer(answer.status_code, answer.text)
        if answer.status_code != 200 or body["session_hash"] != session:
            return wrong
        began = time.monotonic()
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "process_completed":
                    output = message.get("output") or {}
                    if not message.get("success") and output.get("error") is None:
                        wrong.append("error: null")
                if message.get("msg") in ("process_completed", "close_stream", "unexpected_error"):
                    break
                if time.monotonic() - began > PATIENCE:
                    raise Hung
        return wrong

    def api(self, count: int) -> None:
        """The public endpoints with wrong values, too many and too few, and bodies that are no calls."""
        for _ in range(count):
            name = self.rng.choice(list(VALID))
            data = [self.visitor if value == "VISITOR" else value for value in VALID[name]]
            body: Any = {"data": self._mutated(data, self.rng.randint(1, 3))}
            kind = self.rng.random()
            if kind < 0.1:
                body = self._mutated(body | {"session_hash": "x", "fn_index": 0, "event_data": None})
            elif kind < 0.2:
                body = {"data": [*data, *(self._nasty() for _ in range(self.rng.randint(1, 9)))]}
            elif kind < 0.3:
                body = dict(zip(("prompt", "lanes", "seed", "visitor"), (self._nasty() for _ in range(4)), strict=True))
            route = "call/v2" if kind < 0.1 or 0.2 < kind < 0.3 else self.rng.choice(("call", "call", "run", "api"))
            path = f"/gradio_api/{route}/{name}"
            self.table.tried("api", f"{path} {_short(body)}", lambda path=path, body=body: self._stream(path, body)[0])

    def openai(self, count: int) -> None:
        """The endpoints under /v1: errors must have the form of that interface, in streams too."""

        def call(path: str, body: Any) -> list[str]:
            headers = {"content-type": "application/json"}
            answer = self.http.post(path, content=json.dumps(body), headers=headers)
            words = answer.status_code < 400 or answer.json()["error"]["message"]
            return [*self._answer(answer.status_code, answer.text), *([] if words else ["no words"])]

        said = [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "a"}]},
        ]
        same = {"temperature": 1.0, "top_p": 0.9, "max_tokens": 4, "stop": ["x"], "seed": 1, "n": 2, "begin": "a"}
        same |= {"model": "reference", "method": "sample", "options": {"top_k": 5}, "stream_options": {}}
        chat = same | {"messages": said, "logprobs": True, "top_logprobs": 2, "tools": None, "response_format": None}
        old = same | {"prompt": "the fox", "logprobs": 2, "echo": False}
        for turn in range(count):
            path, body = self.rng.choice([("/v1/chat/completions", chat), ("/v1/completions", old)])
            body = self._mutated(body | {"stream": bool(turn % 2)}, self.rng.randint(1, 3))
            what = f"{path} {_short(body)}"
            self.table.tried("openai", what, lambda path=path, body=body: call(path, body))

    def private(self, count: int) -> None:
        """Every event of the page by its number, with values of wrong kinds, wrong event data, sessions, triggers."""
        values = {c["id"]: c["props"].get("value") for c in self.config["components"]}
        events = self.config["dependencies"]
        for turn in range(count):
            event = events[turn % len(events)]
            data = [values.get(i) for i in event["inputs"]]
            body = {"data": data, "fn_index": event["id"], "event_data": None, "trigger_id": None}
            kind = self.rng.random()
            if kind < 0.6 and data:
                for _ in range(self.rng.randint(1, 3)):
                    data[self.rng.randrange(len(data))] = self._nasty()
            elif kind < 0.75:
                body["event_data"] = self._nasty()
            else:
                body = self._mutated(body)
            if isinstance(body, dict):
                what = f"{event['api_name']} {_short(body)}"
                self.table.tried("private", what, lambda body=body: self._event(body))

    def functions(self, count: int) -> None:
        """What scripts of the page call on the server."""
        boards = [c["id"] for c in self.config["components"] if c["props"].get("server_fns")]
        names = ["candidates", "steps", "saved", "questions", "placed", "__init__", "", "../x"]
        path = "/gradio_api/component_server"
        for _ in range(count):
            component = self.rng.choice([*boards, *boards, -1, 0, 10**6])
            body = {"session_hash": "h", "component_id": component, "fn_name": self.rng.choice(names)}
            body["data"] = self.rng.choice([self._nasty(), [self._nasty() for _ in range(3)]])
            if self.rng.random() < 0.2:
                body = self._mutated(body)
            self.table.tried("functions", _short(body), lambda body=body: self._post(path, json.dumps(body).encode()))

    def _post(self, path: str, content: bytes, kind: str = "application/json") -> list[str]:
        answer = self.http.post(path, content=content, headers={"content-type": kind})
        return self._answer(answer.status_code, answer.text)

    def bodies(self, count: int) -> None:
        """Bodies that are no JSON, or none that was asked for, on all that takes one."""
        paths = [*(f"call/{name}" for name in VALID), "queue/join", "cancel", "reset", "component_server", "upload"]
        paths += ["run/predict", "call/nobody", "process_recording", "stream/x", "vibe-edit", "call/v2/compare"]
        raws = [
            b"",
            b"{",
            b"null",
            b"[]",
            b'"x"',
            b"1e999",
            b"NaN",
            b'{"data":',
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            b"\x00",
        ]
        raws += [b'{"data": ["\\ud800"]}', b'{"data": [' + b"[" * 5000, b'{"data":' + b"[" * 5000 + b"]" * 5000 + b"}"]
        raws += [b'{"data": [' + b"9" * 5000 + b"]}", b'{"data": {}}', b'{"data": null}', b'{"event_id": null}']
        raws += [b'{"session_hash": {}, "fn_index": "x", "event_id": []}', b'{"data": "x", "fn_index": 1e999}']
        kinds = ["application/json", "text/plain", "", "multipart/form-data", "multipart/form-data; boundary=x", "\x7f"]
        for _ in range(count):
            path, raw = f"/gradio_api/{self.rng.choice(paths)}", self.rng.choice(raws)
            kind = self.rng.choice([kinds[0], *kinds])
            self.table.tried(
                "bodies",
                f"{path} {kind} {raw[:80]!r}",
                lambda path=path, raw=raw, kind=kind: self._post(path, raw, kind),
            )

    def routes(self, count: int) -> None:
        """Files, streams and events that are none of one's own, by tricks with paths."""
        heads = ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/static/", "/assets/", "/svelte/", "/theme.css"]
        heads += ["/gradio_api/proxy=", "/gradio_api/call/compare/", "/gradio_api/queue/data?session_hash=", "/?run="]
        heads += ["/gradio_api/custom_component/", "/gradio_api/stream/", "/pwa_icon/", "/gradio_api/upload_progress?"]
        heads += ["/gradio_api/runs", "/monitoring/", "/gradio_api/run-history/records?", "/__", "/gradio_api/info?x="]
        heads += ["/gradio_api/deep_link?session_hash=", "/gradio_api/heartbeat/", "/?__theme=", "/login?", "/?view="]
        tails = [
            "../../etc/passwd",
            "/etc/passwd",
            "..%2f..%2fetc%2fpasswd",
            "%00",
            "a" * 9000,
            "models.yaml",
            "app.py",
        ]
        tails += [
            "http://127.0.0.1:1/",
            "file:///etc/passwd",
            "//x/y",
            "1/client/component/../../x",
            "%ff%fe",
            "😀",
            "",
        ]
        tails += [
            "\\..\\x",
            ".",
            "playground/settings.py",
            "%2e%2e/%2e%2e/",
            "x/1/2/playlist.m3u8",
            "1e999",
            "x/1/2/3.ts",
        ]
        for _ in range(count):
            path = self.rng.choice(heads) + self.rng.choice(tails)
            if path.endswith("upload_progress?"):
                path += "upload_id=x"
            method = self.rng.choice(["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"])

            def call(path: str = path, method: str = method) -> list[str]:
                """Streams may stay open for one who waits: their first bytes are enough."""
                with self.http.stream(method, path, timeout=httpx.Timeout(PATIENCE, read=5)) as answer:
                    wrong = self._answer(answer.status_code, "")
                    secret = path.startswith(("/static", "/assets", "/gradio_api/file", "/file"))
                    with contextlib.suppress(httpx.ReadTimeout):
                        first = next(answer.iter_bytes(2000), b"")
                        if secret and (
                            b"root:" in first or (b"playground" in first.lower() and answer.status_code == 200)
                        ):
                            wrong.append("leak")
                    return wrong

            self.table.tried("routes", f"{method} {path[:200]}", call)

    def raw(self, count: int) -> None:
        """Bytes that are no HTTP, or HTTP at odds with itself."""
        get, end = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", b"\r\n\r\n"
        post = b"POST /gradio_api/call/methods HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        pieces = [b"", end, b"GET", b"\x16\x03\x01", b"G" * 70_000, b"GET / HTTP/9.9" + end, b"GET / HTTP/1.1" + end]
        pieces += [
            b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1" + end,
            b"GET http://x/ HTTP/1.1\r\nHost: 127.0.0.1" + end,
        ]
        pieces += [b"CONNECT x:1 HTTP/1.1\r\nHost: 127.0.0.1" + end, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b" + end]
        pieces += [
            get + b"X: " + b"a" * 100_000 + end,
            get + b"Range: bytes=9-1" + end,
            get + b"Cookie: \xff=\xfe" + end,
        ]
        pieces += [
            get + b"Upgrade: websocket\r\nConnection: upgrade" + end,
            get + b"Origin: \xff://\r\nReferer: \xfe" + end,
        ]
        pieces += [get + b"X-Forwarded-For: \xff, , ,\r\nX-Forwarded-Proto: \xff" + end, get + b"Host: \xff" + end]
        pieces += [get + b"Accept-Language: " + b"q," * 3000 + end, post + b"Content-Length: -1" + end + b"{}"]
        pieces += [
            post + b"Content-Length: 99999" + end + b"{}",
            post + b"Transfer-Encoding: chunked" + end + b"ZZ\r\n",
        ]
        pieces += [post + b"Content-Length: 2\r\nContent-Length: 7" + end + b"{}", post + end]
        pieces += [post + b"Transfer-Encoding: chunked" + end + b"ffffffffff\r\n{}"]

        def call(sent: bytes) -> list[str]:
            with socket.create_connection(self.place, timeout=3) as line:
                line.sendall(sent)
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_WR)
                answer = b""
                with contextlib.suppress(OSError):
                    answer = line.recv(4000)
            first = answer.split(b"\r\n", 1)[0].split(b" ")
            return self._answer(int(first[1]) if len(first) > 1 and first[1].isdigit() else 0, answer.decode("latin-1"))

        for turn in range(count):
            sent = pieces[turn % len(pieces)]
            if turn >= len(pieces) and sent:
                changed = bytearray(sent)
                for _ in range(self.rng.randint(1, 4)):
                    changed[self.rng.randrange(len(changed))] = self.rng.randrange(256)
                sent = bytes(changed)
            self.table.tried("raw", repr(sent[:200]), lambda sent=sent: call(sent))

    def files(self, count: int) -> None:
        """Uploads, and saved runs that are damaged, opened as the History tab opens them."""
        [take] = [d for d in self.config["dependencies"] if d["api_name"] == "take"]
        whole = [json.loads(gzip.decompress(path.read_bytes())) for path in sorted(RECORDED.glob("*.json.gz"))]
        names = [
            "run.json",
            "../../x.json",
            "/etc/passwd",
            "a" * 300,
            "\x00",
            "é😀.json",
            "",
            ".",
            "con",
            "run.json.gz",
        ]
        for turn in range(count):
            content = json.dumps(self._mutated(self.rng.choice(whole), self.rng.randint(1, 2))).encode()
            way = turn % 5
            if way == 1:
                changed = bytearray(content)
                for _ in range(3):
                    changed[self.rng.randrange(len(changed))] = self.rng.randrange(256)
                content = bytes(changed)
            elif way == 2:
                content = content[: self.rng.randrange(len(content))]
            elif way == 3:
                content = gzip.compress(content)[: self.rng.choice([10, 1000, None])]
            elif way == 4 and turn % 10 == 4:
                content = self.rng.choice([b"", b"\x1f\x8b", gzip.compress(b"[" * (30 << 20)), b"[" * 100_000, b"\xff"])
            name = self.rng.choice(names)

            def call(content: bytes = content, name: str = name) -> list[str]:
                answer = self.http.post("/gradio_api/upload", files={"files": (name, content)})
                wrong = self._answer(answer.status_code, answer.text)
                if answer.status_code != 200:
                    return wrong
                file = {"path": answer.json()[0], "orig_name": name, "meta": {"_type": "gradio.FileData"}}
                return wrong + self._event({"data": [file, self.visitor], "fn_index": take["id"]})

            self.table.tried("files", f"{name!r} {content[:200]!r}", call)

    def commands(self, count: int) -> None:
        """The command line with arguments that are wrong, and files that are none."""
        made = {name: command for name, command in all_commands(parser()) if name not in ("serve", "bench")}
        odd = self.folder / "odd"
        odd.write_bytes(b'{"prompt": 1}\n\xff\x00[[[\n{"query": null, "responses": {}}\n')
        rows = self.folder / "rows"
        rows.write_text('{"prompt": "the fox", "query": "q", "responses": ["a", ""], "scores": [1]}\n' * 3)
        words = [
            "",
            "-1",
            "0",
            "x",
            "nan",
            "1e400",
            "9" * 40,
            "\udcff",
            "greedy",
            "greedy:x=1",
            "sample:temperature=-1",
        ]
        words += [str(odd), str(rows), str(self.folder), "/nowhere/x", "/dev/null", "reference", "a" * 5000, "=", "--"]
        words += ["best_of_n:n=99", "nobody", "2020-13-45", "0.5*reference+", "harmless", "vader", "label", "jsonl"]

        here = self.folder / "here"
        here.mkdir()  # some commands write files of the names they are given

        def call(arguments: list[str]) -> list[str]:
            def late(*_: Any) -> None:
                raise Hung

            signal.signal(signal.SIGALRM, late)
            signal.alarm(int(PATIENCE))
            out = io.StringIO()
            try:
                with contextlib.chdir(here), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                    code = command_line(arguments)
            except SystemExit as end:
                code = end.code
            except Hung:
                return ["hang"]
            except BaseException as error:
                self.table.bad.append(f"{type(error).__name__}: {str(error)[:300]}")
                return ["traceback"]
            finally:
                signal.alarm(0)
            good = code in (None, 0, 1, 2) and "Traceback" not in out.getvalue()
            return [] if good and (code != 2 or out.getvalue().strip()) else ["error: null"]

        for turn in range(count):
            name = list(made)[turn % len(made)]
            arguments = name.split()
            for action in made[name]._actions:
                if action.option_strings and (action.required or self.rng.random() < 0.25) and action.dest != "help":
                    arguments.append(action.option_strings[-1])
                    wanted = action.nargs if isinstance(action.nargs, int) else 1
                    arguments += [self.rng.choice(words) for _ in range(wanted)]
                elif not action.option_strings and self.rng.random() < 0.9:
                    arguments.append(self.rng.choice(words))
            self.table.tried("commands", repr(arguments), lambda arguments=arguments: call(arguments))


def _short(body: Any) -> str:
    return json.dumps(body)[:300]


@contextlib.contextmanager
def served(folder: Path, log: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server on the tiny model, whose words go to a log."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "PORT": str(port)}
    with log.open("w") as out:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=out, stderr=out)
        try:
            for _ in range(600):
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{address}/config", timeout=5).status_code == 200:
                        break
                time.sleep(0.5)
            yield server, address
        finally:
            server.terminate()
            server.wait(60)


def trial(scale: float, seed: int, only: str | None = None) -> Table:
    """Send everything, `scale` times the usual number of each family."""
    counts = {
        "api": 220,
        "openai": 150,
        "private": 320,
        "functions": 100,
        "bodies": 150,
        "routes": 160,
        "raw": 80,
        "files": 120,
    }
    counts |= {"commands": 150}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = folder / "log"
        os.environ |= {
            "PLAYGROUND_MODELS": str(make_catalogue(folder)),
            "PLAYGROUND_PRECISION": "fp32",
            "PLAYGROUND_DATABASE": str(folder / "server.db"),
        }
        with served(folder, log) as (server, address):
            table = Table(log)
            hostile = Hostile(address, folder, random.Random(seed), table)
            os.environ["PLAYGROUND_DATABASE"] = str(folder / "commands.db")
            for family, count in counts.items():
                if only in (None, family):
                    getattr(hostile, family)(round(count * scale))
                    alive = server.poll() is None and hostile.http.get("/config").status_code == 200
                    table.counts[family]["died"] += not alive
                    print(family, dict(table.counts[family]), flush=True)
    return table


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--scale", type=float, default=1.0, help="how many times the usual number of inputs")
    arguments.add_argument("--only", help="one family alone")
    found = trial(**vars(arguments.parse_args()))
    for bad in found.bad:
        print(f"{bad}\n{'-' * 40}")
    print(found)
