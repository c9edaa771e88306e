"""Measures the ratios in docs/measurements.md: each compares two ways within one run, and the median of runs counts.

side_by_side  six lanes together, against transformers' generate in fp32 one after another
dera_step     one DeRa token step over one plain token step
int4          transformers' fp32 step over our 4-bit step, and how far the distributions lie apart
rain          RAIN's search done plainly, every text from its beginning and alone, over ours; both build one tree
cbs           CBS in the authors' order of work, row after row with every prefix read again, over ours; the same tokens
ivg           one token of an IVG beam over one token of plain sampling, in batches of the same width
decode        milliseconds of a step that writes a token in each of 1 to 64 rows, and llama.cpp's beside it
memory        resident memory of the server after 20 and after 100 runs
opening       the first token after a long system prompt that is known, over one after a system prompt that is new
openai        the first token over /v1 over the first token by the service directly
load          thirty people at once over one alone, and one person beside another who runs 6 × 32 answers
"""

from __future__ import annotations

import itertools
import json
import math
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from playground.engine.engine import Asking, Engine, Reader
from playground.engine.kv import Sequence
from playground.engine.requests import Extend, Open, Opened, Read, Want
from playground.engine.runner import CHUNK, ROWS, SHORT
from playground.errors import UserError, shown
from playground.load import Answer, Person, server
from playground.models.fetch import cached_file
from playground.models.loading import LoadedModel, in_a_thread_that_ends, load_model
from playground.models.prompts import encode_chat
from playground.models.specs import read_catalogue
from playground.requests import LaneRequest, RunRequest
from playground.service import Playground
from playground.settings import Settings

RUNS = 5
SUM = "implicit(reduce=sum)"
DECODE_ROWS, DECODE_TOKENS = (1, 2, 6, 16, 32, 64), 48
_LLAMA = """
import statistics, sys, time
from llama_cpp import Llama
model = Llama(sys.argv[1], n_ctx=512, n_batch=1, verbose=False)
model.eval(model.tokenize(sys.argv[2].encode()))
gaps = []
for _ in range(int(sys.argv[3])):
    began = time.perf_counter()
    model.eval([model.sample(temp=0.0)])
    gaps.append(time.perf_counter() - began)
print(1e3 * statistics.median(gaps))
"""
"""What llama-cpp-python does: one row a pass (its prefill by larger ones crashes on some CPUs)."""
CBS_TOKENS, IVG_TOKENS = 96, 64
RAIN_NODES = {"int4": 120, "fp32": 60}
"""Of the searches that are done twice; the plain way takes minutes for them."""
PEOPLE = 30
HEAD_START = 5.0
"""Seconds that the other person's lanes have before somebody asks beside them: then they write."""
PROMPTS = (
    "Write a long story about a fisherman and the sea.",
    "Explain in detail how a refrigerator works.",
    "Describe the history of the bicycle from its beginnings.",
    "How can I reduce stress?",
    "Give me a long list of ideas for a school project about plants.",
    "What are the differences between cats and dogs? Be thorough.",
)
SIX = ("greedy", "sample", "sample:temperature=0.7", "sample:top_p=0.9", "sample:top_k=40", "sample:min_p=0.05")


@contextmanager
def _playground(precision: str | None = None) -> Iterator[Playground]:
    """A playground of its own, with both variants of the default pair. Only one may live while time is taken: the
    thread pools of idle engines would slow the one that works (docs/design.md, "Findings")."""
    settings = Settings(database=":memory:")
    playground = Playground(replace(settings, precision=precision or settings.precision))
    try:
        playground.memory.ensure("reference", "aligned")
        playground.compare(_request(PROMPTS[0], ["greedy"], 8))  # warm
        yield playground
    finally:
        playground.close()


@cache
def _oracle() -> LoadedModel:
    """The reference's weights in fp32, for transformers' own code."""
    catalogue, settings = read_catalogue(Settings().catalogue), Settings()
    model = catalogue.variant("reference").model
    return in_a_thread_that_ends(
        lambda: load_model(model, catalogue.models[model], settings.cache, torch.device("cpu"), "fp32")
    )


