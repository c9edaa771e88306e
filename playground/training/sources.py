"""Where the rows of a training come from: a file, the arena's votes, or sampled and scored responses."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from playground.errors import UserError
from playground.jsonl import read_texts
from playground.models.fetch import Progress
from playground.requests import LaneRequest
from playground.service import Playground
from playground.settings import Settings
from playground.store.ballots import write_votes
from playground.store.votes import open_votes
from playground.training.data import write_rows
from playground.training.records import Job, Rewarded, RowsFile, RrhfJob, Sampling, ValueJob
from playground.training.sampling import read_given, rows_with_responses, sample_rows

MADE = "rows.jsonl"


def rows_file(job: Job, settings: Settings, resume: bool, say: Callable[[str], None], watch: Progress) -> Path:
    """The file of rows to train on. Rows that are made here are kept beside the result; a resumed training has them
    already. Raises UserError."""
    if isinstance(job.source, RowsFile):
        return job.source.path
    made = job.out / MADE
    if resume and made.is_file():
        return made
    if isinstance(job.source, Sampling | Rewarded):
        make = _sampled if isinstance(job.source, Sampling) else _rewarded
        rows = make(job, settings, say, watch)
        write_rows(made, rows)
        say(f"{len(rows)} scored rows are in {made}.")
    else:
        with open_votes(settings.database) as votes:
            rows = votes.rows()
        if not rows:
            raise UserError("There are no votes to train on; vote in the arena first, or import votes.")
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(write_votes(rows, "rrhf"))
        say(f"{len(rows)} votes are in {made}.")
    return made


def _rewarded(job: ValueJob, settings: Settings, say: Callable[[str], None], watch: Progress) -> list[dict[str, Any]]:
    """The rows of a file, their responses scored anew."""
    rows = rows_with_responses(job.source.path)
    texts = [(row["query"], text) for row in rows for text in row["responses"]]
    with closing(Playground(replace(settings, database=":memory:"), watch)) as playground:
        scores = iter(playground.scores(job.source.reward, texts, watch=watch))
    return [row | {"scores": [round(next(scores), 5) for _ in row["responses"]]} for row in rows]


def _sampled(
    job: RrhfJob | ValueJob, settings: Settings, say: Callable[[str], None], watch: Progress
) -> list[dict[str, Any]]:
    """Responses that lanes gave to prompts, scored."""
    source, config = job.source, job.config
    prompts = [row["prompt"] for row in read_texts(source.prompts, ("prompt",), source.limit or None)]
    lanes = [LaneRequest.parse(lane) for lane in source.lanes]
    given = read_given(source.answers) if source.answers else None
    with closing(Playground(replace(settings, database=":memory:"), watch)) as playground:
        return sample_rows(
            playground,
            prompts,
            lanes,
            source.samples,
            source.score_with,
            config.max_response,
            config.seed,
            given,
            watch,
            say,
        )
