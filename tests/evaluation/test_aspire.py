"""ASPIRE measured and calibrated on the tiny model from files, and what is refused."""

import json
import math

import pytest

from playground import cli
from playground.decoders.aspire import selection_score
from playground.errors import UserError
from playground.evaluation import selective
from playground.evaluation.aspire import MEASURES, draw, evaluate_aspire, judge, lane_of
from playground.evaluation.selective import auroc
from playground.models.fetch import no_progress
from playground.questions import MOST_TOKENS, Question
from playground.requests import LaneRequest
from playground.service import calibration

WORDS = ("fox", "dog", "cake", "land", "time", "brown", "lazy", "far", "once", "upon", "quick", "jumps")
ASKED = [Question(f"who is the {word}") for word in WORDS] + [
    Question(f"what of the {word}", f"once the {word} jumps over the dog") for word in WORDS
]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(selective, "RESAMPLES", 25)


@pytest.fixture(scope="module")
def questions(tiny):
    """Questions of which every other one has what the model answers as its gold answer."""
    lane = LaneRequest.checked(method="beam", options={"beams": 2, "variant": "answers"})
    said = [found["text"] for found in tiny.each([(q.prompt, lane, 0) for q in ASKED], MOST_TOKENS)]
    assert all(any(c.isalnum() for c in text) for text in said)
    return [
        Question(q.question, q.context, (text if n % 2 else "the sun and the moon",))
        for n, (q, text) in enumerate(zip(ASKED, said, strict=True))
    ]


@pytest.fixture(scope="module")
def data(questions, tmp_path_factory):
    return write(tmp_path_factory.mktemp("qa") / "qa.jsonl", questions)


def write(path, questions):
    rows = [{"question": q.question, "context": q.context, "answers": list(q.answers)} for q in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def command(tiny_catalogue, tiny, capsys, monkeypatch):
    """Runs a command over the tiny model; returns exit code, what was printed and what was said."""
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))

    def run(*arguments):
        code = cli.main(list(map(str, arguments)))
        return code, *capsys.readouterr()

    yield run
    (tiny.self_evaluation_of("answers") / calibration.FILE).unlink(missing_ok=True)


def test_a_file_is_measured_from_the_command_line(command, data, questions):
    code, out, _ = command("evaluate", "aspire", "--data", data, "--beams", 2, "--seeds", 2, "--json")
    found = json.loads(out)
    assert (code, found["n"], found["accuracy"]) == (0, len(questions), 0.5)
    assert found.keys() == {"n", "accuracy", "measures", "curve", "seconds"}
    assert [row["name"] for row in found["measures"]] == list(MEASURES)
    for row in found["measures"]:
        assert row.keys() == {"name", "auroc", "low", "high", "auacc"}
        assert 0 <= row["low"] <= row["auroc"] <= row["high"] <= 1
    for points in found["curve"].values():
        assert all(point.keys() == {"coverage", "accuracy"} for point in points)
        assert points[-1] == {"coverage": 1, "accuracy": 0.5}
    assert found["seconds"].keys() == {"answer", "confidence"}
    assert all(spent > 0 for spent in found["seconds"].values())


def test_the_measures_are_what_they_say(tiny, questions):
    lane = lane_of(tiny, "answers", 2, 0.4)
    judged = judge(tiny, lane, questions, no_progress)
    beams = LaneRequest.checked(method="beam", options={"beams": 2, "variant": "answers"})
    searched = list(tiny.each([(q.prompt, beams, 0) for q in questions], MOST_TOKENS))
    texts = [(q.prompt, found["text"]) for q, found in zip(questions, searched, strict=True)]
    true = tiny.scores("self_eval_true(asked=reference)", texts, soft=True)
    assert len(set(true)) == len(true)  # graded, so no ties
    for one, found, p_true in zip(judged, searched, true, strict=True):
        likelihoods = [candidate["score"] for candidate in found["detail"]["candidates"]]
        shares = [math.exp(value) / sum(map(math.exp, likelihoods)) for value in likelihoods]
        says = one.confidence
        assert one.text == found["text"]
        assert says["likelihood"] == pytest.approx(likelihoods[0], abs=1e-4)
        assert says["entropy"] == pytest.approx(sum(p * math.log(p) for p in shares), abs=1e-3)
        assert says["p_true"] == pytest.approx(p_true)
        assert 0 <= says["self_eval"] <= 1
        assert says["aspire"] == pytest.approx(selection_score(says["likelihood"], says["self_eval"], 0.4), abs=0.01)
    assert sum(one.correct for one in judged) == len(questions) / 2


