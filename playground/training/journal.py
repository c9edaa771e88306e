"""What a training tells of itself, in a file that others read while it runs."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from playground.errors import UserError
from playground.training.loop import Progress

JOURNAL = "journal.json"
ENDED = ("done", "stopped", "failed")
_UPDATE_SECONDS = 0.5


class Journal:
    """{"state", "what", "share", "step", "steps", "losses", "curves", "seconds", "said", "error", "pid", "born"} in a
    file that is replaced as a whole. States: preparing, training, done, stopped, failed."""

    def __init__(self, out: Path, steps: int, pid: int | None = None):
        """pid: the process that trains; by default this one."""
        self.path = out / JOURNAL
        self.content: dict[str, Any] = {
            "state": "preparing",
            "what": "starting",
            "share": 0.0,
            "steps": steps,
            **asdict(Progress()),
            "said": [],
            "error": None,
            **identity(pid or os.getpid()),
        }
        self._written = 0.0

    def __enter__(self) -> Journal:
        self.write()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.end(self.content["state"] if self.content["state"] in ENDED else "done")
        elif isinstance(error, KeyboardInterrupt):
            self.end("stopped")
        else:
            self.content["error"] = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self.end("failed")

    def prepare(self, share: float, what: str) -> None:
        """How far the work before the first step is."""
        self.content |= {"state": "preparing", "share": share, "what": what}
        self.write(rarely=True)

    def say(self, sentence: str) -> None:
        """Note what is worth knowing, a bad row for example."""
        self.content["said"].append(sentence)
        self.write(rarely=True)

    def note(self, progress: Progress) -> None:
        """One more step is done."""
        share = progress.step / self.content["steps"]
        self.content |= {"state": "training", "what": "training", "share": share, **asdict(progress)}
        self.write(rarely=True)

    def end(self, state: str) -> None:
        """The training is over."""
        self.content["state"] = state
        self.write()

    def write(self, rarely: bool = False) -> None:
        """Write the file; `rarely` leaves it out if it was written a moment ago."""
        now = time.monotonic()
        if rarely and now - self._written < _UPDATE_SECONDS:
            return
        self._written = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(self.content), encoding="utf-8")
        scratch.replace(self.path)


def read_journal(out: Path) -> dict[str, Any]:
    """What the training in the folder `out` tells. Raises OSError or ValueError if there is none to read."""
    content = json.loads((out / JOURNAL).read_text(encoding="utf-8"))
    # Before curves had names there was one.
    content.setdefault("curves", {"ranking accuracy": content.pop("accuracies", [])})
    return content


def identity(pid: int) -> dict[str, Any]:
    """A process by its number and the time of its birth: numbers are used again."""
    try:
        return {"pid": pid, "born": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "born": None}
