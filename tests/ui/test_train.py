"""The Train tab without a browser: what is chosen there becomes a job, and a journal is shown in plain words."""

import gradio as gr
import pytest

from playground.errors import UserError
from playground.figures.training import training_figure
from playground.training.jobs import Trainings
from playground.training.records import RowsFile, RrhfConfig, RrhfJob, Sampling, Votes
from playground.ui import train
from playground.ui.train import ROWS, SAMPLE, VOTES, TrainTab


@pytest.fixture
def tab(tiny, tmp_path):
    """A tab whose trainings are noted instead of started."""
    trainings = Trainings(tiny.settings)
    trainings.folder = tmp_path / "adapters"
    with gr.Blocks():
        tab = TrainTab(tiny, trainings, gr.BrowserState(""))
    tab.started = []
    trainings.start = lambda job, data: tab.started.append((job, data))
    tab.see = lambda name: (name,)
    return tab


def test_each_kind_of_data_becomes_its_source(tab, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    out = tab.trainings.folder / "mine"
    data, config = out / "data.jsonl", RrhfConfig(steps=7, learning_rate=0.01, max_response=9)

    def job(source, **more):
        return RrhfJob(out=out, source=source, config=config, **more)

    tab.start(tab.playground.owner_token, " mine ", ROWS, str(file), "", 4, "length", "", 7, 0.01, 9)
    assert tab.started.pop() == (job(RowsFile(path=data)), file.read_text())
    tab.start(tab.playground.owner_token, "mine", VOTES, None, "", 4, "length", "", 7, 0.01, 9)
    assert tab.started.pop() == (job(Votes()), "")
    two = "the fox\n\n a cake "
    tab.start(tab.playground.owner_token, "mine", SAMPLE, None, two, 3, "length", "adapted", 7, 0.01, 9)
    source = Sampling(prompts=data, samples=3, score_with="length")
    start = tab.playground.catalogue.variant("adapted").adapter
    assert tab.started.pop() == (job(source, start=start), '{"prompt": "the fox"}\n{"prompt": "a cake"}\n')


@pytest.mark.parametrize(
    ("name", "kind", "steps", "words"),
    [
        ("../up", ROWS, 7, "cannot be used"),
        ("mine", ROWS, 7, "There is no file"),
        ("mine", SAMPLE, 7, "There are no prompts"),
        ("mine", VOTES, None, "must all be given"),
        ("mine", VOTES, 0, "steps is 0"),
    ],
)
def test_what_cannot_be_trained_is_said(tab, name, kind, steps, words):
    with pytest.raises(UserError, match=words):
        tab.start(tab.playground.owner_token, name, kind, None, "", 4, "length", "", steps, 0.01, 9)
    assert tab.started == []


def test_a_journal_is_shown_with_its_newest_numbers():
    journal = {
        **{"state": "stopped", "what": "", "share": 0.5, "step": 2, "steps": 4, "seconds": 3.0, "error": None},
        **{"losses": [2.0, 1.0], "curves": {"ranking accuracy": [[0, 0.25], [2, 0.75]]}, "said": ["1 < 2"]},
    }
    text = train._status("mine", journal)
    for part in ("Stopped; can be resumed", "step 2 of 4", "loss 1.500", "ranking accuracy 0.750", "1 &lt; 2"):
        assert part in text
    loading = train._status("mine", journal | {"state": "preparing", "what": "the model is ready", "share": 1.0})
    assert "value=" not in loading, "nobody knows how far that is"
    assert 'value="0.000"' in train._status("mine", journal | {"step": 0, "share": 1.0}), "no step was taken"
    first = training_figure(journal | {"losses": [2.0]}).data[0]
    assert (first.mode, list(first.y)) == ("markers", [2.0]), "a line of one point cannot be seen"