def test_alpha_zero_is_likelihood(tiny, questions):
    found = evaluate_aspire(tiny, questions, "answers", beams=2, alpha=0)
    by_name = {row["name"]: row for row in found["measures"]}
    assert by_name["aspire"] | {"name": ""} == by_name["likelihood"] | {"name": ""}


def test_each_seed_draws_its_own_questions_and_both_kinds_equally(questions):
    silent = [Question(f"{n}?") for n in range(50)]
    draws = [draw(questions, silent, 7, seed) for seed in range(3)]
    assert draws == [draw(questions, silent, 7, seed) for seed in range(3)]
    assert all(len(set(drawn)) == 14 and sum(bool(q.answers) for q in drawn) == 7 for drawn in draws)
    assert len({tuple(drawn) for drawn in draws}) == 3
    assert len(draw(questions, silent, None, 0)) == 2 * len(questions)
    assert draw(questions, None, 999, 5) == questions


def test_means_over_seeds_are_those_of_their_own_questions(tiny, questions):
    found = evaluate_aspire(tiny, questions, "answers", limit=12, seeds=3, beams=2)
    draws = [
        judge(tiny, lane_of(tiny, "answers", 2, 0.25), draw(questions, None, 12, s), no_progress) for s in range(3)
    ]
    assert found["n"] == 12
    assert found["accuracy"] == pytest.approx(sum(one.correct for rows in draws for one in rows) / 36)
    areas = [auroc([o.confidence["aspire"] for o in rows], [o.correct for o in rows]) for rows in draws]
    assert found["measures"][-1]["auroc"] == pytest.approx(sum(areas) / 3)
    assert found["curve"]["aspire"][-1]["accuracy"] == pytest.approx(found["accuracy"])


def test_unanswerable_questions_count_as_wrong_and_their_share_is_told(command, data, tmp_path):
    more = write(tmp_path / "more.jsonl", [Question(f"why the {word}") for word in WORDS])
    code, out, _ = command("evaluate", "aspire", "--data", data, "--unanswerable", more, "--beams", 2, "--json")
    found = json.loads(out)
    assert (code, found["n"]) == (0, 2 * len(WORDS))
    assert found["accuracy"] < 0.5
    shares = found["abstained_unanswerable"]
    assert shares["unanswerable"] + shares["answerable"] == pytest.approx(1, abs=0.1)
    assert shares["ratio"] == pytest.approx(shares["unanswerable"] / shares["answerable"])
    code, out, _ = command("evaluate", "aspire", "--data", data, "--unanswerable", more, "--beams", 2, "--limit", 4)
    assert out.startswith("8 questions, ") and "AUROC" in out and "abstained on" in out


def test_the_two_halves_of_the_time_are_a_whole_lane(tiny, questions):
    """Search and evaluation are timed apart, so the search costs the same whether or not it is evaluated."""
    asked = []
    clean = tiny.engine.forget_openings
    tiny.engine.forget_openings = lambda: (asked.append(1), clean())
    try:
        evaluate_aspire(tiny, questions * 2, "answers", beams=2)
    finally:
        del tiny.engine.forget_openings
    assert len(asked) == 20  # each of at most twenty questions is read anew


