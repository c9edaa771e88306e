"""Judgements: one mark per voter and answer, none lost beside a second writer, and the way into training."""

import json
import threading

import pytest

from playground import cli
from playground.questions import read_questions
from playground.store.connection import Connection
from playground.store.judgements import FIELDS, JudgementStore, training_rows, write_judgements
from playground.store.votes import VoteStore


def judgement(answer="six", right=True, score=-0.5, **more):
    named = {"voter": "v", "question": "When?", "context": "", "fingerprint": "f", "variant": "answers", "run": "r"}
    return named | {"answer": answer, "right": right, "log_likelihood": -0.4, "p_correct": 0.6, "score": score} | more


@pytest.fixture
def store(tmp_path):
    connection = Connection(tmp_path / "judged.db")
    yield JudgementStore(connection)
    connection.close()


def test_a_mark_is_changed_by_marking_again_and_removed_by_unmarking(store):
    store.mark(judgement(right=True))
    store.mark(judgement(right=False))
    store.mark(judgement(answer="seven"))
    assert [(row["answer"], row["right"]) for row in store.rows()] == [("six", False), ("seven", True)]
    store.unmark(judgement())
    assert [row["answer"] for row in store.rows()] == ["seven"]
    assert set(store.rows()[0]) == set(FIELDS)


def test_marks_of_other_voters_questions_passages_and_weights_stand_beside(store):
    others = [{}, {"voter": "w"}, {"question": "Who?"}, {"context": "A passage."}, {"fingerprint": "g"}]
    for other in others:
        store.mark(judgement(**other))
    assert len(store.rows()) == len(others)
    assert len(store.rows(voter="v", question="When?", context="", fingerprint="f")) == 1


def test_no_mark_is_lost_beside_a_second_writer(tmp_path):
    writers = [JudgementStore(Connection(tmp_path / "judged.db")) for _ in range(2)]

    def write(number):
        for at in range(40):
            writers[number].mark(judgement(answer=f"answer {at}", voter=f"voter {number}"))
            if at % 4 == 0:
                writers[number].unmark(judgement(answer=f"answer {at}", voter=f"voter {number}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        assert len(writers[0].rows(voter=f"voter {number}")) == 30


def test_who_is_forgotten_leaves_no_judgement(tmp_path):
    connection = Connection(tmp_path / "judged.db")
    store = JudgementStore(connection)
    store.mark(judgement())
    store.mark(judgement(voter="w"))
    VoteStore(connection).forget("v")
    assert [row["voter"] for row in store.rows()] == ["w"]
    connection.close()


def test_the_majority_decides_what_is_trained_on():
    marks = [judgement(voter=v) for v in "ab"] + [judgement(voter="c", right=False)]
    marks += [judgement("noon", False), judgement("one", voter="a"), judgement("one", False, voter="b")]
    marks += [judgement("Rosa", question="Who?", context="Rosa bakes.")]
    assert training_rows(marks) == [
        {"question": "When?", "context": "", "answers": ["six"], "wrong": ["noon"], "source": "judgements"},
        {"question": "Who?", "context": "Rosa bakes.", "answers": ["Rosa"], "wrong": [], "source": "judgements"},
    ]


def test_a_question_with_wrong_answers_only_is_not_taken_for_unanswerable(tmp_path):
    file = tmp_path / "judged.jsonl"
    file.write_bytes(write_judgements([judgement(), judgement("noon", False, question="Who?")], raw=False))
    questions, problems = read_questions(file)
    assert [(q.question, q.answers) for q in questions] == [("When?", ("six",))]
    assert len(problems) == 1 and "only wrong answers are known" in problems[0]


def test_the_command_exports_training_rows_and_raw_marks(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_DATABASE", str(tmp_path / "judged.db"))
    connection = Connection(tmp_path / "judged.db")
    JudgementStore(connection).mark(judgement())
    JudgementStore(connection).mark(judgement(voter="w", right=False, answer="noon"))
    connection.close()
    out = tmp_path / "out.jsonl"
    assert cli.main(["judgements", "export", "--out", str(out)]) == 0
    assert "2 judgements" in capsys.readouterr().out
    assert [json.loads(line)["wrong"] for line in out.read_text().splitlines()] == [["noon"]]
    assert cli.main(["judgements", "export", "--out", str(out), "--raw", "--voter", "w"]) == 0
    [row] = map(json.loads, out.read_text().splitlines())
    assert (row["voter"], row["right"], row["p_correct"]) == ("w", False, 0.6)
