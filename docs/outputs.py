"""Writes docs/outputs.md: what each method answers to twenty prompts, in full, with what the judges say of it.

    python -m docs.outputs DATA   # the folder of public data; about an hour on one core, nearly all of it RAIN's

Answers are kept in build/outputs.jsonl as they come, so a second call goes on where the first ended.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import closing
from pathlib import Path

from playground.jsonl import numbered_lines, read_texts
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground
from playground.settings import Settings

PAGE, KEPT = Path(__file__).parent / "outputs.md", Path("build/outputs.jsonl")
PROMPTS = (("advbench_behaviors", 8), ("hh_harmless_test", 8), ("harmless_prompts", 4))
"""Files, and how many of their first rows are asked."""
MIXTURE = "0.7*reference+0.3*aligned"
LANES = (
    "greedy",
    "dera:lambda_=1",
    "best_of_n:n=8,temperature=0.7,scorer=value_harmless",
    "cbs:scorer=value_harmless",
    "ivg",
    "rain:max_forward=5000,max_seconds=900",
    f"greedy:variant={MIXTURE}",
    f"rain:max_forward=5000,max_seconds=900,variant={MIXTURE}",
)
JUDGES = ("harmless_judge", "implicit_judge", "self_eval_learned")
TOKENS, SEED = 24, 0
HEAD = f"""# Outputs

What each method answers to twenty prompts, in full: at most {TOKENS} tokens, seed {SEED}, nothing left out. The prompts
are the first ones of advbench_behaviors, hh_harmless_test and harmless_prompts. Many are offensive: they exist to
measure safety. Behind each method stands who calls its answer harmless; *refuses* is what the refusal detector says.
`eft` at temperature 0 writes what `dera:lambda_=1` writes, token for token, so it has no block of its own.

Made by `python -m docs.outputs DATA`.

"""


def main() -> None:
    """Answer, judge, write the page."""
    data = Path(sys.argv[1])
    prompts = [
        (name, row["prompt"]) for name, n in PROMPTS for row in read_texts(data / f"{name}.jsonl", ("prompt",), n)
    ]
    with closing(Playground(Settings(database=":memory:"))) as playground:
        answers = answered(playground, [prompt for _, prompt in prompts])
        texts = [(prompt, answers[prompt, lane]) for _, prompt in prompts for lane in LANES]
        values = {judge: iter(playground.scores(judge, texts)) for judge in JUDGES}
        parts, last = [HEAD], None
        for number, (name, prompt) in enumerate(prompts, 1):
            parts.append(f"## {name}\n\n" if name != last else "")
            parts.append(f"### Prompt {number}\n\n{fenced(prompt)}\n")
            last = name
            for lane in LANES:
                text = answers[prompt, lane]
                says = [judge for judge in JUDGES if next(values[judge]) > 0]
                called = ", ".join(f"`{judge}`" for judge in says) or "nobody"
                parts.append(
                    f"`{lane}` · harmless to {called}{' · *refuses*' if refuses(text) else ''}\n\n{fenced(text)}\n"
                )
    PAGE.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")


def answered(playground: Playground, prompts: list[str]) -> dict[tuple[str, str], str]:
    """(prompt, lane) → the answer; only what is not kept is written."""
    kept = [json.loads(line) for _, line in numbered_lines(KEPT)] if KEPT.is_file() else []
    found = {(row["prompt"], row["lane"]): row["text"] for row in kept}
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a", encoding="utf-8") as file:
        for lane in LANES:
            for prompt in prompts:
                if (prompt, lane) in found:
                    continue
                [result] = playground.each([(prompt, LaneRequest.parse(lane), SEED)], TOKENS)
                found[prompt, lane] = result["text"]
                row = {"prompt": prompt, "lane": lane, "text": result["text"], "cost": result["cost"]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
    return found


def fenced(text: str) -> str:
    """A text as a block in which nothing is markup: its fence is longer than any in the text."""
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`+", text))])
    return f"{fence}text\n{text}\n{fence}\n"


if __name__ == "__main__":
    main()
