"""train: adapters, and the rows that the shipped ones learn from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from playground.cli.common import Commands, add_fields, add_shared_fields, command, fields_of, group, service
from playground.errors import UserError
from playground.training.records import (
    CHECKPOINT,
    EvaluateConfig,
    EvaluateJob,
    Job,
    LabelConfig,
    Rewarded,
    RowsFile,
    RrhfConfig,
    RrhfJob,
    Sampling,
    TaskConfig,
    TaskJob,
    ValueConfig,
    ValueJob,
    Votes,
    checked,
    read_job,
)

ASPIRE_STAGES = ("task", "label", "evaluate")


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    train = group(commands, "train", "train an adapter")
    made_rows = (_add_careful_rows, _add_verdict_rows, _add_aspire_rows, _add_sentiment_rows, _add_harmless_rows)
    for add_one in (_add_rrhf, _add_aspire, _add_value, _add_judge, _add_job, *made_rows, _add_judge_rows):
        add_one(train)


def _add_common(made: argparse.ArgumentParser, *more: str) -> None:
    """What every kind of training takes, and `more` fields of a job."""
    made.add_argument("--out", required=True, type=Path, metavar="adapters/NAME", help="the folder of the result")
    add_fields(made, Job, "base", *more)
    _add_resume(made)


def _add_resume(made: argparse.ArgumentParser) -> None:
    made.add_argument("--resume", action="store_true", help="continue from the checkpoint in the folder of the result")


def _add_rrhf(train: Commands) -> None:
    rrhf = command(
        train,
        "rrhf",
        _rrhf,
        "train an adapter on ranked responses (RRHF)",
        "train rrhf --data ROWS.jsonl --out adapters/NAME   # from ranked responses",
        "train rrhf --prompts PROMPTS.jsonl --samples 4 --score-with length --out adapters/NAME   "
        "# sample, score, rank, train",
        "train rrhf --data votes --out adapters/NAME   # what people prefer becomes an adapter",
    )
    source = rrhf.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help='JSON Lines of ranked responses, or "votes" for those of the arena')
    add_fields(source, Sampling, "prompts")
    add_fields(rrhf, Sampling, "samples", "score_with", "answers", "limit")
    _add_lanes(rrhf)
    _add_common(rrhf, "start")
    add_fields(rrhf, RrhfConfig)


def _add_lanes(made: argparse.ArgumentParser) -> None:
    """What samples responses."""
    lanes = Sampling.model_fields["lanes"]
    made.add_argument(
        "--lane",
        dest="lanes",
        action="append",
        metavar="METHOD[:OPTION=VALUE,…]",
        help=f"{lanes.description} (default: {' '.join(lanes.default)})",
    )


def _rrhf(arguments: argparse.Namespace) -> None:
    from playground.training.process import run

    if arguments.prompts:
        source = checked(Sampling, **fields_of(arguments, Sampling))
    else:
        source = Votes() if str(arguments.data) == "votes" else RowsFile(path=arguments.data)
    config = checked(RrhfConfig, **fields_of(arguments, RrhfConfig))
    run(RrhfJob(**fields_of(arguments, Job), source=source, config=config), arguments.resume)


def _add_aspire(train: Commands) -> None:
    aspire = command(
        train,
        "aspire",
        _aspire,
        "train a model to answer questions and to know how sure it may be (ASPIRE)",
        "train aspire --data QA.jsonl --out adapters/NAME   # all three stages",
        "train aspire --data QA.jsonl --out adapters/NAME --stage evaluate --steps 800   # the last one alone",
    )
    aspire.add_argument(
        "--data", required=True, type=Path, help='JSON Lines with "question", "answers" and maybe "context"'
    )
    aspire.add_argument(
        "--stage",
        choices=("all", *ASPIRE_STAGES),
        default="all",
        help="task: learn to answer; label: search answers and mark them; evaluate: learn to tell right from wrong",
    )
    _add_common(aspire, "start")
    add_shared_fields(aspire, {"task": TaskConfig, "label": LabelConfig, "evaluate": EvaluateConfig})


def _aspire(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar
    from playground.scorers.p_correct import PROMPT
    from playground.training.aspire_labels import LABELLED, label
    from playground.training.process import run

    out, resume = arguments.out, arguments.resume
    wanted = ASPIRE_STAGES if arguments.stage == "all" else (arguments.stage,)
    given = {kind: checked(kind, **fields_of(arguments, kind)) for kind in (TaskConfig, LabelConfig, EvaluateConfig)}
    if "task" in wanted and not (resume and (out / TaskJob.result).is_file()):
        source = RowsFile(path=arguments.data)
        run(TaskJob(**fields_of(arguments, Job), source=source, config=given[TaskConfig]), resume)
        if not (out / TaskJob.result).is_file():
            return  # stopped
    if "label" in wanted:
        label(out, arguments.data, given[LabelConfig], resume, print, bar)
    if "evaluate" in wanted:
        place, source = out / PROMPT, RowsFile(path=out / LABELLED)
        job = EvaluateJob(out=place, base=arguments.base, task=out, source=source, config=given[EvaluateConfig])
        run(job, resume and (place / CHECKPOINT).is_file())


def _add_value(train: Commands) -> None:
    value = command(
        train,
        "value",
        _value,
        "train a value head that tells of an unfinished answer what reward it will end with (FUDGE, for CBS and IVG)",
        "train value --data ROWS.jsonl --reward vader --out adapters/NAME   # responses, scored by a scorer",
        "train value --prompts PROMPTS.jsonl --samples 4 --score-with vader --out adapters/NAME   # sampled, scored",
    )
    source = value.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help='JSON Lines with "query" (or "prompt"), "responses", and "scores"')
    add_fields(source, Sampling, "prompts")
    value.add_argument("--reward", metavar="SCORER", help="scores the responses of --data; else their scores are taken")
    add_fields(value, Sampling, "samples", "score_with", "limit")
    _add_lanes(value)
    _add_common(value)
    add_fields(value, ValueConfig)


def _value(arguments: argparse.Namespace) -> None:
    from playground.training.process import run

    if arguments.prompts:
        if arguments.reward:
            raise UserError("--reward scores the responses of --data; of --prompts give the scorer as --score-with.")
        source = checked(Sampling, **fields_of(arguments, Sampling))
    elif arguments.reward:
        source = Rewarded(path=arguments.data, reward=arguments.reward)
    else:
        source = RowsFile(path=arguments.data)
    config = checked(ValueConfig, **fields_of(arguments, ValueConfig))
    run(ValueJob(**fields_of(arguments, Job), source=source, config=config), arguments.resume)


def _add_judge(train: Commands) -> None:
    judge = command(
        train,
        "judge",
        _judge,
        "train the judge of harmlessness, which has no part in any search (a minute or two)",
        "train judge --data train/judge.jsonl --out adapters/judge",
    )
    judge.add_argument("--data", required=True, type=Path, help="what judge-rows wrote")
    judge.add_argument("--out", required=True, type=Path, help="the folder of the result")


def _judge(arguments: argparse.Namespace) -> None:
    from playground.models.embed import load_embedder
    from playground.models.fetch import bar
    from playground.models.specs import read_catalogue
    from playground.settings import Settings
    from playground.training.judge import train_judge

    settings = Settings()
    spec = read_catalogue(settings.catalogue).embedder
    if not spec:
        raise UserError("The judge stands on the embedder, and none is set up; add one as `embedder` in models.yaml.")
    train_judge(load_embedder(spec, settings.cache, bar), arguments.data, arguments.out, spec.title)
    print(f"The judge is in {arguments.out}.")


def _add_job(train: Commands) -> None:
    job = command(
        train,
        "job",
        _job,
        "train what a file says",
        "train job adapters/NAME/job.json --resume   # a training that was started on the page, continued here",
    )
    job.add_argument("file", type=Path, help="job.json, which every training keeps in the folder of its result")
    _add_resume(job)


def _job(arguments: argparse.Namespace) -> None:
    from playground.training.process import run

    run(read_job(arguments.file), arguments.resume)


def _add_careful_rows(train: Commands) -> None:
    careful = command(
        train,
        "careful-rows",
        _careful_rows,
        "make the rows that the shipped adapter `careful` is trained on",
        "train careful-rows --data-dir DIR --out train/careful.jsonl",
    )
    _add_data_dir(careful)
    _add_made_rows(careful)


def _careful_rows(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar
    from playground.training.careful import careful_rows

    with service() as playground:
        rows = careful_rows(playground, arguments.data_dir, arguments.seed, bar)
    _write(arguments, rows)


def _add_verdict_rows(train: Commands) -> None:
    verdicts = command(
        train,
        "verdict-rows",
        _verdict_rows,
        "make the rows that the shipped adapter `evaluator` is trained on",
        "train verdict-rows --rows train/careful.jsonl --out train/verdicts.jsonl",
    )
    verdicts.add_argument("--rows", required=True, type=Path, help="what careful-rows wrote")
    _add_made_rows(verdicts)


def _verdict_rows(arguments: argparse.Namespace) -> None:
    from playground.training.verdicts import verdict_rows

    rows = verdict_rows(arguments.rows, arguments.seed)
    _write(arguments, rows)


def _add_aspire_rows(train: Commands) -> None:
    rows = command(
        train,
        "aspire-rows",
        _aspire_rows,
        "make the rows that the shipped variant `answers` is trained on",
        "train aspire-rows --data-dir DIR --out train/aspire.jsonl",
    )
    _add_data_dir(rows)
    _add_made_rows(rows)


def _aspire_rows(arguments: argparse.Namespace) -> None:
    from playground.training.aspire_rows import aspire_rows

    rows = aspire_rows(arguments.data_dir, arguments.seed)
    _write(arguments, rows)


def _add_sentiment_rows(train: Commands) -> None:
    rows = command(
        train,
        "sentiment-rows",
        _sentiment_rows,
        "make the rows that the shipped `value_sentiment` and `positive` are trained on",
        "train sentiment-rows --data-dir DIR --out train/positive.jsonl --values train/values.jsonl",
    )
    _add_data_dir(rows)
    _add_made_rows(rows)
    rows.add_argument("--values", required=True, type=Path, help="JSON Lines to write for the value head: more rows")


def _sentiment_rows(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar
    from playground.training.data import write_rows
    from playground.training.sentiment import sentiment_rows

    with service() as playground:
        sampled, by_people = sentiment_rows(playground, arguments.data_dir, seed=arguments.seed, watch=bar)
    _write(arguments, sampled)
    write_rows(arguments.values, [*sampled, *by_people])
    print(f"{len(sampled) + len(by_people)} rows are in {arguments.values}.")


def _add_harmless_rows(train: Commands) -> None:
    rows = command(
        train,
        "harmless-rows",
        _harmless_rows,
        "make the rows that the shipped `value_harmless` is trained on",
        "train harmless-rows --data-dir DIR --out train/harmless.jsonl",
    )
    _add_data_dir(rows)
    _add_made_rows(rows)


def _harmless_rows(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar
    from playground.training.harmless import harmless_rows

    with service() as playground:
        rows = harmless_rows(playground, arguments.data_dir, arguments.seed, bar)
    _write(arguments, rows)


def _add_judge_rows(train: Commands) -> None:
    rows = command(
        train,
        "judge-rows",
        _judge_rows,
        "make the rows that the shipped judge of harmlessness is trained on",
        "train judge-rows --data-dir DIR --out train/judge.jsonl",
    )
    _add_data_dir(rows)
    _add_made_rows(rows)


def _judge_rows(arguments: argparse.Namespace) -> None:
    from playground.training.judge import judge_rows

    _write(arguments, judge_rows(arguments.data_dir, arguments.seed))


def _add_data_dir(made: argparse.ArgumentParser) -> None:
    made.add_argument("--data-dir", required=True, type=Path, help="the folder of public data")


def _add_made_rows(made: argparse.ArgumentParser) -> None:
    """What every command takes that makes rows."""
    made.add_argument("--out", required=True, type=Path, help="JSON Lines to write")
    made.add_argument("--seed", type=int, default=0, help="of all random numbers")


def _write(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    from playground.training.data import write_rows

    write_rows(arguments.out, rows)
    print(f"{len(rows)} rows are in {arguments.out}.")
