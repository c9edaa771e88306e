"""Proves replicas on Ray Serve against the engine of one process. By hand, some minutes: make ray-check.

Two replicas give the tokens of one engine, for every method; one that is killed in the middle of twelve lanes costs
neither a token nor a vote; and lanes a second of one replica, of two, and of the engine here.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil

from playground.arena import Arena
from playground.decoders import DECODERS
from playground.record import LaneRecord, RunRecord
from playground.requests import LaneRequest, RunRequest
from playground.service import Playground
from playground.settings import Settings

SMALLER = {
    "rain": "max_inner=2,min_inner=1,candidates=4,simulate=4,max_nodes=40,max_seconds=3600",
    "best_of_n": "n=4",
    "aspire": "beams=4",
}
"""Options that make a method's lane shorter; RAIN's ends by its search, not by the clock."""
TOKENS, SEED = 16, 7
MORE = (
    "Name three rivers.",
    "What is a comet?",
    "How do I boil an egg?",
    "Tell me a joke.",
    "Who wrote Faust?",
    "Why?",
)
"""Prompts beside the fourteen of the arena's pool."""
BATTLES = 6
AT_ONCE = 4
"""Runs that are under way at once."""


def requests(playground: Playground) -> list[RunRequest]:
    """Every method on twenty prompts."""
    lanes = [LaneRequest.parse(f"{name}:{SMALLER.get(name, '')}".rstrip(":")) for name in DECODERS]
    prompts = [*(prompt.text for prompt in playground.catalogue.arena.prompts), *MORE]
    shared = {"seed": SEED, "max_new_tokens": TOKENS}
    return [
        RunRequest.checked(prompt=prompt, lanes=lanes[first : first + 6], **shared)
        for prompt in prompts
        for first in range(0, len(lanes), 6)
    ]


def written(playground: Playground, asked: list[RunRequest]) -> list[LaneRecord]:
    """The lanes of all these runs, in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [lane for run in pool.map(playground.compare, asked) for lane in run["lanes"]]


def without_prices(lane: LaneRecord) -> LaneRecord:
    """A lane but for its seconds, as JSON has it."""
    cost = {name: value for name, value in lane["cost"].items() if name != "seconds"}
    return json.loads(json.dumps(lane | {"cost": cost}))


def compared(playground: Playground, near: Playground) -> dict[str, dict[str, int]]:
    """By method: how many lanes, with the same tokens, with the same record, by replicas and by the engine here."""
    asked, found = requests(playground), {}
    for first in range(0, len(asked), AT_ONCE):
        some = asked[first : first + AT_ONCE]
        for a, b in zip(written(playground, some), written(near, some), strict=True):
            counts = found.setdefault(a["method"], {"lanes": 0, "same tokens": 0, "same record": 0})
            counts["lanes"] += a["status"] == b["status"] == "done"
            counts["same tokens"] += a["token_ids"] == b["token_ids"]
            counts["same record"] += without_prices(a) == without_prices(b)
        print(f"{first + len(some)} of {len(asked)} runs: {found}", file=sys.stderr, flush=True)
    return found


def speed(playground: Playground, lanes: int = 24, tokens: int = 64) -> float:
    """Tokens a second over many lanes at once, once warm."""
    prompts = [prompt.text for prompt in playground.catalogue.arena.prompts[: lanes // 6]]
    asked = [
        RunRequest.checked(prompt=prompt, lanes=[LaneRequest.parse("sample")] * 6, max_new_tokens=tokens, seed=seed)
        for seed, prompt in enumerate(prompts)
    ]
    written(playground, asked)
    began = time.perf_counter()
    found = written(playground, asked)
    return sum(lane["cost"]["generated_tokens"] for lane in found) / (time.perf_counter() - began)


def replicas() -> list[psutil.Process]:
    """The processes of the replicas that this one has started."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any("ServeReplica" in part for part in child.cmdline())]


def killed(playground: Playground, near: Playground) -> dict[str, int]:
    """Battles of the arena, over which one replica is killed: lanes, those begun again, those that then have the tokens
    of an undisturbed run, and votes given and counted."""
    arena, again = Arena(playground), Counted()
    logging.getLogger("playground.service.remote").addHandler(again)
    visitor = playground.new_visitor()
    with ThreadPoolExecutor(BATTLES) as pool:
        battles = [pool.submit(arena.battle, visitor) for _ in range(BATTLES)]
        while sum(len(lane.result()["token_ids"]) for lane in under_way(playground)) < 20 * BATTLES:
            time.sleep(0.05)
        os.kill(replicas()[0].pid, signal.SIGKILL)
        runs = [arena.vote(visitor, battle.result()["battle"], "a")["run"] for battle in battles]
    votes = sum(row["votes"] for row in arena.votes.compared())
    disturbed = [playground.open_run(run) for run in runs]
    undisturbed = [near.compare(as_asked(run)) for run in disturbed]
    pairs = [
        (a["token_ids"], b["token_ids"])
        for one, other in zip(disturbed, undisturbed, strict=True)
        for a, b in zip(one["lanes"], other["lanes"], strict=True)
    ]
    same = sum(a == b for a, b in pairs)
    return {"lanes": len(pairs), "begun again": again.count, "same tokens": same, "given": len(runs), "votes": votes}


class Counted(logging.Handler):
    """Counts what is logged."""

    count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


def under_way(playground: Playground):
    return [lane for run in list(playground._running.values()) for lane in run.lanes]


def as_asked(run: RunRecord) -> RunRequest:
    """The request of a run."""
    lanes = [{name: lane[name] for name in ("method", "options", "begin")} for lane in run["lanes"]]
    shared = ("prompt", "system", "earlier", "seed", "max_new_tokens", "stop")
    return RunRequest.checked(lanes=lanes, **{name: run[name] for name in shared})


def main(parts: list[str]) -> int:
    folder = tempfile.TemporaryDirectory()
    settings = Settings(database=Path(folder.name) / "check.db", engine="ray", replicas=(2, 2))
    near = Playground(replace(settings, database=":memory:"))
    good = True
    if not parts or {"same", "killed"} & set(parts):
        playground = Playground(settings)
        playground.replicate()
        if not parts or "killed" in parts:
            found = killed(playground, near)
            print(json.dumps(found), flush=True)
            good &= found["lanes"] == found["same tokens"] == 2 * BATTLES
            good &= found["given"] == found["votes"] == BATTLES and found["begun again"] > 0
        if not parts or "same" in parts:
            found = compared(playground, near)
            print(json.dumps(found, indent=1), flush=True)
            good &= all(counts["lanes"] == counts["same tokens"] for counts in found.values())
        playground.close()
    if not parts or "speed" in parts:
        for count in (1, 2):
            playground = Playground(replace(settings, replicas=(count, count)))
            playground.replicate()
            print(f"{count} replica(s): {speed(playground):.1f} tokens/s", flush=True)
            playground.close()
        print(f"the engine of one process: {speed(near):.1f} tokens/s", flush=True)
    near.close()
    return not good


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
