"""Trainings as processes of their own: started, watched through a journal that each keeps, stopped and resumed.

A process of its own leaves the page its speed and its memory, and survives whatever happens to the page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from playground.errors import UserError, shown
from playground.settings import ROOT, Settings
from playground.training.rrhf import Progress

JOURNAL, COMMAND, DATA, LOG = "journal.json", "command.json", "data.jsonl", "log.txt"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_UPDATE_SECONDS = 0.5
_ENDED = ("done", "stopped", "failed")


class Journal:
    """What a training tells of itself: {"state", "what", "share", "step", "steps", "losses", "accuracies", "seconds",
    "said", "error", "pid"}, in a file replaced as a whole. States: preparing, training, done, stopped, failed."""

    def __init__(self, out: Path, steps: int):
        self.path = out / JOURNAL
        self.told: dict[str, Any] = {
            "state": "preparing",
            "what": "starting",
            "share": 0.0,
            "steps": steps,
            **asdict(Progress()),
            "said": [],
            "error": None,
            **_identity(os.getpid()),
        }
        self._written = 0.0

    def __enter__(self) -> Journal:
        self._write()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self.end(self.told["state"] if self.told["state"] in _ENDED else "done")
        elif isinstance(error, KeyboardInterrupt):
            self.end("stopped")
        else:
            self.told["error"] = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            self.end("failed")

    def prepare(self, share: float, what: str) -> None:
        """How far the work before the first step is."""
        self.told |= {"state": "preparing", "share": share, "what": what}
        self._write(rarely=True)

    def say(self, sentence: str) -> None:
        """Note what is worth knowing, a bad row for example."""
        self.told["said"].append(sentence)
        self._write(rarely=True)

    def note(self, progress: Progress) -> None:
        """One more step is done."""
        share = progress.step / self.told["steps"]
        self.told |= {"state": "training", "what": "training", "share": share, **asdict(progress)}
        self._write(rarely=True)

    def end(self, state: str) -> None:
        """The training is over."""
        self.told["state"] = state
        self._write()

    def _write(self, rarely: bool = False) -> None:
        now = time.monotonic()
        if rarely and now - self._written < _UPDATE_SECONDS:
            return
        self._written = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(self.told), encoding="utf-8")
        scratch.replace(self.path)


class Trainings:
    """The trainings below the folder of adapters. One runs at a time: they share the machine with the page."""

    def __init__(self, settings: Settings):
        self.settings, self.folder = settings, settings.adapters
        self._children: dict[str, subprocess.Popen] = {}

    def names(self) -> list[str]:
        """Trainings that were ever started here, the newest first."""
        journals = sorted(self.folder.glob(f"*/{JOURNAL}"), key=lambda p: p.stat().st_mtime, reverse=True)
        return [path.parent.name for path in journals if _NAME.fullmatch(path.parent.name)]

    def read(self, name: str) -> dict[str, Any]:
        """The journal of a training. One whose process is gone without a word has the state "interrupted"."""
        try:
            told = json.loads((self._out(name) / JOURNAL).read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError):
            raise UserError(
                f"There is no training {shown(name)}; there are: {', '.join(self.names()) or 'none'}."
            ) from None
        if told["state"] not in _ENDED and not self._alive(name, told):
            told["state"] = "interrupted"
        return told

    def running(self) -> str | None:
        """The training at work, if any."""
        return next((name for name in self.names() if self.read(name)["state"] in ("preparing", "training")), None)

    def start(self, name: str, arguments: list[str], data: str) -> None:
        """Start `train rrhf` with `arguments` into the adapter `name`. `data` is kept as the file `data_of(name)`, so
        that the training can be resumed and repeated. Raises UserError if it cannot start."""
        out = self._out(name)
        if (out / "adapter_config.json").exists():
            raise UserError(f"There is already an adapter {shown(name)}; choose another name.")
        if (out / "checkpoint").exists():
            raise UserError(f"There is a training {shown(name)} that can go on; resume it or choose another name.")
        self._free()
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        (out / DATA).write_text(data, encoding="utf-8")
        (out / COMMAND).write_text(json.dumps(arguments), encoding="utf-8")
        self._spawn(name, arguments)

    def data_of(self, name: str) -> Path:
        """Where the data of a training lie."""
        return self._out(name) / DATA

    def resume(self, name: str) -> None:
        """Go on with a training that was stopped or interrupted."""
        if self.read(name)["state"] == "done":
            raise UserError(f"The training {shown(name)} is done; there is nothing to go on with.")
        self._free()
        arguments = json.loads((self._out(name) / COMMAND).read_text(encoding="utf-8"))
        more = ["--resume"] if (self._out(name) / "checkpoint").exists() else []
        self._spawn(name, [*arguments, *more])

    def stop(self, name: str) -> None:
        """Ask a training to leave a checkpoint and end."""
        told = self.read(name)
        if told["state"] in ("preparing", "training"):
            os.kill(told["pid"], signal.SIGTERM)

    def close(self) -> None:
        """Stop what this process started, and wait for the checkpoint."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for child in self._children.values():
            child.wait()

    def _free(self) -> None:
        if busy := self.running():
            raise UserError(f"The training {shown(busy)} is still at work; wait for it or stop it first.")

    def _out(self, name: str) -> Path:
        if not _NAME.fullmatch(name or ""):
            raise UserError(
                f"The name {shown(name)} cannot be used; take 1 to 40 small letters, digits, - and _, as in my-adapter."
            )
        return self.folder / name

    def _spawn(self, name: str, arguments: list[str]) -> None:
        out = self._out(name)
        gently = ["nice", "-n", "10"] if shutil.which("nice") else []
        command = [*gently, sys.executable, "-m", "playground", "train", "rrhf", *arguments, "--out", str(out)]
        with (out / LOG).open("ab") as log:
            child = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=ROOT,
                env=os.environ | self.settings.as_environment(),
            )
        self._children[name] = child
        # Until the child itself writes: it must import torch first.
        journal = Journal(out, 1)
        journal.told |= _identity(child.pid)
        journal.end("preparing")

    def _alive(self, name: str, told: dict[str, Any]) -> bool:
        if (child := self._children.get(name)) and child.pid == told["pid"]:
            return child.poll() is None
        born = _identity(told["pid"])["born"]
        return born is not None and born == told.get("born")


def _identity(pid: int) -> dict[str, Any]:
    """A process by its number and the time of its birth: numbers are used again."""
    try:
        return {"pid": pid, "born": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "born": None}
