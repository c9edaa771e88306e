"""train: adapters, and the rows that the shipped ones learn from."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playground.cli.common import Commands, add_limit, command, group, service
from playground.errors import UserError


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    train = group(commands, "train", "train an adapter")
    for add_one in (_add_rrhf, _add_careful_rows, _add_verdict_rows):
        add_one(train)


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
    source.add_argument("--prompts", type=Path, help='JSON Lines with "prompt": sample, score, rank and train')
    rrhf.add_argument("--samples", type=int, default=4, help="responses of each lane to a prompt")
    rrhf.add_argument("--score-with", default="mean_log_prob", metavar="SCORER", help="what ranks the responses")
    rrhf.add_argument(
        "--lane", action="append", metavar="METHOD[:OPTION=VALUE,…]", help="what samples; default: diverse_beams"
    )
    rrhf.add_argument("--answers", type=Path, help='responses of others, JSON Lines with "prompt" and "responses"')
    add_limit(rrhf, "only the first prompts")
    rrhf.add_argument("--out", required=True, type=Path, metavar="adapters/NAME", help="the adapter's folder")
    rrhf.add_argument("--base", metavar="MODEL", help="default: the model of the variant reference")
    rrhf.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    rrhf.add_argument("--start", type=Path, metavar="adapters/NAME", help="an adapter to go on from")
    for name, kind in _training_options():
        rrhf.add_argument("--" + name.replace("_", "-"), type=kind, default=None, help="a setting of the training")


def _training_options() -> list[tuple[str, type]]:
    """The settings of RRHF as (name, type), without importing torch for --help."""
    whole = ("steps", "rows_per_step", "warmup", "rank", "alpha", "max_prompt", "max_response", "seed")
    return (
        [(n, int) for n in (*whole, "evaluate_every", "save_every")]
        + [(n, float) for n in ("learning_rate", "rank_weight", "tune_weight", "held_out", "scale")]
        + [("targets", str)]
    )


def _rrhf(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from playground.models.fetch import bar
    from playground.training.jobs import Journal
    from playground.training.rrhf import RrhfConfig
    from playground.training.session import refuse_if_taken, train_rrhf

    given = {n: v for n, _ in _training_options() if (v := getattr(arguments, n)) is not None}
    config = RrhfConfig(**given)
    if not arguments.resume:
        refuse_if_taken(arguments.out)
    journal = Journal(arguments.out, config.steps)
    with _asked_to_stop() as stop, journal, tqdm(total=config.steps, unit="step", file=sys.stderr) as steps:

        def watch(progress) -> None:
            journal.note(progress)
            steps.update(progress.step - steps.n)
            recent = progress.losses[-20:]
            steps.set_postfix(
                loss=f"{sum(recent) / len(recent):.3f}",
                accuracy=f"{progress.accuracies[-1][1]:.3f}" if progress.accuracies else "–",
            )

        def say(sentence: str) -> None:
            journal.say(sentence)
            tqdm.write(sentence)

        def loading(share: float, what: str) -> None:
            journal.prepare(share, what)
            bar(share, what)
            if stop.is_set():
                raise KeyboardInterrupt

        progress = train_rrhf(
            data=_training_data(arguments, config, say, loading),
            out=arguments.out,
            config=config,
            base=arguments.base,
            resume=arguments.resume,
            start=arguments.start,
            watch=watch,
            say=say,
            loading=loading,
            stopped=stop.is_set,
        )
        if progress.step < config.steps:
            journal.end("stopped")
            print(f"Stopped after step {progress.step}; the same command with --resume goes on.")
            return
    print(f"The adapter is in {arguments.out}; its card is {arguments.out / 'README.md'}.")


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


def _training_data(arguments: argparse.Namespace, config, say, watch) -> Path:
    """The file to train on: the one named, the arena's votes, or rows that are sampled and scored first. What is made
    here is kept beside the adapter; a resumed training has it already."""
    if arguments.data is not None and str(arguments.data) != "votes":
        return arguments.data
    kept = arguments.out / "rows.jsonl"
    if arguments.resume and kept.is_file():
        return kept
    if arguments.data is not None:
        from playground.cli.votes import open_votes
        from playground.store.ballots import write_votes

        with open_votes() as votes:
            rows = votes.rows()
        if not rows:
            raise UserError("There are no votes to train on; vote in the arena first, or import votes.")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(write_votes(rows, "rrhf"))
        say(f"{len(rows)} votes are in {kept}.")
        return kept
    return _sampled(arguments, kept, config, say, watch)


def _sampled(arguments: argparse.Namespace, kept: Path, config, say, watch) -> Path:
    """The rows that the recipe's first half makes."""
    from playground.evaluation.prompts import read_rows
    from playground.requests import LaneRequest
    from playground.training.data import write_rows
    from playground.training.sampling import read_given, sample_rows

    prompts = [row["prompt"] for row in read_rows(arguments.prompts, ("prompt",), arguments.limit)]
    lanes = [LaneRequest.parse(lane) for lane in arguments.lane or ["diverse_beams"]]
    given = read_given(arguments.answers) if arguments.answers else None
    with service() as playground:
        rows = sample_rows(
            playground,
            prompts,
            lanes,
            arguments.samples,
            arguments.score_with,
            config.max_response,
            config.seed,
            given,
            watch,
            say,
        )
    write_rows(kept, rows)
    say(f"{len(rows)} sampled and scored rows are in {kept}.")
    return kept


