"""One training from a job to its result: rows in, a trained part of a model and its card out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from playground.errors import UserError, shown
from playground.models.fetch import Progress as LoadProgress
from playground.models.fetch import no_progress
from playground.models.layers import dense_precision
from playground.models.loading import load_model, pick_device
from playground.models.specs import read_catalogue
from playground.settings import Settings
from playground.training.aspire_evaluate import SelfEvaluation
from playground.training.aspire_task import AnswerTask
from playground.training.card import card
from playground.training.data import Row
from playground.training.loop import Objective, Progress, Training
from playground.training.prefix_value import PrefixValue
from playground.training.records import Job
from playground.training.rrhf import Rrhf
from playground.training.sources import rows_file

OBJECTIVES: dict[str, type[Objective]] = {
    "rrhf": Rrhf,
    "aspire_task": AnswerTask,
    "aspire_evaluate": SelfEvaluation,
    "value": PrefixValue,
}
"""What each kind of job trains."""


def train(
    job: Job,
    resume: bool = False,
    settings: Settings | None = None,
    watch: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda sentence: None,
    loading: LoadProgress = no_progress,
    stopped: Callable[[], bool] = lambda: False,
) -> Progress:
    """Carry out a job, or `resume` it from its checkpoint.

    watch: told of every step. say: told what is worth knowing (rows that are left out). loading: told of the work
    before the first step. stopped: asked after every step; a training that was stopped leaves its checkpoint and no
    result. Raises UserError for bad input.
    """
    settings = settings or Settings()
    catalogue = read_catalogue(settings.catalogue)
    base = job.base or catalogue.variant("reference").model
    if base not in catalogue.models:
        raise UserError(f"There is no model {shown(base)}; choose one of: {', '.join(catalogue.models)}.")
    if not resume:
        refuse_if_taken(job)
    if job.start and not (job.start / job.result).is_file():
        raise UserError(f"There is no adapter in {job.start} to start from; name its folder.")
    kind = OBJECTIVES[job.kind]
    data = rows_file(job, settings, resume, say, loading)
    found = kind.read(data)
    for problem in found.problems:
        say(f"{data}, {problem}")
    device = pick_device(settings.device)
    precision = "fp32" if settings.precision == "fp32" else dense_precision(device.type)
    loaded = load_model(base, catalogue.models[base], settings.cache, device, precision, loading)
    objective = kind(loaded, job)
    rows = _that_fit(objective, found.rows, say)
    left_out = len(found.problems) + len(found.rows) - len(rows)
    say(f"{len(rows)} rows to train on; {left_out} left out.")
    training = Training(objective, rows, job.config, job.out)
    if resume:
        training.resume()
        say(f"Resumed after step {training.progress.step}.")
    progress = training.run(watch, stopped)
    if progress.step == job.config.steps:
        training.finish(card(training, data, base, precision, left_out, job.start), base)
    return progress


def refuse_if_taken(job: Job) -> None:
    """Raise UserError where a new training would write over a result."""
    if (job.out / job.result).exists():
        raise UserError(f"{job.out} already holds an adapter; choose another name with --out, or remove it.")


def _that_fit(objective: Objective[Row], rows: list[Row], say: Callable[[str], None]) -> list[Row]:
    """Rows that can be trained on; the others are counted and said. Raises UserError if there is none."""
    reasons = [objective.misfit(row) for row in rows]
    for reason, count in Counter(filter(None, reasons)).items():
        say(f"{count} rows are left out: {reason}.")
        if count == len(rows):
            raise UserError(f"No row can be trained on: {reason}.")
    return [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