def side_by_side() -> dict[str, Any]:
    """Six lanes of 64 tokens together over the same six one after another; each side writes as many tokens."""
    runs, oracle = [], _oracle()
    with _playground() as playground:
        for number in range(RUNS):
            prompt = PROMPTS[number % len(PROMPTS)]
            request = _request(prompt, SIX, 64, seed=number)
            began = time.perf_counter()
            result = playground.compare(request, origin="bench")
            ours = time.perf_counter() - began
            ids = torch.tensor([encode_chat(oracle.tokenizer, prompt)])
            theirs = in_a_thread_that_ends(lambda: _generate(oracle, ids, result["lanes"]))
            tokens = sum(len(lane["token_ids"]) for lane in result["lanes"])
            runs.append(
                {"ratio": theirs / ours, "together_seconds": ours, "generate_seconds": theirs, "tokens": tokens}
            )
    return {"ratio": _median(runs), "target": 15.0, "better": "higher", "runs": runs}


def _generate(oracle: LoadedModel, ids: torch.Tensor, lanes: list[dict[str, Any]]) -> float:
    """Seconds that transformers takes to write what the lanes wrote, one after another."""
    began = time.perf_counter()
    for lane in lanes:
        count = len(lane["token_ids"])
        with torch.inference_mode():
            oracle.model.generate(ids, min_new_tokens=count, max_new_tokens=count, **_generate_options(lane))
    return time.perf_counter() - began


def _generate_options(lane: dict[str, Any]) -> dict[str, Any]:
    options = lane["options"]
    if lane["method"] == "greedy":
        return {"do_sample": False}
    return {"do_sample": True, **{k: options[k] for k in ("temperature", "top_k", "top_p", "min_p")}}


def dera_step() -> dict[str, Any]:
    """The median gap between two tokens of a DeRa lane over that of a greedy lane, each alone: with two prefix
    variants, and with base and adapter."""
    runs, with_adapter = [], []
    with _playground() as playground:
        for number in range(RUNS):
            prompt = PROMPTS[number % len(PROMPTS)]
            lanes = ("dera:lambda_=0.5,aligned=told", "dera:lambda_=0.5,aligned=aligned", "greedy")
            prefix, adapter, plain = (_gap(playground, prompt, lane) for lane in lanes)
            runs.append({"ratio": prefix / plain, "dera_ms": 1e3 * prefix, "plain_ms": 1e3 * plain})
            with_adapter.append({"ratio": adapter / plain, "dera_ms": 1e3 * adapter, "plain_ms": 1e3 * plain})
    return {
        "ratio": _median(runs),
        "target": 1.15,
        "better": "lower",
        "with_adapter_ratio": _median(with_adapter),
        "with_adapter_target": 1.2,
        "runs": runs,
        "with_adapter_runs": with_adapter,
    }


def int4() -> dict[str, Any]:
    """Speed of one lane against transformers' fp32 model, and mean KL(fp32‖int4) and top-1 agreement on fixed texts."""
    runs, divergences, agreements, oracle = [], [], [], _oracle()
    with _playground() as playground:
        for number in range(RUNS):
            prompt = PROMPTS[number % len(PROMPTS)]
            ours = _gap(playground, prompt, "greedy")
            prompt_ids = encode_chat(oracle.tokenizer, prompt)
            written, theirs, exact = in_a_thread_that_ends(lambda: _fp32_greedy(oracle, prompt_ids, 64))
            runs.append({"ratio": theirs / ours, "int4_ms": 1e3 * ours, "fp32_ms": 1e3 * theirs})
            found = playground.engine.submit(_follow(prompt_ids, written)).wait()
            kl, same = in_a_thread_that_ends(lambda exact=exact, found=found: _compare(exact, found))
            divergences += kl
            agreements += same
    return {
        "ratio": _median(runs),
        "target": 4.5,
        "better": "higher",
        "mean_kl": statistics.fmean(divergences),
        "mean_kl_target": 0.002,
        "top1": statistics.fmean(agreements),
        "tokens": len(agreements),
        "runs": runs,
    }


def _compare(exact: torch.Tensor, found: torch.Tensor) -> tuple[list[float], list[bool]]:
    """KL(exact‖found) in nats and whether the likeliest token agrees, for each row of log-probabilities."""
    return (exact.exp() * (exact - found)).sum(-1).tolist(), (exact.argmax(-1) == found.argmax(-1)).tolist()


