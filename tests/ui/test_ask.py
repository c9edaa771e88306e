"""The Ask tab: in a real browser at the tiny model, and what it says without one."""

import gradio as gr
import pytest
from playwright.sync_api import expect

from playground.errors import UserError
from playground.selective import METHOD, Selective, marked_curve
from playground.service import Playground
from playground.service.calibration import Calibration, Point
from playground.settings import Settings
from playground.ui.ask import LOWEST, AskTab, shortest
from playground.ui.examples import QUESTIONS
from playground.ui.page import serve
from tests.ui.conftest import PATIENCE, unfold

HOSTILE = "<img src=x onerror=window.hacked=1> who?"
POINTS = [Point(coverage=n / 20, accuracy=1 - n / 50, threshold=-n / 4) for n in range(1, 21)]


@pytest.fixture(scope="module")
def asked(tiny_catalogue):
    """A service of its own: tests leave marks behind."""
    playground = Playground(Settings(catalogue=tiny_catalogue, database=":memory:", precision=None, kv_megabytes=64))
    yield playground
    playground.close()


@pytest.fixture(scope="module")
def address(asked):
    page, url = serve(port=None, playground=asked, block=False)
    yield url
    page.close()


@pytest.fixture
def calibrated(asked, monkeypatch):
    options = METHOD.options()
    found = Calibration(
        **{"variant": "answers", "fingerprint": "", "measure": METHOD.name, "alpha": options.alpha, "beams": 10},
        **{"evaluation": options.evaluation, "n": 200, "wanted": {"coverage": 0.95}, "coverage": 0.95, "accuracy": 0.6},
        **{"threshold": -4.9, "curves": {METHOD.name: POINTS, "likelihood": POINTS}},
    )
    monkeypatch.setattr(asked.local, "calibration", lambda variant: found if variant == "answers" else None)


@pytest.fixture
def page(tab, address):
    """A fresh page with the Ask tab open."""
    tab.goto(address)
    unfold(tab.get_by_role("tab", name="Ask"))
    expect(tab.locator("#place")).not_to_be_empty()
    return tab


def set_threshold(page, value):
    field = page.locator("#threshold input[type=number]")
    field.fill(str(value))
    field.press("Tab")


