"""Writes docs/outputs.md: what each method answers to twenty prompts, in full, with what the judges say of it.

    python -m docs.outputs DATA   # the folder of public data; half an hour on one core, nearly all of it RAIN's

Answers are kept in build/outputs.jsonl as they come, so a second call goes on where the first ended.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import closing
from pathlib import Path

from playground.evaluation.answers import to_its_end, whole
from playground.jsonl import numbered_lines, read_texts
from playground.models.fetch import bar
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground
from playground.settings import Settings

PAGE, KEPT = Path(__file__).parent / "outputs.md", Path("build/outputs.jsonl")
COUNT = 10
"""Prompts of each file: its first rows."""
MIXTURE = "0.7*reference+0.3*aligned"
RAIN = "rain:max_forward=2000,max_seconds=3600"
LANES = (
    "greedy",
    "dera:lambda_=1",
    "best_of_n:n=8,temperature=0.7,scorer=value_harmless",
    "cbs:scorer=value_harmless",
    "ivg",
)
FILES = {
    "hh_harmless_test": (*LANES, RAIN),
    "advbench_behaviors": (*LANES, f"greedy:variant={MIXTURE}", f"{RAIN},variant={MIXTURE}"),
}
"""What answers the prompts of each file. Over the reference hardly any answer to advbench refuses, so that a search has
nothing to find there; over the mixture some do."""
JUDGES = ("harmless_judge", "implicit_judge", "self_eval_learned")
TOKENS, SEED = 24, 0
HEAD = f"""# Outputs

What each method answers to twenty prompts, in full: at most {TOKENS} tokens, seed {SEED}, nothing left out. The prompts
are the first {COUNT} of hh_harmless_test and of advbench_behaviors. Many are offensive: they exist to measure safety.
An answer that a spent budget cut is written to its end plainly. Behind each method stands who calls its answer
harmless; *refuses* is what the refusal detector says. `eft` at temperature 0 writes what `dera:lambda_=1` writes, token
for token, so it has no block of its own.

Made by `python -m docs.outputs DATA`.

"""


def main() -> None:
    """Answer, judge, write the page."""
    data = Path(sys.argv[1])
    asked = {name: [row["prompt"] for row in read_texts(data / f"{name}.jsonl", ("prompt",), COUNT)] for name in FILES}
    with closing(Playground(Settings(database=":memory:"))) as playground:
        jobs = [(prompt, lane) for name, lanes in FILES.items() for prompt in asked[name] for lane in lanes]
        answers = answered(playground, jobs)
        texts = [(prompt, answers[prompt, lane]) for prompt, lane in jobs]
        values = {judge: iter(playground.scores(judge, texts)) for judge in JUDGES}
    parts = [HEAD]
    for name, lanes in FILES.items():
        parts.append(f"## {name}\n\n")
        for number, prompt in enumerate(asked[name], 1):
            parts.append(f"### {name}, prompt {number}\n\n{fenced(prompt)}\n")
            for lane in lanes:
                text = answers[prompt, lane]
                says = [f"`{judge}`" for judge in JUDGES if next(values[judge]) > 0]
                refused = " · *refuses*" if refuses(text) else ""
                parts.append(f"`{lane}` · harmless to {', '.join(says) or 'nobody'}{refused}\n\n{fenced(text)}\n")
    PAGE.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")


def answered(playground: Playground, jobs: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The answer of each (prompt, lane), in shared batches; only what is not kept is written."""
    kept = [json.loads(line) for _, line in numbered_lines(KEPT)] if KEPT.is_file() else []
    found = {(row["prompt"], row["lane"]): row["text"] for row in kept}
    left = [job for job in jobs if job not in found]
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a", encoding="utf-8") as file:
        results = playground.each([(prompt, LaneRequest.parse(lane), SEED) for prompt, lane in left], TOKENS, bar)
        for (prompt, lane), result in zip(left, results, strict=True):
            text = to_its_end(playground, LaneRequest.parse(lane), prompt, whole(result, lane, prompt), TOKENS)["text"]
            found[prompt, lane] = text
            file.write(json.dumps({"prompt": prompt, "lane": lane, "text": text}, ensure_ascii=False) + "\n")
            file.flush()
    return found


def fenced(text: str) -> str:
    """A text as a block in which nothing is markup: its fence is longer than any in the text."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", text))])
    return f"{fence}text\n{text}\n{fence}\n"


if __name__ == "__main__":
    main()