def _add_careful_rows(train: Commands) -> None:
    careful = command(
        train,
        "careful-rows",
        _careful_rows,
        "make the rows that the shipped adapter `careful` is trained on",
        "train careful-rows --data-dir DIR --out train/careful.jsonl",
    )
    careful.add_argument("--data-dir", required=True, type=Path, help="the folder of public data")
    careful.add_argument("--out", required=True, type=Path, help="JSON Lines to write")
    careful.add_argument("--seed", type=int, default=0, help="of all random numbers")


def _careful_rows(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar
    from playground.models.loading import load_model, pick_device
    from playground.requests import LaneRequest
    from playground.training.careful import make_rows
    from playground.training.data import write_rows
    from playground.training.magpie import imagine

    with service() as playground:
        name, settings = playground.catalogue.variant("reference").model, playground.settings

        def answer(prompts: list[str]) -> list[str]:
            jobs = [(prompt, LaneRequest(method="greedy"), 0) for prompt in prompts]
            return [lane["text"] for lane in playground.each(jobs, 48, watch=bar)]

        def requests(openings: list[str]) -> list[str]:
            spec = playground.catalogue.models[name]
            loaded = load_model(name, spec, settings.cache, pick_device(settings.device), "bf16", bar)
            return imagine(loaded, openings, arguments.seed, bar)

        rows = make_rows(arguments.data_dir, answer, requests, arguments.seed)
    write_rows(arguments.out, rows)
    print(f"{len(rows)} rows are in {arguments.out}.")


def _add_verdict_rows(train: Commands) -> None:
    verdicts = command(
        train,
        "verdict-rows",
        _verdict_rows,
        "make the rows that the shipped adapter `evaluator` is trained on",
        "train verdict-rows --rows train/careful.jsonl --out train/verdicts.jsonl",
    )
    verdicts.add_argument("--rows", required=True, type=Path, help="what careful-rows wrote")
    verdicts.add_argument("--out", required=True, type=Path, help="JSON Lines to write")
    verdicts.add_argument("--seed", type=int, default=0, help="of all random numbers")


def _verdict_rows(arguments: argparse.Namespace) -> None:
    from playground.jsonl import numbered_lines
    from playground.training.data import write_rows
    from playground.training.verdicts import make_rows

    try:
        rows = make_rows([json.loads(line) for _, line in numbered_lines(arguments.rows)], arguments.seed)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{arguments.rows} holds other rows; name the file that careful-rows wrote.") from None
    write_rows(arguments.out, rows)
    print(f"{len(rows)} rows are in {arguments.out}.")
