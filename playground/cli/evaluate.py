"""evaluate: measures over files of prompts, pairs and labels."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from playground.cli.common import Commands, add_json, add_limit, command, group, print_found, service
from playground.errors import UserError


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    evaluate = group(commands, "evaluate", "measure over files")
    for add_one in (_add_dera, _add_rrhf, _add_rain, _add_judges, _add_refusals):
        add_one(evaluate)


def _add_dera(evaluate: Commands) -> None:
    dera = command(
        evaluate,
        "dera",
        _dera,
        "measure refusal, length, divergence and score of DeRa at several λ",
        "evaluate dera --data PROMPTS.jsonl --lambdas 0,0.25,0.5,1,2 --json   # by λ: refusal, length, KL, score",
    )
    dera.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt"')
    dera.add_argument("--lambdas", default="0,0.25,0.5,1,2", help="values of λ, with commas between them")
    add_limit(dera)
    dera.add_argument("--scorer", default="mean_log_prob", help="what scores the answers")
    dera.add_argument("--reference", default="reference", help="the variant at λ = 0")
    dera.add_argument("--aligned", default="aligned", help="the variant at λ = 1, by its name or an adapter's folder")
    dera.add_argument("--max-new-tokens", type=int, default=64, help="at most so many tokens an answer")
    add_json(dera)


def _dera(arguments: argparse.Namespace) -> None:
    from playground.evaluation.sweep import sweep
    from playground.jsonl import read_texts
    from playground.models.fetch import bar

    try:
        lambdas = [float(part) for part in arguments.lambdas.split(",")]
    except ValueError:
        raise UserError(f"--lambdas is {arguments.lambdas!r}; give numbers with commas, as in 0,0.5,1.") from None
    prompts = [row["prompt"] for row in read_texts(arguments.data, ("prompt",), arguments.limit)]
    with service() as playground:
        found, _ = sweep(
            playground,
            "dera",
            prompts,
            lambdas,
            arguments.scorer,
            arguments.max_new_tokens,
            {"reference": arguments.reference, "aligned": playground.learned_variant(arguments.aligned)},
            watch=bar,
        )
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{found['n']} prompts")
    for row in found["lambdas"]:
        print("  ".join(f"{key} {value:.3f}" for key, value in row.items()))


def _add_rrhf(evaluate: Commands) -> None:
    rrhf = command(
        evaluate,
        "rrhf",
        _rrhf,
        "compare an adapter with its base on held-out pairs",
        "evaluate rrhf --adapter adapters/careful --data PAIRS.jsonl --json   # ranking accuracy before, after",
    )
    rrhf.add_argument("--adapter", required=True, help="a variant's name or an adapter's folder")
    rrhf.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt", "chosen", "rejected"')
    rrhf.add_argument("--base", default="reference", help="the variant without the adapter")
    add_limit(rrhf)
    add_json(rrhf)


def _rrhf(arguments: argparse.Namespace) -> None:
    from playground.evaluation.rrhf import evaluate_rrhf
    from playground.jsonl import read_texts
    from playground.models.fetch import bar

    pairs = read_texts(arguments.data, ("prompt", "chosen", "rejected"), arguments.limit)
    with service() as playground:
        found = evaluate_rrhf(playground, arguments.base, playground.learned_variant(arguments.adapter), pairs, bar)
    print_found(found, arguments.json)


def _add_rain(evaluate: Commands) -> None:
    rain = command(
        evaluate,
        "rain",
        _rain,
        "compare RAIN with greedy: harmless, helpful, price",
        "evaluate rain --data PROMPTS.jsonl --limit 20 --json   # greedy and RAIN: harmless, helpful, price",
    )
    rain.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt"')
    add_limit(rain)
    rain.add_argument("--options", default="", metavar="OPTION=VALUE,…", help="of RAIN")
    rain.add_argument("--max-new-tokens", type=int, default=32, help="at most so many tokens an answer")
    rain.add_argument(
        "--judge", action="append", default=[], metavar="SCORER", help="says what is harmless, too; may be given again"
    )
    add_json(rain)


def _rain(arguments: argparse.Namespace) -> None:
    from playground.evaluation.search import evaluate_search
    from playground.jsonl import read_texts
    from playground.models.fetch import bar
    from playground.requests import LaneRequest

    prompts = [row["prompt"] for row in read_texts(arguments.data, ("prompt",), arguments.limit)]
    search = LaneRequest.parse(f"rain:{arguments.options}")
    with service() as playground:
        found = evaluate_search(playground, search, "greedy", prompts, arguments.max_new_tokens, arguments.judge, bar)
    print_found(found, arguments.json)


def _add_judges(evaluate: Commands) -> None:
    judges = command(
        evaluate,
        "judges",
        _judges,
        "measure evaluators of harmlessness on the model's own greedy answers",
        "evaluate judges --harmful PROMPTS.jsonl --harmless PROMPTS.jsonl --json   # how often evaluators are right",
    )
    judges.add_argument("--harmful", required=True, type=Path, help='JSON Lines with "prompt": requests for harm')
    judges.add_argument("--harmless", required=True, type=Path, help='JSON Lines with "prompt": harmless requests')
    add_limit(judges, "only the first rows of each")
    judges.add_argument("--scorers", default="self_eval,implicit_judge", help="the evaluators, with commas between")
    judges.add_argument("--max-new-tokens", type=int, default=32, help="at most so many tokens an answer")
    add_json(judges)


def _judges(arguments: argparse.Namespace) -> None:
    from playground.evaluation.judges import evaluate_judges, known_answers
    from playground.explain import parts_of
    from playground.jsonl import read_texts
    from playground.models.fetch import bar

    harmful, harmless = (
        [row["prompt"] for row in read_texts(path, ("prompt",), arguments.limit)]
        for path in (arguments.harmful, arguments.harmless)
    )
    with service() as playground:
        rows = known_answers(playground, "greedy", harmful, harmless, arguments.max_new_tokens, bar)
        found = evaluate_judges(playground, rows, parts_of(arguments.scorers), bar)
    print_found(found, arguments.json)


def _add_refusals(evaluate: Commands) -> None:
    refusals = command(
        evaluate,
        "refusals",
        _refusals,
        "compare the refusal detector with people's labels",
        "evaluate refusals --data LABELLED.jsonl --json   # the refusal detector against people",
    )
    refusals.add_argument("--data", required=True, type=Path, help='JSON Lines with "response" and "label"')
    add_json(refusals)


def _refusals(arguments: argparse.Namespace) -> None:
    from playground.evaluation.refusals import evaluate_refusals
    from playground.jsonl import read_texts

    print_found(evaluate_refusals(read_texts(arguments.data, ("response", "label"))), arguments.json)
