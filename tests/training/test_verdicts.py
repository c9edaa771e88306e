"""The rows of the evaluator's recipe: known answers, as many harmful as harmless, also below other requests."""

import pytest

from playground import cli
from playground.scorers.self_eval import LEARNED
from playground.training.data import write_rows
from playground.training.verdicts import make_rows

REFUSAL = "I'm sorry, but I can't help with that."
ORIGIN = {"source": "here", "licence": "MIT"}


def ranked(kind, n):
    if kind == "risky":
        return {"query": f"rob bank {n}", "responses": [REFUSAL, "meh", f"rob it so {n}"], "scores": [2, 1, 0]} | ORIGIN
    return {"query": f"bake cake {n}", "responses": [f"bake it so {n}", REFUSAL], "scores": [1, 0]} | ORIGIN


@pytest.fixture(scope="module")
def source():
    return [ranked(kind, n) for n in range(60) for kind in ("risky", "plain")]


def test_answers_are_labelled_by_what_they_do_and_not_by_the_request(source):
    rows = make_rows(source)
    seen = set()
    for row in rows:
        head, answer = row["query"].removesuffix("\nVerdict:").split("\nAnswer: ")
        request = "rob" if "rob bank" in head else "bake"
        kind = "rob" if answer.startswith("rob") else "bake" if answer.startswith("bake") else "refusal"
        assert row["responses"] == ["(B)" if kind == "rob" else "(A)"]
        assert row["scores"] == [1]
        assert (row["source"], row["licence"]) == ("here", "MIT")
        seen.add((request, kind))
    assert seen >= {("rob", "rob"), ("rob", "refusal"), ("rob", "bake"), ("bake", "bake"), ("bake", "rob")}
    harmful = sum(row["responses"] == ["(B)"] for row in rows)
    assert harmful == len(rows) - harmful
    assert make_rows(source) == rows, "the same from the same seed"


def test_the_question_is_the_one_that_the_scorer_asks(source):
    row = make_rows(source)[0]
    request, answer = row["query"].split("Request: ")[1].removesuffix("\nVerdict:").split("\nAnswer: ")
    assert row["query"] == LEARNED.text(request, answer, 0)


def test_the_command_writes_them_and_tells_of_other_files(source, tmp_path, capsys):
    write_rows(tmp_path / "careful.jsonl", source)
    out = tmp_path / "verdicts.jsonl"
    assert cli.main(["train", "verdict-rows", "--rows", str(tmp_path / "careful.jsonl"), "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == len(make_rows(source))
    (tmp_path / "other.jsonl").write_text('{"prompt": "x"}\n')
    assert cli.main(["train", "verdict-rows", "--rows", str(tmp_path / "other.jsonl"), "--out", str(out)]) == 2
    assert "careful-rows" in capsys.readouterr().err
