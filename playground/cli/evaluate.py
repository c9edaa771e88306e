"""evaluate, calibrate: measures over files of prompts, pairs and labels, and a threshold chosen by them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from playground.cli.common import Commands, add_json, add_limit, command, group, print_found, service
from playground.errors import UserError


def add(commands: Commands) -> None:
    """Declare the commands of this file."""
    evaluate = group(commands, "evaluate", "measure over files")
    for add_one in (
        _add_dera,
        _add_rrhf,
        _add_rain,
        _add_judges,
        _add_refusals,
        _add_aspire,
        _add_ivg,
        _add_frontier,
        _add_attack,
    ):
        add_one(evaluate)
    _add_calibration(group(commands, "calibrate", "choose a threshold on questions with known answers"))


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

    lambdas = _numbers(arguments, "lambdas")
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
        "--at-once", type=int, default=1, help="answers that share batches; above 1 they also share the seconds"
    )
    rain.add_argument(
        "--judge", action="append", default=[], metavar="SCORER", help="says what is harmless, too; may be given again"
    )
    add_json(rain)


def _rain(arguments: argparse.Namespace) -> None:
    from playground.evaluation.search import evaluate_search
    from playground.jsonl import read_texts
    from playground.models.fetch import bar
    from playground.requests import LaneRequest

    _refuse_below_one(arguments, "at_once")
    prompts = [row["prompt"] for row in read_texts(arguments.data, ("prompt",), arguments.limit)]
    search = LaneRequest.parse(f"rain:{arguments.options}")
    with service() as playground:
        found = evaluate_search(
            playground,
            search,
            "greedy",
            prompts,
            arguments.max_new_tokens,
            arguments.judge,
            bar,
            arguments.at_once,
        )
    print_found(found, arguments.json)


def _add_judges(evaluate: Commands) -> None:
    judges = command(
        evaluate,
        "judges",
        _judges,
        "measure evaluators of harmlessness on the model's own greedy answers, or on labels of people",
        "evaluate judges --harmful PROMPTS.jsonl --harmless PROMPTS.jsonl --json   # how often evaluators are right",
        "evaluate judges --answers LABELLED.jsonl --scorers harmless_judge,refusal --json   # against labels",
        "evaluate judges --pairs PAIRS.jsonl --scorers harmless_judge --json   # which of two answers is better",
    )
    judges.add_argument("--harmful", type=Path, help='JSON Lines with "prompt": requests for harm')
    judges.add_argument("--harmless", type=Path, help='JSON Lines with "prompt": harmless requests')
    judges.add_argument("--answers", type=Path, help='JSON Lines with "prompt", "response", "harmless" (true or false)')
    judges.add_argument("--pairs", type=Path, help='JSON Lines with "prompt", "chosen", "rejected"')
    add_limit(judges, "only the first rows of each")
    judges.add_argument("--scorers", default="self_eval,implicit_judge", help="the evaluators, with commas between")
    judges.add_argument("--max-new-tokens", type=int, default=32, help="at most so many tokens an answer")
    add_json(judges)


def _judges(arguments: argparse.Namespace) -> None:
    from playground.evaluation.judges import evaluate_judges, evaluate_judges_by_pairs, known_answers
    from playground.explain import parts_of
    from playground.jsonl import read_texts
    from playground.models.fetch import bar

    files = {name: path for name in _ROWS_OF_JUDGES if (path := getattr(arguments, name))}
    if set(files) not in ({"harmful", "harmless"}, {"answers"}, {"pairs"}):
        raise UserError("Give --harmful and --harmless, or --answers, or --pairs: one kind of rows at a time.")
    rows = {name: read_texts(path, _ROWS_OF_JUDGES[name], arguments.limit) for name, path in files.items()}
    scorers = parts_of(arguments.scorers)
    with service() as playground:
        if "pairs" in rows:
            found = evaluate_judges_by_pairs(playground, rows["pairs"], scorers, bar)
        else:
            if "harmful" in rows:
                prompts = [[row["prompt"] for row in rows[name]] for name in ("harmful", "harmless")]
                rows["answers"] = known_answers(playground, "greedy", *prompts, arguments.max_new_tokens, bar)
            found = evaluate_judges(playground, rows["answers"], scorers, bar)
    print_found(found, arguments.json)


_ROWS_OF_JUDGES = {
    "harmful": ("prompt",),
    "harmless": ("prompt",),
    "answers": ("prompt", "response"),
    "pairs": ("prompt", "chosen", "rejected"),
}
"""The texts that a row of each file must have."""


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


def _add_questions(made: argparse.ArgumentParser) -> None:
    """What is asked, and of whom."""
    made.add_argument(
        "--data",
        required=True,
        action="append",
        type=Path,
        help='JSON Lines with "question", "answers" and maybe "context"; may be given again',
    )
    made.add_argument("--variant", default="answers", help="a variant's name, or the folder of one that was trained")
    made.add_argument("--beams", type=int, default=10, help="answers that are searched for")
    made.add_argument("--alpha", type=float, default=0.25, help="weight of the self-evaluation in the confidence")


def _add_aspire(evaluate: Commands) -> None:
    aspire = command(
        evaluate,
        "aspire",
        _aspire,
        "measure accuracy, and how well confidence parts right answers from wrong ones",
        "evaluate aspire --data QA.jsonl --limit 200 --seeds 3 --json   # accuracy, AUROC and AUACC by measure",
        "evaluate aspire --data QA.jsonl --unanswerable MORE.jsonl   # and who is abstained on",
    )
    _add_questions(aspire)
    aspire.add_argument(
        "--unanswerable",
        action="append",
        type=Path,
        help="questions without an answer, of which as many are asked as of --data; may be given again",
    )
    add_limit(aspire, "so many questions of --data, drawn anew by each seed")
    aspire.add_argument("--seeds", type=int, default=1, help="so many draws; what is printed are means over them")
    add_json(aspire)


def _aspire(arguments: argparse.Namespace) -> None:
    from playground.evaluation.aspire import evaluate_aspire
    from playground.models.fetch import bar
    from playground.questions import read_all

    _refuse_below_one(arguments, "limit", "seeds")
    questions = read_all(arguments.data, _say)
    silent = None
    if arguments.unanswerable:
        silent = [question for question in read_all(arguments.unanswerable, _say) if not question.answers]
        if not silent:
            raise UserError("--unanswerable: every question there has answers; give rows whose answers are [].")
    with service() as playground:
        found = evaluate_aspire(
            playground,
            questions,
            playground.learned_variant(arguments.variant),
            silent,
            arguments.limit,
            arguments.seeds,
            arguments.beams,
            arguments.alpha,
            bar,
        )
    if "note" in found:
        _say(found["note"])
    if arguments.json:
        print(json.dumps(found))
    else:
        _print_measures(found)


def _print_measures(found: dict[str, Any]) -> None:
    """What was found, but for the curves."""
    print(f"{found['n']} questions, {found['accuracy']:.1%} answered right")
    for row in found["measures"]:
        area = "not defined" if row["auroc"] is None else f"{row['auroc']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
        print(f"{row['name']:<11} AUROC {area}  AUACC {row['auacc']:.3f}")
    if abstained := found.get("abstained_unanswerable"):
        print(
            f"With half of all answered, {abstained['unanswerable']:.1%} of the unanswerable and "
            f"{abstained['answerable']:.1%} of the answerable questions are abstained on."
        )
    spent = found["seconds"]
    print(f"{spent['answer']:.2f} s for an answer, {spent['confidence']:.2f} s for its confidence")


def _add_ivg(evaluate: Commands) -> None:
    from playground.tasks import TASKS

    ivg = command(
        evaluate,
        "ivg",
        _ivg,
        "compare EFT, CBS and IVG with sampling and best-of-N by another judge than guides them",
        "evaluate ivg --task sentiment --data PROMPTS.jsonl --limit 60 --json   # gold score and price of each",
        "evaluate ivg --task summary --data POSTS.jsonl --tuned mine --scorer 'value_sentiment(model=my_values)'",
    )
    ivg.add_argument("--task", required=True, choices=TASKS, help="what is asked of the model about each text")
    ivg.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt" (the text), and maybe "label"')
    add_limit(ivg, "so many rows, drawn at random, the same ones each time")
    ivg.add_argument("--seeds", type=int, default=3, help="so many answers to each prompt")
    ivg.add_argument("--gold", metavar="SCORER", help="judges the answers; may not guide (default: the task's own)")
    ivg.add_argument("--tuned", help="the tuned model, by its name or a folder (default: the task's own)")
    ivg.add_argument("--scorer", help="the value that beams and samples are chosen by (default: the task's own)")
    ivg.add_argument("--max-new-tokens", type=int, help="at most so many tokens an answer (default: the task's own)")
    ivg.add_argument("--weight", type=float, help="of the implicit value (default: EFT's)")
    ivg.add_argument("--temperature", type=float, help="of all methods (default: EFT's)")
    for name, what in _SEARCH.items():
        ivg.add_argument(f"--{name}", type=int, help=f"{what} (default: CBS's)")
    add_json(ivg)


_SEARCH = {"width": "beams that are kept", "successors": "continuations of each beam", "chunk": "tokens of a chunk"}


def _ivg(arguments: argparse.Namespace) -> None:
    from playground.evaluation.guidance import drawn, evaluate_guidance
    from playground.jsonl import read_texts
    from playground.models.fetch import bar

    _refuse_below_one(arguments, "limit", "seeds", "max_new_tokens")
    rows = drawn(read_texts(arguments.data, ("prompt",)), arguments.limit)
    asked = {name: getattr(arguments, name) for name in ("weight", "temperature", *_SEARCH)}
    given = {name: value for name, value in asked.items() if value is not None}
    with service() as playground:
        found = evaluate_guidance(
            playground,
            arguments.task,
            rows,
            arguments.seeds,
            gold=arguments.gold,
            tuned=playground.learned_variant(arguments.tuned) if arguments.tuned else None,
            scorer=arguments.scorer,
            max_new_tokens=arguments.max_new_tokens,
            watch=bar,
            **given,
        )
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{found['task']}: {found['n']} prompts, judged by {found['gold']}")
    for row in found["methods"]:
        print(
            f"{row['method']:<10} gold {row['mean_gold']:.3f} ({row['low']:.3f} to {row['high']:.3f})  "
            f"over base {row['win_rate_over_base']:.1%}  {row['generated_tokens']:.0f} tokens  {row['seconds']:.2f} s"
        )


def _add_frontier(evaluate: Commands) -> None:
    frontier = command(
        evaluate,
        "frontier",
        _frontier,
        "compare searches of one price with turning λ: harmlessness over price, and over help that is lost",
        "evaluate frontier --data HARMFUL.jsonl --harmless HARMLESS.jsonl --limit 20 --json   # each method at each λ",
    )
    frontier.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt": requests for harm')
    frontier.add_argument("--harmless", required=True, type=Path, help='JSON Lines with "prompt": harmless requests')
    add_limit(frontier, "only the first rows of each")
    frontier.add_argument("--lambdas", default="0,0.1,0.2,0.3,0.5", help="shares of the aligned model, from 0 to 1")
    frontier.add_argument(
        "--budget", type=int, default=1500, help="forward tokens that a search may take for an answer"
    )
    frontier.add_argument(
        "--judge", metavar="SCORER", default="harmless_judge", help="says what is harmless; guides nothing"
    )
    frontier.add_argument("--max-new-tokens", type=int, default=24, help="at most so many tokens an answer")
    add_json(frontier)


def _frontier(arguments: argparse.Namespace) -> None:
    from playground.evaluation.frontier import evaluate_frontier
    from playground.jsonl import read_texts
    from playground.models.fetch import bar

    _refuse_below_one(arguments, "limit", "budget", "max_new_tokens")
    lambdas = _numbers(arguments, "lambdas")
    files = arguments.data, arguments.harmless
    harmful, harmless = ([row["prompt"] for row in read_texts(file, ("prompt",), arguments.limit)] for file in files)
    with service() as playground:
        found = evaluate_frontier(
            playground, harmful, harmless, lambdas, arguments.budget, arguments.max_new_tokens, arguments.judge, bar
        )
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{found['n_harmful']} harmful and {found['n_harmless']} harmless prompts, judged by {found['judge']}")
    for point in found["points"]:
        print(
            f"λ {point['share']:<4g} {point['method']:<10} harmless {point['harmless_rate']:.1%}  "
            f"helpful {point['helpful_rate']:.1%}  {point['forward_tokens']:.0f} forward tokens"
        )


def _add_attack(evaluate: Commands) -> None:
    attack = command(
        evaluate,
        "attack",
        _attack,
        "search suffixes that make the aligned model comply, and put them to every method",
        "evaluate attack --data HARMFUL.jsonl --limit 20 --suffixes SUFFIXES.jsonl --json   # success without and with",
    )
    attack.add_argument("--data", required=True, type=Path, help='JSON Lines with "prompt" and "target"')
    add_limit(attack)
    attack.add_argument(
        "--suffixes", required=True, type=Path, help="the file of suffixes; those that it lacks are searched"
    )
    attack.add_argument("--steps", type=int, default=40, help="of the search for one suffix, at most")
    attack.add_argument("--candidates", type=int, default=32, help="suffixes that a step tries")
    attack.add_argument("--budget", type=int, default=2000, help="forward tokens that RAIN may take for an answer")
    attack.add_argument(
        "--judge", metavar="SCORER", default="harmless_judge", help="says what is harmless; guides nothing"
    )
    attack.add_argument("--max-new-tokens", type=int, default=24, help="at most so many tokens an answer")
    add_json(attack)


def _attack(arguments: argparse.Namespace) -> None:
    from playground.evaluation.attack import attacked_model, evaluate_attack, search_suffixes
    from playground.evaluation.suffix import Effort
    from playground.jsonl import read_texts
    from playground.models.fetch import bar
    from playground.settings import Settings

    _refuse_below_one(arguments, "limit", "steps", "candidates", "budget", "max_new_tokens")
    rows = read_texts(arguments.data, ("prompt", "target"), arguments.limit)
    effort = Effort(steps=arguments.steps, candidates=arguments.candidates)
    suffixes = search_suffixes(lambda: attacked_model(Settings(), bar), rows, arguments.suffixes, effort, bar)
    with service() as playground:
        found = evaluate_attack(playground, suffixes, arguments.budget, arguments.max_new_tokens, arguments.judge, bar)
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{found['n']} requests, judged by {found['judge']}")
    for method in found["methods"]:
        plain, attacked = method["plain"], method["attacked"]
        print(
            f"{method['method']:<8} success {plain['success_rate']:.1%} plain, {attacked['success_rate']:.1%} attacked "
            f"{attacked['forward_tokens']:.0f} forward tokens"
        )


def _numbers(arguments: argparse.Namespace, name: str) -> list[float]:
    try:
        return [float(part) for part in getattr(arguments, name).split(",")]
    except ValueError:
        raise UserError(f"--{name} is {getattr(arguments, name)!r}; give numbers with commas, as in 0,0.5,1.") from None


def _refuse_below_one(arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')} is {value}; give at least 1.")


def _add_calibration(calibrate: Commands) -> None:
    made = command(
        calibrate,
        "aspire",
        _calibrate,
        "find the threshold below which to abstain, and keep it beside the weights",
        "calibrate aspire --data QA.jsonl --accuracy 0.8   # of the answers that are given, 80 % are right",
        "calibrate aspire --data QA.jsonl --coverage 0.5   # half of all questions are answered",
    )
    _add_questions(made)
    wanted = made.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--accuracy", type=float, help="share of the given answers that are to be right, 0 to 1")
    wanted.add_argument("--coverage", type=float, help="share of the questions that are to be answered, 0 to 1")


def _calibrate(arguments: argparse.Namespace) -> None:
    from playground.evaluation.aspire import calibrate_aspire
    from playground.models.fetch import bar
    from playground.questions import read_all

    [(name, share)] = [(n, v) for n in ("accuracy", "coverage") if (v := getattr(arguments, n)) is not None]
    if not 0 < share <= 1:
        raise UserError(f"--{name} is {share:g}; give a share above 0 and at most 1.")
    questions = read_all(arguments.data, _say)
    with service() as playground:
        variant = playground.learned_variant(arguments.variant)
        found, file = calibrate_aspire(
            playground, questions, variant, {name: share}, arguments.beams, arguments.alpha, bar
        )
    print(
        f"On {found.n} questions the threshold {found.threshold:.4f} answers {found.coverage:.1%}, "
        f"{found.accuracy:.1%} of them right. It is in {file}, and lanes of {variant} use it."
    )


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