def test_a_question_is_asked_decided_anew_and_judged(calibrated, page, asked):
    expect(page.locator("#threshold input[type=number]")).to_have_value("-4.9")
    page.get_by_role("button", name=QUESTIONS[0][0]).click()  # one click asks
    expect(page.locator(".answer .dial")).to_be_visible()
    expect(page.locator("#question").get_by_role("textbox")).to_have_value(QUESTIONS[0][1])
    runs = len(asked.archive.recent(None))
    answer, given = (
        page.locator(".beams tbody tr").first.locator("td.text").inner_text(),
        page.locator(".answer .given"),
    )
    expect(given).to_have_text(answer)
    bottom = page.locator(".answer").bounding_box()
    assert bottom["y"] + bottom["height"] < 900, "the answer is above the fold"

    set_threshold(page, 0)
    expect(given).to_have_text("I don’t know")
    expect(page.locator(".answer .withheld")).to_be_hidden()
    page.locator(".answer summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".answer .withheld")).to_have_text(answer)
    page.get_by_label("coverage").check()
    page.locator("#percent input").fill("100")
    expect(page.locator("#place")).to_contain_text("100 % of the questions")
    expect(page.locator("#threshold input[type=number]")).to_have_value("-5")
    expect(given).to_have_text(answer)
    expect(page.locator("#coverage .js-plotly-plot")).to_be_visible()
    assert len(asked.archive.recent(None)) == runs, "the model was not asked again"
    set_threshold(page, -1)
    expect(page.get_by_label("threshold", exact=True).and_(page.locator("[type=radio]"))).to_be_checked()

    rows = page.locator(".beams tbody tr")
    expect(rows).to_have_count(METHOD.options().beams)
    right, wrong = rows.nth(1).locator("button.right"), rows.nth(1).locator("button.wrong")
    right.click()
    expect(right).to_have_attribute("aria-pressed", "true")
    wrong.click()
    expect(wrong).to_have_attribute("aria-pressed", "true")
    expect(right).to_have_attribute("aria-pressed", "false")
    [mark] = Selective(asked).judgements.rows()
    assert (mark["answer"], mark["right"]) == (
        asked.open_run(mark["run"])["lanes"][0]["detail"]["candidates"][1]["text"],
        False,
    )
    wrong.focus()
    page.keyboard.press("Enter")
    expect(wrong).to_have_attribute("aria-pressed", "false")
    assert Selective(asked).judgements.rows() == []
    marked = "true"
    for threshold, share in ((-1, 20), (-2, 40), (-3, 60), (-4, 80)):
        right.click()
        expect(right).to_have_attribute("aria-pressed", marked)
        set_threshold(page, threshold)
        expect(page.locator("#place")).to_contain_text(f"{share} % of the questions")
        marked = "false" if marked == "true" else "true"


def test_ctrl_enter_asks_once_and_hostile_text_stays_text(page, asked):
    before = len(asked.archive.recent(None))
    page.locator("#question").get_by_role("textbox").fill(HOSTILE)
    page.locator("#context textarea").fill(HOSTILE)
    page.keyboard.press("Control+Enter")
    expect(page.locator(".answer .asked")).to_have_text(HOSTILE)
    expect(page.locator(".beams tbody tr").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#answer img, #beams img").count() == 0
    assert len(asked.archive.recent(None)) == before + 1


@pytest.mark.parametrize(
    ("question", "passage", "words"),
    [(" ", "a passage", "The question is empty"), ("Where?", "a cake " * 3000, "The passage is")],
)
def test_what_cannot_be_asked_is_said(page, question, passage, words):
    page.locator("#question").get_by_role("textbox").fill(question)
    page.locator("#context textarea").fill(passage)
    page.locator("#ask").click()
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.locator("#context textarea")).to_have_value(passage)


def test_it_fits_a_phone(chromium, address):
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    tab = context.new_page()
    tab.set_default_timeout(PATIENCE)
    tab.goto(address)
    unfold(tab.get_by_role("tab", name="Ask"))
    tab.get_by_role("button", name=QUESTIONS[8][0]).click()
    expect(tab.locator(".beams tbody tr").first).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    places = [tab.locator(name).bounding_box()["y"] for name in ("#ask", "#answer", "#threshold", "#beams")]
    assert places == sorted(places)
    context.close()


@pytest.fixture
def alone(asked):
    """The tab without a browser."""
    with gr.Blocks():
        return AskTab(Selective(asked), gr.BrowserState(""), str)


def values(tab):
    return [component.value for component in tab.options]


def test_without_a_calibration_the_page_says_how_to_make_one(alone):
    said, chart = alone.placed(-1.0, *values(alone))
    assert f"calibrate {METHOD.name}" in said
    assert chart["visible"] is False
    with pytest.raises(UserError, match="No threshold can be looked up"):
        alone.look_up("accuracy", 80, -1.0, *values(alone))


def test_enough_marks_of_people_make_a_curve_of_their_own(alone, asked):
    store = alone.selective.judgements
    for n in range(24):
        named = {"voter": "v", "question": "q", "context": "", "answer": f"{n}", "fingerprint": "f", "run": "r"}
        store.mark(
            named | {"variant": "answers", "log_likelihood": -1, "p_correct": 0.5, "score": -n / 4, "right": n < 12}
        )
    try:
        said, chart = alone.placed(-2.75, *values(alone))
        assert "50 %" in said and "100 %" in said and "marked by people here" in said
        assert [list(line.y)[1:] for line in chart["value"].data if "people" in (line.name or "")] == [
            [point.accuracy for point in marked_curve(store.rows())]
        ]
        assert alone.look_up("accuracy", 60, LOWEST, *values(alone)) == -4.751
    finally:
        for row in store.rows():
            store.unmark(row)


def test_a_threshold_that_nobody_set_is_that_of_the_calibration(alone, calibrated):
    def threshold(way, percent, now):
        return alone.opened(way, percent, now, *values(alone))[1]

    assert threshold("threshold", None, LOWEST) == -4.9
    assert threshold("threshold", None, -2.5) == -2.5
    assert threshold("coverage", 50, -2.5) == -2.5
    assert threshold("accuracy", 90, LOWEST) == -1.25


def test_a_threshold_is_shown_short_and_lets_through_what_it_did():
    points = [
        Point(coverage=n / 3, accuracy=1, threshold=score) for n, score in ((1, -0.5), (2, -0.68534), (3, -0.68537))
    ]
    assert shortest(-0.6853499, points[:1]) == -0.686
    assert shortest(-0.68534, points) == -0.68534, "at three decimals another answer would be given"
    assert shortest(-2.0, points) == -2


@pytest.mark.parametrize("data", [{}, {"row": "x", "right": True}, {"row": 99, "right": True}, {"row": -1, "right": 1}])
def test_a_mark_of_no_answer_is_refused(alone, data):
    class Event:
        _data = data

    run = alone.playground.compare(
        alone.selective.request("Where?", "", dict(zip(alone.names, values(alone), strict=True)))
    )
    answered = alone.selective.answered("Where?", "", run)
    for given in (answered, None):
        with pytest.raises(UserError, match="no such answer"):
            alone.judge(Event, "me", given)
