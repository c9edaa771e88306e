"""ASPIRE's three stages on the tiny model: they run, resume exactly, and what the third learns changes no answer."""

import json
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from playground import cli
from playground.errors import UserError
from playground.models.loading import load_model
from playground.models.specs import KINDS, read_catalogue
from playground.questions import Question, ask, is_correct, rouge_l
from playground.requests import LaneRequest
from playground.scorers.p_correct import PROMPT
from playground.service import Playground
from playground.settings import Settings
from playground.training import aspire_labels
from playground.training.aspire_evaluate import LabelledRow, SelfEvaluation
from playground.training.aspire_labels import CALIBRATION, LABELLED, choose, label
from playground.training.aspire_task import AnswerTask
from playground.training.data import write_rows
from playground.training.loop import Training
from playground.training.records import (
    JOB,
    EvaluateConfig,
    EvaluateJob,
    LabelConfig,
    RowsFile,
    TaskConfig,
    TaskJob,
    write_job,
)
from playground.training.session import train
from tests.tiny import make_adapter

FEW = {"steps": 4, "rows_per_step": 2, "warmup": 1, "evaluate_every": 2, "save_every": 1, "held_out": 0.2}
TASK = TaskConfig(**FEW, rank=2, vectors=3)
EVALUATE = EvaluateConfig(**FEW, rank=2, vectors=2, learning_rate=0.02)
FORMS = ("lora", "soft_prompt")
WORDS = ("fox", "dog", "cake", "land", "time", "brown", "lazy", "far", "once", "upon")


def form_of(config, form, **changes):
    return config.model_copy(update={"form": form, **changes})


@pytest.fixture(scope="module")
def settings(tiny_catalogue):
    return Settings(catalogue=tiny_catalogue, database=":memory:", precision="fp32", kv_megabytes=64)


@pytest.fixture
def loaded(tiny_catalogue):
    def load():
        spec = read_catalogue(tiny_catalogue).models["tiny"]
        return load_model("tiny", spec, tiny_catalogue.parent, torch.device("cpu"), "fp32")

    return load


@pytest.fixture
def data(tmp_path):
    """Questions with and without a passage, every fifth one unanswerable, and one row that is none."""
    path = tmp_path / "qa.jsonl"
    rows = [
        {
            "question": f"what does the {word} do {n}",
            "context": f"the {word} jumps over the dog" if n % 2 else "",
            "answers": [] if n % 5 == 4 else [f"jumps {n}", "over"],
            "source": "tests",
            "licence": "MIT",
        }
        for n, word in enumerate(WORDS * 3)
    ]
    write_rows(path, [*rows, {"question": "why"}])
    return path