def _follow(prompt: list[int], text: list[int]):
    """The engine's distributions along a fixed text, decoded token by token as a lane would."""
    [(sequence, log_probs)] = yield [Open("reference", tuple(prompt))]
    found = [log_probs]
    for token in text[:-1]:
        found += yield [Extend(sequence, (token,))]
    return torch.stack(found)


def _fp32_greedy(oracle: LoadedModel, prompt: list[int], count: int) -> tuple[list[int], float, torch.Tensor]:
    """(greedy continuation, median seconds a step, log-probabilities [count, vocabulary]) by transformers alone."""
    ids, cache, written, gaps, rows = torch.tensor([prompt]), None, [], [], []
    with torch.inference_mode():
        for _ in range(count):
            began = time.perf_counter()
            out = oracle.model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            gaps.append(time.perf_counter() - began)
            cache, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
            written.append(int(ids))
            rows.append(out.logits[0, -1].log_softmax(-1))
    return written, statistics.median(gaps[1:]), torch.stack(rows)


def _gap(playground: Playground, prompt: str, lane: str) -> float:
    """Median seconds between two tokens of a lane that runs alone."""
    return statistics.median(b - a for a, b in itertools.pairwise(_times(playground, prompt, [lane], 64)))


def _times(playground: Playground, prompt: str, lanes: Iterable[str], tokens: int) -> list[float]:
    """When lanes that run alone wrote each of their tokens, in seconds, in order; those of all branches."""
    request = _request(prompt, lanes, tokens)
    works = [playground.prepare(request, lane) for lane in request.lanes]
    times: list[float] = []
    for work in works:
        work.lane.listener = lambda draft: times.append(time.perf_counter())
    tasks = [playground.engine.submit(work.asking(), work.cost, rows=work.options.branches) for work in works]
    for task in tasks:
        task.wait()
    return times


@dataclass
class PlainText:
    """A text of the plain way: its tokens, in the pieces in which they were asked for, and its keys and values, where
    they are held until it is forked."""

    variant: str
    pieces: tuple[tuple[int, ...], ...]
    held: Sequence | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(itertools.chain(*self.pieces))

    @property
    def unread(self) -> tuple[tuple[int, ...], ...]:
        """The pieces that are to be put through: the newest, or all."""
        return self.pieces[-1:] if self.held else self.pieces

    def fork(self) -> PlainText:
        self.release()
        return PlainText(self.variant, self.pieces)

    def release(self) -> None:
        if self.held:
            self.held.release()
        self.held = None


Forward = Callable[[PlainText, Want], torch.Tensor]
"""Puts what is unread of a text through the model; answers as the engine does."""


def plainly(asking: Asking, forward: Forward, readers: dict[str, Reader]) -> int:
    """Drive a decoder as the papers' code does: one text at a time, each from its beginning, or from where it was
    forked. `readers` are those of the engine. Returns how many tokens went through."""
    tokens = 0

    def answer(request: Any) -> Any:
        nonlocal tokens
        if isinstance(request, Read):
            return readers[request.reader](list(request.texts))
        opens = isinstance(request, Open)
        if opens:
            text = PlainText(request.variant, (request.tokens,))
        else:
            text = request.sequence
            text.pieces += (tuple(request.tokens),)
        tokens += sum(map(len, text.unread))
        found = forward(text, Want.NEXT if opens else request.want)
        return Opened(text, found) if opens else found

    try:
        requests = asking.send(None)
        while True:
            requests = asking.send([answer(request) for request in requests])
    except StopIteration:
        return tokens


def by_transformers(oracle: LoadedModel) -> Forward:
    """The whole text in transformers' own forward pass. Knows no adapters, and only what comes next."""

    @torch.inference_mode()
    def forward(text: PlainText, want: Want) -> torch.Tensor:
        logits = oracle.model(torch.tensor([text.ids]), use_cache=False, logits_to_keep=1).logits[0, -1]
        return logits.float().log_softmax(-1)

    return forward


