"""Many voters at once while the server is killed: no acknowledged vote may be lost, and none counted twice.

A small trial is a test (test_arena.py). The whole one: python -m tests.endurance --voters 50 --votes 2000 --kills 10
With snapshots, two servers write into one place, and a kill may wipe the disk: add --servers 2 --place folder (or hub).
"""

from __future__ import annotations

import argparse
import contextlib
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
from typing import Any, NamedTuple

import httpx

from playground.service.snapshots import Snapshots
from playground.settings import ROOT, Settings
from playground.store.connection import Connection
from playground.store.snapshots import VoteRecord, unpack
from playground.store.votes import CHOICES
from tests.hub import StandInHub
from tests.tiny import make_catalogue

BROKEN = (httpx.HTTPError, ConnectionError, json.JSONDecodeError)
"""What a client meets whose server is killed."""


def free_port() -> int:
    """One that no client gets for its own end of a connection while the server is down."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


class Server:
    """The playground on the tiny model, as a process of its own that can be killed and started again."""

    def __init__(self, folder: Path, catalogue: Path, **environment: str):
        self.port = free_port()
        self.disk, self.address = folder, f"http://127.0.0.1:{self.port}"
        self.database = folder / "votes.db"
        self.wiped: list[float] = []
        self._environment = {
            **os.environ,
            "PLAYGROUND_MODELS": str(catalogue),
            "PLAYGROUND_DATABASE": str(self.database),
            "PLAYGROUND_PRECISION": "fp32",
            "PORT": str(self.port),
            **environment,
        }
        self.start()

    def start(self, tries: int = 3) -> None:
        """Again if it ends: on a machine with too much to do, Gradio may not find itself in time."""
        self.disk.mkdir(exist_ok=True)
        with (self.disk / "log").open("ab") as log:
            started = [sys.executable, "app.py"]
            self.process = subprocess.Popen(started, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        for _ in range(600):
            try:
                if httpx.get(self.address, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if self.process.poll() is not None:
                if tries > 1:
                    return self.start(tries - 1)
                raise RuntimeError(f"the server did not start: {(self.disk / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        raise RuntimeError("the server does not answer")

    def kill(self) -> None:
        """As by the kernel: no handler runs."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As Docker and Spaces do."""
        self.process.terminate()
        self.process.wait()

    def wipe(self) -> None:
        """Lose the disk of the killed server."""
        self.wiped.append(time.monotonic())
        for path in self.disk.glob("votes.db*"):
            path.unlink()


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


def vote_until_it_counts(server: Server, voter: str, signed: str, choice: str) -> float | None:
    """Send a vote, again and again if the server dies under it. Returns when the attempt began that was acknowledged;
    None if an earlier one, whose answer was lost, had counted already."""
    while True:
        began = time.monotonic()
        try:
            with connect(server) as client:
                call(client, "vote", voter, signed, choice, [], "")
                return began
        except Refused:
            return None
        except BROKEN:
            time.sleep(0.3)


class Given(NamedTuple):
    """A vote that was given, and when the attempts began that were acknowledged."""

    choice: str
    acknowledged: list[float]
    visitor: str
    server: Server


