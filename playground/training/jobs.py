"""Trainings as processes of their own: started, watched through the journal that each keeps, stopped and resumed.

A process of its own leaves the page its speed and its memory, and survives whatever happens to the page.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from playground.errors import UserError, shown
from playground.settings import ROOT, Settings
from playground.training.journal import ENDED, JOURNAL, Journal, identity, read_journal
from playground.training.records import CHECKPOINT, JOB, Job, read_job, write_job

DATA, LOG = "data.jsonl", "log.txt"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


class Trainings:
    """The trainings below the folder of adapters. One runs at a time: they share the machine with the page."""

    def __init__(self, settings: Settings):
        self.settings, self.folder = settings, settings.adapters
        self._children: dict[str, subprocess.Popen] = {}

    def names(self) -> list[str]:
        """Trainings that were ever started here, the newest first."""
        journals = sorted(self.folder.glob(f"*/{JOURNAL}"), key=lambda p: p.stat().st_mtime, reverse=True)
        return [path.parent.name for path in journals if _NAME.fullmatch(path.parent.name)]

    def folder_of(self, name: str) -> Path:
        """Where a training of that name has its result and all else. Raises UserError for a name that cannot be."""
        if not _NAME.fullmatch(name or ""):
            raise UserError(
                f"The name {shown(name)} cannot be used; take 1 to 40 small letters, digits, - and _, as in my-adapter."
            )
        return self.folder / name

    def read(self, name: str) -> dict[str, Any]:
        """The journal of a training. One whose process is gone without a word has the state "interrupted"."""
        try:
            journal = read_journal(self.folder_of(name))
        except (OSError, ValueError):
            raise UserError(
                f"There is no training {shown(name)}; there are: {', '.join(self.names()) or 'none'}."
            ) from None
        if journal["state"] not in ENDED and not self._alive(name, journal):
            journal["state"] = "interrupted"
        return journal

    def running(self) -> str | None:
        """The training at work, if any."""
        return next((name for name in self.names() if self.read(name)["state"] in ("preparing", "training")), None)

    def start(self, job: Job, data: str = "") -> None:
        """Start a job whose `out` is a `folder_of`. `data` is kept as the file DATA in it, so that the training can be
        resumed and repeated. Raises UserError if it cannot start."""
        name, out = job.out.name, self.folder_of(job.out.name)
        if (out / job.result).exists():
            raise UserError(f"There is already an adapter {shown(name)}; choose another name.")
        if (out / CHECKPOINT).exists():
            raise UserError(f"The training {shown(name)} was not finished; resume it or choose another name.")
        self._refuse_if_busy()
        shutil.rmtree(out, ignore_errors=True)
        write_job(job, out / JOB)
        (out / DATA).write_text(data, encoding="utf-8")
        self._spawn(job)

    def resume(self, name: str) -> None:
        """Continue a training that was stopped or interrupted."""
        if self.read(name)["state"] == "done":
            raise UserError(f"The training {shown(name)} is done; there is nothing to resume.")
        self._refuse_if_busy()
        self._spawn(read_job(self.folder_of(name) / JOB))

    def stop(self, name: str) -> bool:
        """Ask a training to leave a checkpoint and end. Returns whether it was at work."""
        journal = self.read(name)
        at_work = journal["state"] in ("preparing", "training")
        if at_work:
            os.kill(journal["pid"], signal.SIGTERM)
        return at_work

    def close(self) -> None:
        """Stop what this process started, and wait for the checkpoint."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for child in self._children.values():
            child.wait()

    def _refuse_if_busy(self) -> None:
        if busy := self.running():
            raise UserError(f"The training {shown(busy)} is still at work; wait for it or stop it first.")

    def _spawn(self, job: Job) -> None:
        """Start the process of a job, which resumes if there is a checkpoint."""
        out = job.out
        gently = ["nice", "-n", "10"] if shutil.which("nice") else []
        resume = ["--resume"] if (out / CHECKPOINT).exists() else []
        command = [*gently, sys.executable, "-m", "playground", "train", "job", str(out / JOB), *resume]
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
        self._children[out.name] = child
        # Until the child itself writes: it must import torch first.
        Journal(out, job.config.steps, child.pid).write()

    def _alive(self, name: str, journal: dict[str, Any]) -> bool:
        if (child := self._children.get(name)) and child.pid == journal["pid"]:
            return child.poll() is None
        born = identity(journal["pid"])["born"]
        return born is not None and born == journal.get("born")
