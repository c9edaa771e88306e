"""A training as the work of a whole process: a bar in the terminal, a journal for the page, signals that stop it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from playground.models.fetch import bar
from playground.training.journal import Journal
from playground.training.loop import Progress
from playground.training.records import JOB, Job, write_job
from playground.training.session import refuse_if_taken, train

_RECENT = 20
"""Steps whose mean loss the bar shows."""


def run(job: Job, resume: bool = False) -> None:
    """Carry out a job and tell of it. The job is kept beside its result, from where it can be resumed.

    SIGINT and SIGTERM stop it after the step under way, with a checkpoint. Raises UserError, and KeyboardInterrupt if
    it is stopped before the first step.
    """
    if not resume:
        refuse_if_taken(job)
        write_job(job, job.out / JOB)
    steps = job.config.steps
    with (
        _asked_to_stop() as stop,
        Journal(job.out, steps) as journal,
        tqdm(total=steps, unit="step", file=sys.stderr) as shown,
    ):

        def watch(progress: Progress) -> None:
            journal.note(progress)
            shown.update(progress.step - shown.n)
            recent = progress.losses[-_RECENT:]
            last = {name: f"{curve[-1][1]:.3f}" for name, curve in progress.curves.items()}
            shown.set_postfix({"loss": f"{sum(recent) / len(recent):.3f}"} | last)

        def say(sentence: str) -> None:
            journal.say(sentence)
            tqdm.write(sentence)

        def loading(share: float, what: str) -> None:
            journal.prepare(share, what)
            bar(share, what)
            if stop.is_set():
                raise KeyboardInterrupt

        progress = train(job, resume, watch=watch, say=say, loading=loading, stopped=stop.is_set)
        if progress.step < steps:
            journal.end("stopped")
    if progress.step < steps:
        print(f"Stopped after step {progress.step}; the same command with --resume continues.")
    else:
        print(f"The adapter is in {job.out}; its card is {job.out / 'README.md'}.")


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, in place of ending the process."""
    stop = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
