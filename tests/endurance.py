"""Many voters at once while the server is killed: no acknowledged vote may be lost, and none counted twice.

A small trial is a test (test_arena.py). The whole one: python -m tests.endurance --voters 50 --votes 2000 --kills 10
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from playground.settings import ROOT
from playground.store.votes import CHOICES
from tests.tiny import make_catalogue

BROKEN = (httpx.HTTPError, ConnectionError, json.JSONDecodeError)
"""What a client meets whose server is killed."""


class Server:
    """The playground on the tiny model, as a process of its own that can be killed and started again."""

    def __init__(self, folder: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.database, self.address = folder / "votes.db", f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "PLAYGROUND_MODELS": str(make_catalogue(folder)),
            "PLAYGROUND_DATABASE": str(self.database),
            "PLAYGROUND_PRECISION": "fp32",
            "PORT": str(self.port),
        }
        self.start()

    def start(self) -> None:
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=self._environment, **quiet)
        for _ in range(600):
            try:
                if httpx.get(self.address, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if self.process.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.2)
        raise RuntimeError("the server does not answer")

    def kill(self) -> None:
        """As by the kernel: no handler runs."""
        self.process.kill()
        self.process.wait()


def connect(server: Server) -> httpx.Client:
    """A client of its own; without the certificates that it would read first, and never need."""
    return httpx.Client(base_url=server.address, timeout=60, verify=False)


class Refused(Exception):
    """The server answered in words."""


def call(client: httpx.Client, name: str, *values: Any) -> dict[str, Any]:
    """One call of the server's API. Raises Refused, or one of BROKEN if the connection broke in the middle."""
    event = client.post(f"/gradio_api/call/{name}", json={"data": list(values)}).raise_for_status().json()["event_id"]
    lines = client.get(f"/gradio_api/call/{name}/{event}").raise_for_status().text.splitlines()
    told = {key: value for key, _, value in (line.partition(": ") for line in lines)}
    if told.get("event") == "complete":
        return json.loads(told["data"])[0]
    if told.get("event") == "error":
        raise Refused(told.get("data"))
    raise ConnectionError("the stream broke off")


def new_visitor(server: Server) -> str:
    """A voter's id, which the server gives."""
    while True:
        try:
            with connect(server) as client:
                return call(client, "visitor")
        except BROKEN:
            time.sleep(0.3)


def vote_until_it_counts(server: Server, voter: str, signed: str, choice: str) -> int:
    """Send a vote, again and again if the server dies under it. Returns how often it was acknowledged: 0 if an earlier
    attempt, whose answer was lost, had counted already."""
    while True:
        try:
            with connect(server) as client:
                call(client, "vote", voter, signed, choice, [], "")
                return 1
        except Refused:
            return 0
        except BROKEN:
            time.sleep(0.3)


def trial(voters: int, votes: int, kills: int, seed: int = 0) -> dict[str, Any]:
    """Let `voters` clients give `votes` votes while the server is killed `kills` times at random moments. Every tenth
    vote is sent twice at once. Returns what was found, the failures as numbers that must be 0."""
    given: dict[str, tuple[str, int]] = {}
    """Of every battle that was voted on: the choice, and how often a vote was acknowledged."""
    tickets, lock, done = itertools.count(), threading.Lock(), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))

        def one_voter(number: int) -> None:
            rng = random.Random(f"{seed}-{number}")
            visitor = new_visitor(server)
            while next(tickets) < votes:
                while True:
                    try:
                        with connect(server) as client:
                            battle = call(client, "battle", visitor, "")["battle"]
                        break
                    except (*BROKEN, Refused):
                        time.sleep(0.3)
                choice = rng.choice(CHOICES)
                twice = 1 + (rng.random() < 0.1)
                with ThreadPoolExecutor(twice) as both:
                    sent = [both.submit(vote_until_it_counts, server, visitor, battle, choice) for _ in range(twice)]
                with lock:
                    given[battle.split(".")[0]] = (choice, sum(one.result() for one in sent))

        def killer() -> None:
            rng = random.Random(seed)
            for turn in range(kills):
                goal = (turn + rng.random()) * votes / kills
                while len(given) < goal and not done.is_set():
                    time.sleep(0.05)
                time.sleep(rng.random())
                server.kill()
                server.start()

        killing = threading.Thread(target=killer)
        began = time.perf_counter()
        killing.start()
        try:
            with ThreadPoolExecutor(voters) as crowd:
                list(crowd.map(one_voter, range(voters)))
        finally:
            done.set()
            killing.join()
            server.kill()
        seconds = time.perf_counter() - began
        with sqlite3.connect(server.database) as db:
            kept = dict(db.execute("select battle, choice from votes").fetchall())
            sound = db.execute("pragma integrity_check").fetchone()[0] == "ok"
            dangling = len(db.execute("pragma foreign_key_check").fetchall())
        db.close()
    acknowledged = {battle: choice for battle, (choice, times) in given.items() if times}
    return {
        "voters": voters,
        "votes": len(given),
        "kills": kills,
        "seconds": round(seconds),
        "acknowledged": len(acknowledged),
        "lost": sum(kept.get(battle) != choice for battle, choice in acknowledged.items()),
        "unsure_but_kept": sum(battle in kept for battle in given.keys() - acknowledged.keys()),
        "unsure_and_lost": sum(battle not in kept for battle in given.keys() - acknowledged.keys()),
        "acknowledged_twice": sum(times > 1 for _, times in given.values()),
        "never_given": len(kept.keys() - given.keys()),
        "kept": len(kept),
        "choices": dict(Counter(kept.values())),
        "sound": sound,
        "dangling": dangling,
    }


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("voters", 50), ("votes", 2000), ("kills", 10), ("seed", 0)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    print(json.dumps(trial(**vars(arguments.parse_args())), indent=1))