def labelled_rows(count=12, answers=4, seed=0):
    """Rows with answers of different lengths, an empty one among them; right ones begin with token 40."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        correct = [rng.random() < 0.5 for _ in range(answers)]
        found = [(40 if right else 50, *(rng.randrange(20, 90) for _ in range(rng.randrange(5)))) for right in correct]
        rows.append(
            LabelledRow(Question(f"who is {n}", "the lazy dog" * (n % 2), ("x",)), tuple(found), tuple(correct))
        )
    return [*rows[:-1], replace(rows[-1], answers=(*rows[-1].answers[:-1], ()))]


def task_folder(place, tiny_catalogue, form):
    """What a first stage would have learned: random, and large enough to matter."""
    if form == "lora":
        return make_adapter(place, tiny_catalogue.parent / "tiny", seed=9)
    place.mkdir()
    save_file({"vectors": torch.randn(3, 64, generator=torch.Generator().manual_seed(3))}, place / KINDS["soft_prompt"])
    return place


def evaluation(loaded, task, form, out=None, **changes):
    source = RowsFile(path="rows.jsonl")
    config = form_of(EVALUATE, form, **changes)
    return SelfEvaluation(loaded, EvaluateJob(out=out or task / PROMPT, task=task, source=source, config=config))


def make_random(objective, seed=0):
    """Build what is learned and give it values of their own, exact in bf16 as they are saved."""
    torch.manual_seed(seed)
    learned = objective.build([])
    with torch.no_grad():
        for parameter in learned.values():
            parameter.copy_((torch.randn_like(parameter) * 0.5).bfloat16())


# --- The stages from end to end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_three_stages_run_from_the_command_line(tiny_catalogue, data, tmp_path, form, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    out = tmp_path / "mine"
    few = {"steps": 3, "rows-per-step": 2, "rank": 2, "vectors": 2, "evaluate-every": 2, "questions": 6, "beams": 2}
    given = [f"--{name}={value}" for name, value in few.items()]
    command = ["train", "aspire", "--data", str(data), "--out", str(out), "--form", form, *given, "--max-prompt", "160"]
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert "6 rows are left out: there is no answer to learn." in said.err + said.out
    kind = "adapter" if form == "lora" else "soft_prompt"
    assert (out / KINDS[kind]).is_file() and (out / KINDS["self_evaluation"]).is_file()
    assert (out / PROMPT / KINDS["adapter"]).is_file() == (form == "lora")
    rows = [json.loads(line) for line in (out / LABELLED).read_text().splitlines()]
    assert len(rows) == 6
    for row in rows:
        gold = tuple(row["answers"])
        texts = [candidate["text"].strip() for candidate in row["candidates"]]
        assert 1 <= len(set(texts)) == len(texts) <= 2
        assert all(c["correct"] == is_correct(c["text"], gold) for c in row["candidates"])
    assert (out / CALIBRATION).is_file()
    for folder, made in ((out, "ASPIRE (task)"), (out / PROMPT, "ASPIRE (self-evaluation)")):
        assert f"trained with {made}" in (folder / "README.md").read_text()
        assert "| tests | MIT |" in (folder / "README.md").read_text()
        json.loads((folder / "training.json").read_text(), parse_constant=pytest.fail)  # no NaN
        assert not list(folder.glob("checkpoint*"))
    capsys.readouterr()
    assert cli.main(["compare", "the fox", "--lane", "aspire:variant=answers", "--max-new-tokens", "3"]) == 0
    assert cli.main(command) == 2
    assert "already holds" in capsys.readouterr().err


def test_a_stage_can_be_run_again_alone(tiny_catalogue, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PLAYGROUND_MODELS", str(tiny_catalogue))
    out = tmp_path / "mine"
    command = ["train", "aspire", "--data", str(data), "--out", str(out), "--steps", "2", "--rows-per-step", "2"]
    command += ["--rank", "2", "--questions", "4", "--beams", "2", "--max-prompt", "160", "--stage"]
    assert cli.main([*command, "evaluate"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    for stage in ("task", "label", "label", "evaluate"):
        assert cli.main([*command, stage]) == 0, capsys.readouterr().err
    assert (out / KINDS["self_evaluation"]).is_file()


# --- Resuming ---------------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def kill_at(step):
    def watch(progress):
        if progress.step == step:
            raise Killed

    return watch


def resumed_equals_whole(make, out):
    """make(folder) → a training; killed after the third step it was saved at the second (or third)."""
    whole = make(out / "whole")
    whole.run()
    with pytest.raises(Killed):
        make(out / "part").run(kill_at(3))
    again = make(out / "part")
    again.resume()
    assert 0 < again.progress.step < whole.progress.step
    again.run()
    assert again.progress.losses == whole.progress.losses
    assert again.progress.curves == whole.progress.curves
    for name, expected in whole.parameters.items():
        assert torch.equal(again.parameters[name], expected), name
    return whole


@pytest.mark.parametrize("form", FORMS)
def test_a_resumed_first_stage_equals_an_uninterrupted_one(loaded, data, tmp_path, form):
    config = form_of(TASK, form)
    rows = [row for row in AnswerTask.read(data).rows if row.answers]

    def make(out):
        return Training(
            AnswerTask(loaded(), TaskJob(out=out, source=RowsFile(path=data), config=config)), rows, config, out
        )

    whole = resumed_equals_whole(make, tmp_path)
    assert whole.progress.losses[-1] != whole.progress.losses[0]


@pytest.mark.parametrize("task", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_a_resumed_third_stage_equals_an_uninterrupted_one(loaded, tiny_catalogue, tmp_path, form, task):
    folder = task_folder(tmp_path / "task", tiny_catalogue, task)
    rows = labelled_rows()

    def make(out):
        objective = evaluation(loaded(), folder, form, out)
        return Training(objective, rows, objective.config, out)

    resumed_equals_whole(make, tmp_path)


def test_labels_that_were_interrupted_go_on_where_they_were(data, tmp_path, settings, monkeypatch):
    monkeypatch.setattr(aspire_labels, "AT_ONCE", 3)
    out = tmp_path / "out"
    job = TaskJob(out=out, base="tiny", source=RowsFile(path=data), config=form_of(TASK, "soft_prompt"))
    write_job(job, out / JOB)
    train(job, settings=settings)
    config = LabelConfig(questions=8, beams=2)

    def run(resume, watch=lambda share, what: None):
        label(out, data, config, resume, lambda sentence: None, watch, settings)
        return (out / LABELLED).read_text(encoding="utf-8")

    whole = run(False)
    assert len(whole.splitlines()) == 8

    def stop(share, what):
        if what.startswith("6 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(False, stop)
    with (out / LABELLED).open("a") as file:
        file.write('{"question": "half a li')  # a kill in the middle of a line
    assert run(True) == whole
    assert run(True) == whole
    config = LabelConfig(questions=8, beams=2, seed=1)
    with pytest.raises(UserError, match="begun with other questions or settings"):
        run(True)
    assert (out / LABELLED).read_text(encoding="utf-8") == whole
    (out / LABELLED).write_text("no JSON\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1: a row needs the texts question, context"):
        run(True)


# --- What the stages learn --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_first_stage_learns_the_answers(loaded, data, tmp_path, form):
    config = form_of(TASK, form, steps=30, learning_rate=0.02)
    rows = [row for row in AnswerTask.read(data).rows if row.answers]
    job = TaskJob(out=tmp_path, source=RowsFile(path=data), config=config)
    progress = Training(AnswerTask(loaded(), job), rows, config, tmp_path).run()
    [(name, curve)] = progress.curves.items()
    assert name == "cross-entropy"
    assert curve[-1][1] < 0.9 * curve[0][1]


@pytest.mark.parametrize("task", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_the_third_stage_learns_to_tell_right_from_wrong(loaded, tiny_catalogue, tmp_path, form, task):
    folder = task_folder(tmp_path / "task", tiny_catalogue, task)
    objective = evaluation(loaded(), folder, form, steps=40, rows_per_step=4, held_out=0, warmup=5)
    rows = labelled_rows(4)
    training = Training(objective, rows, objective.config, tmp_path / "out")
    learned = set(map(id, training.parameters.values()))
    others = [(p, p.detach().clone()) for p in objective.loaded.model.parameters() if id(p) not in learned]
    progress = training.run()
    assert min(progress.losses[-5:]) < 0.7 * progress.losses[0]
    assert all(torch.equal(now, before) and now.grad is None for now, before in others)


def test_a_step_of_several_rows_is_the_mean_of_their_steps(loaded, tiny_catalogue, tmp_path):
    """Rows of different lengths share a pass; none loses its gradient by that."""
    folder = task_folder(tmp_path / "task", tiny_catalogue, "lora")
    objective = evaluation(loaded(), folder, "lora")
    make_random(objective)
    learned = {**objective.vectors.parameters, **dict(objective.loaded.model.named_parameters())}
    learned = {name: p for name, p in learned.items() if name == "vectors" or ".evaluation." in name}

    def gradients(rows):
        for parameter in learned.values():
            parameter.grad = None
        objective.loss(rows).backward()
        return {name: parameter.grad.clone() for name, parameter in learned.items()}

    rows = labelled_rows(3)
    together, apart = gradients(rows), [gradients([row]) for row in rows]
    for name, found in together.items():
        if "k_proj" in name:  # with these random weights attention looks at one place alone: all of it is rounding
            continue
        assert torch.allclose(found, sum(each[name] for each in apart) / 3, rtol=1e-3, atol=2e-4), name
        assert found.abs().sum() > 0, name


def test_it_measures_how_the_first_answers_are_told_apart(loaded, tiny_catalogue, tmp_path):
    objective = evaluation(loaded(), task_folder(tmp_path / "task", tiny_catalogue, "soft_prompt"), "lora")
    make_random(objective)
    rows = labelled_rows(12)
    with torch.no_grad():
        firsts = [(float(objective.margins([row])[0][0]), row.correct[0]) for row in rows]
        found = objective.measure(rows)
    pairs = [(a > b) + (a == b) / 2 for a, right in firsts if right for b, good in firsts if not good]
    assert found == {"AUROC": pytest.approx(sum(pairs) / len(pairs))}


@pytest.mark.parametrize("right", [True, False])
def test_nothing_is_measured_where_all_are_alike(loaded, tiny_catalogue, tmp_path, right):
    objective = evaluation(loaded(), task_folder(tmp_path / "task", tiny_catalogue, "soft_prompt"), "soft_prompt")
    objective.build([])
    rows = [replace(row, correct=(right,) * len(row.correct)) for row in labelled_rows(4)]
    assert objective.measure(rows) == {}
    assert torch.isfinite(objective.loss(rows))


# --- What was learned, in the engine ----------------------------------------------------------------------------------


@pytest.mark.parametrize("task", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_the_engine_evaluates_as_the_training_did(loaded, tiny_catalogue, tmp_path, settings, form, task):
    folder = task_folder(tmp_path / f"{task}-{form}", tiny_catalogue, task)
    objective = evaluation(loaded(), folder, form)
    make_random(objective)
    questions = [Question("who is the fox"), Question("what jumps", "the lazy dog jumps over the quick brown fox")]
    playground = Playground(settings)
    try:
        without = [found["detail"]["candidates"] for found in lanes(playground, folder, questions, "beam")]
        rows = [
            LabelledRow(question, tuple(said(candidate) for candidate in found), (True,) * len(found))
            for question, found in zip(questions, without, strict=True)
        ]
        objective.loaded.model.eval()
        with torch.no_grad():
            expected = [torch.sigmoid(margins).tolist() for margins in objective.margins(rows)]
        objective.save(folder / PROMPT)
        written = Playground(settings)
        try:
            found = lanes(written, folder, questions, "aspire")
        finally:
            written.close()
    finally:
        playground.close()
    for lane, wanted, before in zip(found, expected, without, strict=True):
        candidates = lane["detail"]["candidates"]
        assert [c["token_ids"] for c in candidates] == [c["token_ids"] for c in before]
        assert [c["p_correct"] for c in candidates] == pytest.approx(wanted, abs=1e-4)
    spread = [c["p_correct"] for lane in found for c in lane["detail"]["candidates"]]
    assert max(spread) - min(spread) > 1e-3


def lanes(playground, folder, questions, method):
    options = {"variant": playground.learned_variant(str(folder)), "beams": 4}
    if method == "aspire":
        options["evaluation"] = f"p_correct(asked={options['variant']})"
    lane = LaneRequest.checked(method=method, options=options)
    found = list(playground.each([(q.prompt, lane, 0) for q in questions], 6))
    assert [lane["error"] for lane in found] == [None] * len(questions)
    return found


def said(candidate):
    ids = candidate["token_ids"]
    return tuple(ids[:-1] if candidate["finish_reason"] == "end" else ids)


@pytest.mark.parametrize("task", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_learning_to_evaluate_changes_no_answer(loaded, tiny_catalogue, tmp_path, settings, form, task):
    folder = task_folder(tmp_path / f"{task}-{form}", tiny_catalogue, task)
    questions = [Question(f"who is the {word}") for word in WORDS[:4]]
    answers, confidence = [], []
    for seed in (1, 2):
        objective = evaluation(loaded(), folder, form)
        make_random(objective, seed)
        objective.save(folder / PROMPT)
        playground = Playground(settings)
        found = lanes(playground, folder, questions, "aspire")
        playground.close()
        answers.append([[c["token_ids"] for c in lane["detail"]["candidates"]] for lane in found])
        confidence.append([c["p_correct"] for lane in found for c in lane["detail"]["candidates"]])
    assert answers[0] == answers[1]
    assert confidence[0] != confidence[1]


# --- Which questions --------------------------------------------------------------------------------------------------


class Noting:
    """An objective that learns nothing and notes the rows it was given."""

    name, makes = "noting", "nothing"

    def __init__(self):
        self.rows = []

    def build(self, rows):
        self.weight = torch.nn.Parameter(torch.zeros(1))
        return {"weight": self.weight}

    def loss(self, rows):
        self.rows += rows
        return self.weight.sum()

    def measure(self, rows):
        return {}


@given(
    answerable=st.integers(2, 60),
    unanswerable=st.integers(0, 20),
    steps=st.integers(1, 12),
    held_out=st.floats(0, 0.5),
    seed=st.integers(0, 50),
    wanted=st.integers(1, 80),
)
def test_no_question_is_labelled_that_the_first_stage_saw(
    tmp_path_factory, answerable, unanswerable, steps, held_out, seed, wanted
):
    questions = [Question(f"q{n}", answers=("a",)) for n in range(answerable)]
    questions += [Question(f"u{n}") for n in range(unanswerable)]
    random.Random(seed).shuffle(questions)
    config = TaskConfig(steps=steps, rows_per_step=3, held_out=held_out, seed=seed)
    noting = Noting()
    rows = [question for question in questions if question.answers]
    training = Training(noting, rows, config, tmp_path_factory.mktemp("t"))
    training.run()
    left = len({*training.rows} - {*noting.rows}) + unanswerable
    if left == 0:
        return
    try:
        found, calibration = choose(questions, rows, config, LabelConfig(questions=wanted, seed=seed))
    except aspire_labels.UserError as error:
        assert "has seen every question" in str(error)
        assert not {*training.rows} - {*noting.rows}
        return
    assert len(found) == len(set(found)) <= wanted
    assert not set(found) & (set(noting.rows) | set(calibration))
    assert not set(calibration) & set(noting.rows)
    assert set(training.held_out) <= set(calibration)


def test_questions_of_another_file_are_labelled_unless_the_first_stage_saw_them(tmp_path, data, settings):
    """The data of the second stage may be other than the first one's."""
    out = tmp_path / "out"
    job = TaskJob(out=out, base="tiny", source=RowsFile(path=data), config=form_of(TASK, "soft_prompt", steps=40))
    write_job(job, out / JOB)
    train(job, settings=settings)
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    more = tmp_path / "more.jsonl"
    fresh = [{"question": f"is the {word} lazy", "answers": ["no"]} for word in WORDS]
    write_rows(more, [*fresh, *(row for row in rows if row.get("answers"))])
    config = LabelConfig(questions=100, beams=1)
    label(out, more, config, False, lambda sentence: None, lambda share, what: None, settings)
    found = {json.loads(line)["question"] for line in (out / LABELLED).read_text().splitlines()}
    kept = {json.loads(line)["question"] for line in (out / CALIBRATION).read_text().splitlines()}
    assert found | kept >= {row["question"] for row in fresh}
    assert not found & ({row["question"] for row in rows} - kept)  # 40 steps of 2 see all of them


# --- Gold answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "gold", "score"),
    [
        ("the quick fox", ("quick fox",), 0.8),
        ("The Quick, FOX!", ("the quick fox",), 1.0),
        ("fox", ("dog", "the fox"), 2 / 3),
        ("dog", ("fox",), 0.0),
        ("fox", (), 0.0),
        ("", ("fox",), 0.0),
    ],
)
def test_rouge_of_answers_by_hand(answer, gold, score):
    assert rouge_l(answer, gold) == pytest.approx(score)
    assert is_correct(answer, gold) == (score >= 0.7)


def test_a_question_is_asked_alone_or_behind_its_passage():
    assert ask(" who? ") == "who?"
    assert ask("who?", " The fox. ") == "The fox.\n\nwho?"