def by_our_kernels(engine: Engine, hold: bool = False) -> Forward:
    """The whole text in as few passes of our own as give the bits that the engine gives: the opening in one, what
    was added in another. With `hold` keys and values last until the text is forked. Nothing may run in the engine
    meanwhile."""

    @torch.inference_mode()
    def forward(text: PlainText, want: Want) -> torch.Tensor:
        runner, adapter = engine.variant(text.variant)
        passes = list(_passes(text.unread, opened=text.held is not None))
        held = text.held = text.held or Sequence(runner.pool, text.variant, set())
        states = [] if held.hidden is None else [held.hidden[None]]
        for long, ids in passes:
            held.grow(len(ids))
            states += (runner.long if long else runner.short)([(held, runner.embed(ids), adapter)])
            held.hidden = states[-1][-1]
        if not hold:
            text.release()
        if want is Want.NEXT:
            return runner.log_probs(states[-1][-1:])[0]
        added = text.pieces[-1]
        return runner.scores(torch.cat(states)[-len(added) - 1 : -1], added)

    return forward


def _passes(pieces: tuple[tuple[int, ...], ...], opened: bool) -> Iterator[tuple[bool, tuple[int, ...]]]:
    """(whether long, ids) of each pass: short pieces side by side share one. The first piece of a text opens it."""
    found: list[tuple[bool, tuple[int, ...]]] = []
    for number, piece in enumerate(pieces):
        long = not (opened or number) or len(piece) > SHORT
        if found and not long and not found[-1][0]:
            found[-1] = (False, found[-1][1] + piece)
        else:
            found.append((long, piece))
    for long, ids in found:
        most = CHUNK if long else ROWS
        yield from ((long, ids[at : at + most]) for at in range(0, len(ids), most))


def rain() -> dict[str, Any]:
    """The seconds of the plain way over ours, for the first nodes of a search on a prompt of 213 tokens, which fits one
    pass. In the default precision the plain way runs through our own kernels, so that both build one tree to the last
    bit; in fp32 it is transformers' model."""
    with _playground("int4") as playground:
        found = _rain(playground, by_our_kernels(playground.engine))
    with _playground("fp32") as playground:
        exact = _rain(playground, by_transformers(_oracle()))
    return {
        "ratio": found["plain_seconds"] / found["seconds"],
        "target": 40.0,
        "better": "higher",
        **found,
        "fp32_ratio": exact["plain_seconds"] / exact["seconds"],
        "fp32": exact,
    }


def _rain(playground: Playground, plain: Callable[[PlainText], torch.Tensor]) -> dict[str, Any]:
    prompt = " ".join(PROMPTS * 3)
    nodes = RAIN_NODES[playground.memory.model_of("reference").precision]
    options = {"scorer": "self_eval", "soft": True, "max_inner": 20, "max_nodes": nodes, "max_seconds": 3600}
    request = RunRequest.checked(prompt=prompt, lanes=[{"method": "rain", "options": options}], max_new_tokens=32)
    playground.compare(_request(PROMPTS[0], ["rain:max_inner=1,scorer=self_eval"], 1))  # warm
    began = time.perf_counter()
    [ours] = playground.compare(request, origin="bench")["lanes"]
    seconds = time.perf_counter() - began
    work = playground.prepare(request, request.lanes[0])
    began = time.perf_counter()
    tokens = in_a_thread_that_ends(lambda: plainly(work.asking(), plain, playground.engine.readers))
    plain_seconds = time.perf_counter() - began
    trees = [
        [(node["parent"], node["tokens"], node["visits"]) for node in detail["tree"]["nodes"]]
        for detail in (ours["detail"], work.lane.detail)
    ]
    return {
        "same_tree": trees[0] == trees[1],
        "nodes": len(trees[0]),
        "evaluations": ours["detail"]["tree"]["evaluations"],
        "prompt_tokens": len(encode_chat(playground.memory.model_of("reference").tokenizer, prompt)),
        "seconds": seconds,
        "plain_seconds": plain_seconds,
        "forward_tokens": ours["cost"]["forward_tokens"],
        "plain_forward_tokens": tokens,
    }