def trial(
    voters: int, votes: int, kills: int, seed: int = 0, servers: int = 1, place: str = "", interval: int = 5
) -> dict[str, Any]:
    """Let `voters` clients give `votes` votes while a server is killed `kills` times at random moments. Every tenth
    vote is sent twice at once. Returns what was found, the failures as numbers that must be 0.

    With a `place` ("folder", or "hub", which fails now and then) the servers save snapshots there every `interval`
    seconds, and half of the kills wipe the server's disk. At the end the servers are asked to stop, and only what is
    outside is looked at.
    """
    given: dict[str, Given] = {}
    tickets, lock, done = itertools.count(), threading.Lock(), threading.Event()
    with tempfile.TemporaryDirectory() as name, Outside(Path(name), place, interval) as outside:
        folder = Path(name)
        catalogue = make_catalogue(folder)
        disks = [folder / f"disk {number}" for number in range(servers)]
        running = [Server(disk, catalogue, **outside.environment) for disk in disks]

        def one_voter(number: int) -> None:
            rng, server = random.Random(f"{seed}-{number}"), running[number % servers]
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
                acknowledged = [began for one in sent if (began := one.result())]
                with lock:
                    given[battle.split(".")[0]] = Given(choice, acknowledged, visitor, server)

        def killer() -> None:
            rng = random.Random(seed)
            for turn in range(kills):
                goal = (turn + rng.random()) * votes / kills
                while len(given) < goal and not done.is_set():
                    time.sleep(0.05)
                time.sleep(rng.random())
                server = rng.choice(running)
                server.kill()
                if place and turn % 2 == 0:
                    server.wipe()
                try:
                    server.start()
                except RuntimeError as error:  # nobody could go on
                    print(error, file=sys.stderr)
                    for one in running:
                        one.process.kill()
                    os._exit(1)

        killing = threading.Thread(target=killer)
        began = time.perf_counter()
        killing.start()
        try:
            with ThreadPoolExecutor(voters) as crowd:
                list(crowd.map(one_voter, range(voters)))
        finally:
            done.set()
            killing.join()
            for server in running:
                server.stop() if place else server.kill()
        seconds = time.perf_counter() - began
        database = outside.restored() if place else running[0].database
        with sqlite3.connect(database) as db:
            kept = dict(db.execute("select battle, choice from votes").fetchall())
            voter_of = dict(db.execute("select id, voter from battles").fetchall())
            sound = db.execute("pragma integrity_check").fetchone()[0] == "ok"
            dangling = len(db.execute("pragma foreign_key_check").fetchall())
        db.close()
        written = outside.votes() if place else []
    acknowledged = {battle: vote for battle, vote in given.items() if vote.acknowledged}
    lost = {battle: vote for battle, vote in acknowledged.items() if kept.get(battle) != vote.choice}
    # How old a lost vote was when its disk was wiped; one whose disk was not wiped must not be lost at all.
    ages = [
        min((wiped - vote.acknowledged[0] for wiped in vote.server.wiped if wiped > vote.acknowledged[0]), default=1e9)
        for vote in lost.values()
    ]
    names = {(vote.visitor, voter_of[battle]) for battle, vote in given.items() if battle in kept}
    return {
        "voters": voters,
        "votes": len(given),
        "kills": kills,
        "seconds": round(seconds),
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "unsure_but_kept": sum(battle in kept for battle in given.keys() - acknowledged.keys()),
        "unsure_and_lost": sum(battle not in kept for battle in given.keys() - acknowledged.keys()),
        "acknowledged_twice": sum(len(vote.acknowledged) > 1 for vote in given.values()),
        "never_given": len(kept.keys() - given.keys()),
        "kept": len(kept),
        "choices": dict(Counter(kept.values())),
        "sound": sound,
        "dangling": dangling,
        "wipes": sum(len(server.wiped) for server in running),
        "lost_at_an_age_of_seconds": sorted(round(age, 1) for age in ages),
        "in_several_parts": len(written) - len(set(written)),
        "contradicting_parts": len(set(written)) - len(dict(written)),
        "renamed_voters": len(names) - len({visitor for visitor, _ in names}),
    }


class Outside:
    """The place of snapshots during a trial, if there is one."""

    def __init__(self, folder: Path, place: str, interval: int):
        self.folder, self.hub = folder, StandInHub() if place == "hub" else None
        name = "hf://datasets/someone/votes" if self.hub else str(folder / "outside")
        self.environment = {
            "PLAYGROUND_SNAPSHOTS": name if place else "",
            "PLAYGROUND_SNAPSHOT_SECONDS": str(interval),
            "PLAYGROUND_SECRET": "the same as long as the trial",
        }
        if self.hub:
            self.hub.share = 0.2
            self.environment |= {"HF_ENDPOINT": self.hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_of_nobody"}

    def __enter__(self) -> Outside:
        return self

    def __exit__(self, *_: object) -> None:
        if self.hub:
            self.hub.close()

    def _contents(self) -> dict[str, bytes]:
        if self.hub:
            return self.hub.files
        return {path.name: path.read_bytes() for path in (self.folder / "outside").glob("part-*.jsonl")}

    def votes(self) -> list[tuple[str, str]]:
        """(battle, choice) of every vote in every part."""
        records = [record for content in self._contents().values() for record in unpack(content)]
        return [(r.vote["battle"], r.vote["choice"]) for r in records if isinstance(r, VoteRecord)]

    def restored(self) -> Path:
        """A new database with all that is outside, read twice."""
        copy, path = self.folder / "copy", self.folder / "restored.db"
        copy.mkdir()
        for name, content in self._contents().items():
            (copy / name).write_bytes(content)
            (copy / name.replace("part-", "part-again-")).write_bytes(content)
        database = Connection(path)
        snapshots = Snapshots(database, Settings(snapshots=str(copy)))
        snapshots.attempt()
        assert not snapshots.skipped
        database.close()
        return path


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("voters", 50), ("votes", 2000), ("kills", 10), ("seed", 0), ("servers", 1), ("interval", 5)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    arguments.add_argument("--place", default="", choices=("", "folder", "hub"))
    print(json.dumps(trial(**vars(arguments.parse_args())), indent=1))