@pytest.mark.parametrize("right", [True, False])
def test_where_all_are_alike_auroc_is_null_and_that_is_said(command, questions, tmp_path, right):
    some = [q for n, q in enumerate(questions) if n % 2 == right]
    data = write(tmp_path / "qa.jsonl", some)
    code, out, said = command("evaluate", "aspire", "--data", data, "--beams", 2, "--json")
    found = json.loads(out)
    assert (code, found["accuracy"]) == (0, float(right))
    assert all(row["auroc"] is row["low"] is row["high"] is None for row in found["measures"])
    assert all(row["auacc"] == float(right) for row in found["measures"])
    assert found["note"] == f"All answers are {'right' if right else 'wrong'}, so AUROC is not defined."
    assert found["note"] in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--variant", "adapted"], "'adapted' has learned no self-evaluation; choose one that has: answers"),
        (["--variant", "nobody"], "'nobody' is neither a variant"),
        (["--limit", "0"], "--limit is 0"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--alpha", "2"], "alpha"),
        (["--beams", "99"], "beams is 99"),
    ],
)
def test_bad_arguments_are_one_sentence(command, data, change, words):
    code, out, said = command("evaluate", "aspire", "--data", data, *change)
    assert (code, out) == (2, "")
    assert words in said.splitlines()[-1]


def test_a_file_without_gold_answers_is_refused(command, tmp_path, data):
    silent = write(tmp_path / "silent.jsonl", ASKED[:3])
    for what in (("evaluate", "aspire"), ("calibrate", "aspire", "--coverage", 0.5)):
        code, _, said = command(*what, "--data", silent)
        assert code == 2 and "None of the 3 questions has an answer" in said
    code, _, said = command("evaluate", "aspire", "--data", data, "--unanswerable", data)
    assert code == 2 and "every question there has answers" in said


def test_a_question_that_fails_is_named(tiny, questions):
    long = Question("why?", "fox " * 3000, ("x",))
    with pytest.raises(UserError, match="over the context"):
        evaluate_aspire(tiny, [*questions[:2], long], "answers", beams=2)


def test_a_threshold_is_found_kept_beside_the_weights_and_used(command, data, questions, tiny, request_of):
    code, out, _ = command("calibrate", "aspire", "--data", data, "--coverage", 0.5, "--beams", 2)
    folder = tiny.self_evaluation_of("answers")
    assert code == 0 and str(folder / calibration.FILE) in out
    found = tiny.calibration("answers")
    assert (found.n, found.wanted, found.measure) == (len(questions), {"coverage": 0.5}, "aspire")
    assert found.coverage == 0.5 and found.curves.keys() == set(MEASURES)
    assert found.threshold_for(coverage=0.5) == found.threshold
    # Lanes with that threshold answer the half of the questions that it was found on.
    lane = LaneRequest.parse("aspire:beams=2")
    silent = [one["detail"]["abstained"] for one in tiny.each([(q.prompt, lane, 0) for q in questions], MOST_TOKENS)]
    assert sum(silent) == len(questions) / 2


def test_an_accuracy_that_cannot_be_met_is_told_and_nothing_is_kept(command, data, tiny):
    code, _, said = command("calibrate", "aspire", "--data", data, "--accuracy", 1, "--beams", 2)
    assert code == 2
    assert "An accuracy of 100.0% cannot be met on these 24 questions; the best over at least 20 answers is" in said
    assert tiny.calibration("answers") is None
    code, _, said = command("calibrate", "aspire", "--data", data, "--accuracy", 80)
    assert code == 2 and "--accuracy is 80; give a share above 0" in said


def test_a_folder_of_what_was_learned_is_measured_as_a_variant_is(command, data, tiny_catalogue):
    folder = tiny_catalogue.parent / "answers"
    by_name, by_folder = (
        json.loads(command("evaluate", "aspire", "--data", data, "--beams", 2, "--json", "--variant", variant)[1])
        for variant in ("answers", folder)
    )
    assert by_name["measures"] == by_folder["measures"]