def cbs() -> dict[str, Any]:
    """The seconds of the authors' order of work over ours, with W·K = 16, chunks of 8 and the implicit value. Theirs:
    row after row; within a chunk a row's keys and values are kept, for the next chunk and for its score it is read
    again from its beginning. Both run through our own kernels, so that the tokens must be the same."""
    runs = []
    lane = f"cbs:width=4,successors=4,chunk=8,scorer={SUM}"
    with _playground("int4") as playground:
        for number in range(RUNS):
            request = _request(PROMPTS[number % len(PROMPTS)], [lane], CBS_TOKENS, seed=number)
            playground.engine.forget_openings()
            began = time.perf_counter()
            [ours] = playground.compare(request, origin="bench")["lanes"]
            seconds = time.perf_counter() - began
            work = playground.prepare(request, request.lanes[0])
            way, readers = by_our_kernels(playground.engine, hold=True), playground.engine.readers
            began = time.perf_counter()
            tokens = in_a_thread_that_ends(lambda work=work, way=way: plainly(work.asking(), way, readers))
            plain_seconds = time.perf_counter() - began
            runs.append(
                {
                    "ratio": plain_seconds / seconds,
                    "seconds": seconds,
                    "plain_seconds": plain_seconds,
                    "forward_tokens": ours["cost"]["forward_tokens"],
                    "plain_forward_tokens": tokens,
                    "same_tokens": work.lane.answer.token_ids == ours["token_ids"],
                    "tokens": len(ours["token_ids"]),
                }
            )
    return {
        "ratio": _median(runs),
        "target": 5.0,
        "better": "higher",
        "same_tokens": all(run["same_tokens"] for run in runs),
        "runs": runs,
    }


def ivg() -> dict[str, Any]:
    """Seconds a token of an IVG lane with two beams and four successors, the scores of its chunks among them, over
    those of eight plain samples. Judged by the learned value, if it is there, else by the implicit one."""
    runs = []
    with _playground() as playground:
        scorer = "value_harmless" if "value_harmless" in playground.catalogue.variants else SUM
        lane = f"ivg:width=2,successors=4,chunk=8,tuned=aligned,scorer={scorer}"
        playground.compare(_request(PROMPTS[0], [lane], 8))  # warm
        for number in range(RUNS):
            prompt = PROMPTS[number % len(PROMPTS)]
            guided, plain = (
                _a_token(playground, prompt, [one], 8, IVG_TOKENS) for one in (lane, "best_of_n:n=8,temperature=0.7")
            )
            runs.append({"ratio": guided / plain, "ivg_ms": 1e3 * guided, "plain_ms": 1e3 * plain})
    return {"ratio": _median(runs), "target": 1.8, "better": "lower", "scorer": scorer, "runs": runs}


def _a_token(playground: Playground, prompt: str, lanes: Iterable[str], rows: int, tokens: int) -> float:
    """Seconds between the first and the last token of lanes that run alone and write `rows` of them at a time, over
    their number."""
    times = _times(playground, prompt, lanes, tokens)
    return (times[-1] - times[0]) / (len(times) - rows)


def decode() -> dict[str, Any]:
    """Milliseconds of one step that writes a token in each of so many rows, through the whole engine: greedy and
    sampled lanes up to six rows, Best-of-N from there on. llama.cpp's step of one row stands beside it where
    PLAYGROUND_LLAMA names a Python that has llama-cpp-python (`make bench-llama`), else it is None. The ratio is ours
    over theirs, both of one row."""
    rows: dict[int, list[float]] = {count: [] for count in DECODE_ROWS}
    with _playground() as playground:
        for number, count in itertools.product(range(RUNS), DECODE_ROWS):
            rows[count].append(1e3 * _step(playground, PROMPTS[number % len(PROMPTS)], count))
    steps = {count: statistics.median(found) for count, found in rows.items()}
    python = os.environ.get("PLAYGROUND_LLAMA")
    theirs = _llama_ms(python) if python else None
    return {
        "ratio": steps[1] / theirs if theirs else None,
        "target": 1.6,
        "better": "lower",
        "rows": steps,
        "tokens_per_second": {count: 1e3 * count / ms for count, ms in steps.items()},
        "llama_cpp_ms": theirs,
    }


def _step(playground: Playground, prompt: str, rows: int) -> float:
    """Seconds of a step in which lanes that run alone write `rows` tokens together."""
    lanes = SIX[:rows] if rows <= len(SIX) else [f"best_of_n:n={min(rows, 32)}"] * math.ceil(rows / 32)
    return rows * _a_token(playground, prompt, lanes, rows, DECODE_TOKENS)


def _llama_ms(python: str) -> float:
    """The median milliseconds of a greedy step of llama.cpp over the file of `reference`, in a process of its own."""
    catalogue, settings = read_catalogue(Settings().catalogue), Settings()
    file = cached_file(catalogue.models[catalogue.variant("reference").model].source, settings.cache)
    asked = [python, "-c", _LLAMA, str(file), PROMPTS[0], str(DECODE_TOKENS)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"llama-cpp-python did not run in {shown(python)}: {done.stderr.strip()[-300:]}")
    return float(done.stdout)


def memory() -> dict[str, Any]:
    """Resident memory of a server of its own over 100 runs by its API, in GiB."""
    lanes, sizes = ["greedy", "best_of_n:n=4", "dera:lambda_=0.5"], {}
    with server() as busy:
        person = Person(busy, 1)
        for number in range(1, 101):
            person.ask(_prompt(number), lanes, 24)
            if number % 20 == 0:
                sizes[number] = busy.gib
    return {
        "ratio": sizes[100] / sizes[20],
        "target": 1.05,
        "better": "lower",
        "gib_after": sizes,
        "gib_target": 1.76,
    }


def opening() -> dict[str, Any]:
    """Seconds until the first token of an answer to a new question: after a long system prompt that somebody had
    already, over those after one that nobody had."""
    runs = []
    with _playground() as playground:
        tokenizer = playground.memory.model_of("reference").tokenizer
        for number in range(2 * RUNS + 1):
            system = f"You are assistant number {number}. " + " ".join(PROMPTS * 6)
            new, known = (_first_token(playground, _prompt(2 * number + n), system) for n in (0, 1))
            runs.append({"ratio": known / new, "seconds": known, "seconds_new": new})
    runs = runs[1:]  # the first one warms
    return {
        "ratio": _median(runs),
        "target": 0.5,
        "better": "lower",
        "system_tokens": len(encode_chat(tokenizer, "", system)),
        "seconds": statistics.median(run["seconds"] for run in runs),
        "seconds_new": statistics.median(run["seconds_new"] for run in runs),
        "runs": runs,
    }


def openai() -> dict[str, Any]:
    """Seconds until the first token of a greedy lane is there: as a piece of a stream over /v1, by a server, over those
    by the service in this process; in turn, with prompts that are new to both."""
    runs = []
    with server() as alone, _playground() as playground:
        person = Person(alone, 1)
        for number in range(4 * RUNS + 1):
            over = person.chat(_prompt(number), "greedy", 8).first
            direct = _first_token(playground, _prompt(number))
            runs.append({"ratio": over / direct, "seconds": over, "seconds_direct": direct})
    runs = runs[1:]  # the first one warms
    return {
        "ratio": _median(runs),
        "target": 1.3,
        "better": "lower",
        "seconds": statistics.median(run["seconds"] for run in runs),
        "seconds_direct": statistics.median(run["seconds_direct"] for run in runs),
        "runs": runs,
    }


def _first_token(playground: Playground, prompt: str, system: str = "") -> float:
    began = time.perf_counter()
    run = playground.start(_request(prompt, ["greedy"], 8, system=system))
    for _ in run.watch(lambda: 0):
        if run.result()["lanes"][0]["token_ids"]:
            break
    seconds = time.perf_counter() - began
    run.wait()
    return seconds


def load() -> dict[str, Any]:
    """Tokens a second of PEOPLE at once over those of one alone, by the API and by the page, each person with one
    greedy lane of 64 tokens; how long a greedy lane takes beside somebody's 6 × best_of_n:n=32 over alone; and the
    most memory that the server took for all of it."""
    with server() as busy:
        people = [Person(busy, number) for number in range(1, PEOPLE + 1)]
        api = _crowd(people, lambda person, prompt: person.ask(prompt, ["greedy"], 64))
        with ThreadPoolExecutor(4) as opening:
            list(opening.map(Person.open_page, people))
        page = _crowd(people, lambda person, prompt: person.run(prompt, 64))
        beside = _beside(people[0], people[1])
        peak = busy.peak_gib
    return {
        "ratio": min(api["ratio"], page["ratio"]),
        "target": 4.0,
        "better": "higher",
        "api": api,
        "page": page,
        "beside": beside,
        "beside_target": 3.0,
        "peak_gib": peak,
        "peak_gib_target": 3.0,
    }


def _crowd(people: list[Person], ask: Callable[[Person, str], Answer]) -> dict[str, Any]:
    """One person alone, RUNS times, and then all at once."""
    alone = [ask(people[0], _prompt(number)) for number in range(RUNS + 1)][1:]  # the first one warms

    def safely(number: int) -> Answer | Exception:
        try:
            return ask(people[number], _prompt(RUNS + 1 + number))
        except Exception as error:  # counted, and the others go on
            return error

    began = time.perf_counter()
    with ThreadPoolExecutor(len(people)) as crowd:
        answers = list(crowd.map(safely, range(len(people))))
    seconds = time.perf_counter() - began
    good = [answer for answer in answers if isinstance(answer, Answer)]
    firsts = sorted(answer.first for answer in good if answer.first is not None)
    one = statistics.median(answer.tokens / answer.seconds for answer in alone)
    together = sum(answer.tokens for answer in good) / seconds
    return {
        "ratio": together / one,
        "people": len(people),
        "failed": [str(answer) for answer in answers if not isinstance(answer, Answer)],
        "tokens_a_second_alone": one,
        "tokens_a_second_together": together,
        "seconds_alone": statistics.median(answer.seconds for answer in alone),
        "seconds_median": statistics.median(answer.seconds for answer in good),
        "seconds_longest": max(answer.seconds for answer in good),
        **(_firsts(alone, firsts) if firsts else {}),
    }


def _firsts(alone: list[Answer], together: list[float]) -> dict[str, float]:
    return {
        "first_token_alone": statistics.median(answer.first for answer in alone),
        "first_token_median": statistics.median(together),
        "first_token_95": statistics.quantiles(together, n=20)[-1],
    }


def _beside(person: Person, other: Person) -> dict[str, Any]:
    """A greedy lane alone, and beside another person's lanes, which do not end before it."""

    def take(number: int) -> float:
        return person.ask(_prompt(number), ["greedy"], 64).seconds

    take(0)  # warm
    alone = [take(number) for number in range(1, 4)]
    with other.asking(_prompt(4), ["best_of_n:n=32"] * 6, 1024):
        time.sleep(HEAD_START)
        beside = [take(number) for number in range(5, 8)]
    return {
        "ratio": statistics.median(beside) / statistics.median(alone),
        "seconds_alone": alone,
        "seconds_beside": beside,
    }


def _prompt(number: int) -> str:
    """A prompt that nobody else has, so that none is read already."""
    return f"{PROMPTS[number % len(PROMPTS)]} Take {number + 3} sentences."


def _request(prompt: str, lanes, tokens: int, seed: int = 0, system: str = "") -> RunRequest:
    parsed = [LaneRequest.parse(lane) for lane in lanes]
    return RunRequest.checked(prompt=prompt, system=system, lanes=parsed, max_new_tokens=tokens, seed=seed)


def _median(runs: list[dict[str, float]]) -> float:
    return statistics.median(run["ratio"] for run in runs)


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    measure.__name__: measure
    for measure in (side_by_side, dera_step, int4, rain, cbs, ivg, decode, memory, opening, openai, load)
}


def main(only: list[str] | None, as_json: bool) -> None:
    """Measure what is asked for, or all, and print it."""
    for name in only or []:
        if name not in MEASURES:
            raise UserError(f"There is no ratio {shown(name)}; choose from: {', '.join(MEASURES)}.")
    results = {name: measure() for name, measure in MEASURES.items() if not only or name in only}
    if as_json:
        print(json.dumps(results))
        return
    for name, found in results.items():
        ratio = "not measured" if found["ratio"] is None else f"{found['ratio']:.2f}"
        print(f"{name}: {ratio} (target: {found['target']}, {found['better']} is better)")
        print("   ", {k: v for k, v in found.items() if k not in ("ratio", "target", "better") and "runs" not in k})
