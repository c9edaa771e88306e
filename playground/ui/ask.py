"""The Ask tab: a question, its answer with a confidence, and the threshold below which it is withheld."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from playground.errors import UserError
from playground.figures.coverage import coverage_figure
from playground.selective import ENOUGH, METHOD, WANTED, Answered, Selective, chances, marked_curve, place
from playground.service import size_of
from playground.service.calibration import Calibration, Point, point_for
from playground.ui.board import DataView
from playground.ui.controls import control, offer
from playground.ui.errors import in_words
from playground.ui.examples import QUESTIONS
from playground.ui.sessions import Sessions, known_visitor, place_in_words

_HERE = Path(__file__).parent
LOWEST = -8.0
"""Where the slider begins: below all scores that occur, so that every answer is given."""
_STEP = 0.001
_LOOKING = {"waiting": "Looking for the likeliest answers…"}
_BY_THRESHOLD = "threshold"
_WAYS = [_BY_THRESHOLD, *WANTED]
_DECIDE = "(threshold, value) => value && value.confidence !== undefined ? { ...value, threshold } : value"
"""The answer is decided anew in the browser: no model is asked, and nothing waits."""


class AskTab:
    """Builds the tab inside the current Blocks."""

    def __init__(self, selective: Selective, visitor: gr.BrowserState, origin_of):
        """visitor: the browser's own random id; origin_of: visitor → whose runs these are."""
        self.selective, self.playground, self.origin_of = selective, selective.playground, origin_of
        self.sessions = Sessions(self.playground)
        schema = self._schema()
        self.names = list(schema)
        with gr.Row(equal_height=False, elem_id="asking"):
            with gr.Column(scale=2, min_width=300):
                self.question = gr.Textbox(
                    label="Question", placeholder="Ask for a fact, or pick an example", lines=1, elem_id="question"
                )
                self.context = gr.Textbox(
                    label="Passage (optional)",
                    placeholder="A text that holds the answer; without one the model answers from memory",
                    lines=3,
                    max_lines=3,
                    elem_id="context",
                )
                ask = gr.Button("Ask", variant="primary", elem_id="ask")
                examples = gr.Examples(
                    [[question, context] for _, question, context in QUESTIONS],
                    inputs=[self.question, self.context],
                    example_labels=[label for label, _, _ in QUESTIONS],
                    examples_per_page=len(QUESTIONS),
                    elem_id="ask-examples",
                )
                self.beams = _view("beams")
                with gr.Accordion("Model and search", open=False, elem_id="ask-options"):
                    self.options = [control(name, field, field["default"]) for name, field in schema.items()]
            with gr.Column(scale=3, min_width=320):
                self.answer = _view("answer")
                with gr.Row(elem_id="deciding"):
                    self.threshold = gr.Slider(
                        LOWEST,
                        0,
                        value=LOWEST,
                        step=_STEP,
                        label="Threshold",
                        min_width=200,
                        scale=3,
                        elem_id="threshold",
                    )
                    self.way = gr.Radio(
                        _WAYS, value=_BY_THRESHOLD, label="Set by", min_width=290, scale=4, elem_id="way"
                    )
                    self.percent = gr.Number(
                        60, label="Percent", minimum=0, maximum=100, visible=False, min_width=112, elem_id="percent"
                    )
                self.place = gr.Markdown("", elem_id="place")
                self.chart = gr.Plot(show_label=False, visible=False, elem_id="coverage")
        self.answered = gr.State(None)
        self._wire(ask, examples, visitor)

    @property
    def decided_by(self) -> list[gr.components.Component]:
        """What `opened` needs, in its order."""
        return [self.way, self.percent, self.threshold, *self.options]

    @property
    def shown(self) -> list[gr.components.Component]:
        """What `opened` fills, in its order."""
        return [self.options[self.names.index("variant")], self.threshold, self.place, self.chart]

    def _wire(self, ask: gr.Button, examples: gr.Examples, visitor: gr.BrowserState) -> None:
        quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        often = quiet | {"trigger_mode": "always_last"}
        decide = {"fn": None, "inputs": [self.threshold, self.answer], "outputs": self.answer, "js": _DECIDE}
        placed = [in_words(self.placed), [self.threshold, *self.options], [self.place, self.chart]]
        for begun in (ask.click, self.question.submit, examples.load_input_event.then):
            begun(
                in_words(self.ask),
                [visitor, self.question, self.context, self.threshold, *self.options],
                [self.answered, self.answer, self.beams],
                concurrency_limit=None,
                trigger_mode="multiple",  # a second question takes the place of the first
                **quiet,
            ).then(**decide, **quiet)
        # The answer changes at once, the chart as soon as the server has drawn it.
        self.threshold.change(**decide, **quiet)
        in_turn = {"concurrency_id": "chart"}  # the one that was asked for last stays
        self.threshold.change(*placed, **often, **in_turn)
        self.threshold.input(lambda: (_BY_THRESHOLD, gr.update(visible=False)), None, [self.way, self.percent], **often)
        look_up = {"fn": in_words(self.look_up), "inputs": self.decided_by, "outputs": self.threshold}
        # Only then the percent: what is typed there could be overtaken by the look-up of what stood there before.
        self.way.input(**look_up, **quiet).then(
            lambda way: gr.update(visible=way != _BY_THRESHOLD), self.way, self.percent, **quiet
        )
        self.percent.input(**look_up, **often)
        for option in self.options:
            option.change(in_words(self.chosen), self.decided_by, self.shown, **often, **in_turn)
        self.beams.select(in_words(self.judge), [visitor, self.answered], self.beams, **quiet).success(
            *placed, **quiet, **in_turn
        )

    def _schema(self) -> dict[str, Any]:
        """The options that the tab offers: all but the threshold, which has its slider, and the evaluation, which is
        the model's own."""
        schema = self.playground.options_schema(METHOD.name)
        offer(schema, self.selective.models())
        return {name: field for name, field in schema["properties"].items() if name not in ("threshold", "evaluation")}

    def ask(
        self, request: gr.Request, visitor: str, question: str, context: str, threshold: float, *options: Any
    ) -> Iterator[tuple]:
        """Find the answers; yields (what is answered, the answer, its beams)."""
        question, context = question or "", context or ""
        self.sessions.stop(request.session_hash)
        yield None, _LOOKING, None
        try:
            wanted = self.selective.request(question, context, self._named(options))
            with self.sessions.begin(request, *size_of(wanted)) as ticket:
                for before in ticket.places():
                    yield None, {"waiting": place_in_words(before)}, None
                yield None, _LOOKING, None
                run = self.playground.compare(wanted, self.origin_of(visitor), ticket.person, ticket.hold)
                answered = self.selective.answered(question, context, run)
        except UserError:
            yield None, None, None
            raise
        if answered:  # else another question has taken its place
            points, _, _ = _points(*self._known(self._named(options)))
            shown = {"question": answered.question, "text": answered.candidates[0]["text"]}
            shown |= {"confidence": answered.confidence, "threshold": threshold, "chances": chances(points)}
            yield answered, shown, self._beams(visitor, answered)

    def stop(self, request: gr.Request) -> None:
        """Stop what this page asks."""
        self.sessions.stop(request.session_hash)

    def opened(self, way: str, percent: float | None, threshold: float, *options: Any) -> tuple:
        """(models to choose from, threshold, where that stands, chart). A threshold that nobody has set is that of the
        calibration, if there is one."""
        named = self._named(options)
        calibration = self.selective.calibration(named)
        if way != _BY_THRESHOLD:
            threshold = self.look_up(way, percent, threshold, *options)
        elif calibration and threshold == LOWEST:
            threshold = shortest(calibration.threshold, _points(calibration, [])[0])
        return gr.update(choices=self.selective.models()), threshold, *self.placed(threshold, *options)

    def chosen(self, way: str, percent: float | None, threshold: float, *options: Any) -> tuple:
        """The same after another model or search was chosen: its scores are others, so the threshold is set anew."""
        return self.opened(way, percent, LOWEST, *options)

    def look_up(self, way: str, percent: float | None, threshold: float, *options: Any) -> float:
        """The threshold for what is wanted. Raises UserError where nothing tells it."""
        if way == _BY_THRESHOLD:
            return threshold
        points, count, _ = _points(*self._known(self._named(options)))
        if not points:
            raise UserError(f"No threshold can be looked up. {_how_to_calibrate()}")
        return shortest(point_for(points, count, **{way: (percent or 0) / 100}).threshold, points)

    def placed(self, threshold: float, *options: Any) -> tuple:
        """(what a threshold means, chart)."""
        calibration, marks = self._known(self._named(options))
        points, _, source = _points(calibration, marks)
        if not points:
            return _how_to_calibrate(), gr.update(visible=False)
        at = place(points, threshold)
        curves = calibration.curves if calibration else {}
        deciding_last = sorted(curves, key=lambda name: name == calibration.measure)
        drawn, own = {name: _plain(curves[name]) for name in deciding_last}, _plain(marked_curve(marks))
        figure = coverage_figure(drawn, at and at.coverage, own or None)
        return _in_words(at, source), gr.update(value=figure, visible=True)

    def _known(self, options: dict[str, Any]) -> tuple[Calibration | None, list[dict[str, Any]]]:
        """What is known of these options' confidence: the calibration, and people's marks."""
        return self.selective.calibration(options), self.selective.marked(options["variant"])

    def judge(self, event: gr.EventData, visitor: str, answered: Answered | None) -> dict[str, Any]:
        """Mark an answer right or wrong, or take that mark back: `row` and `right` come from the browser."""
        try:
            number, right = int(event._data["row"]), event._data["right"] is True
            known = 0 <= number < len(answered.candidates)
        except (LookupError, TypeError, ValueError, AttributeError):
            known = False
        if not known:
            raise UserError("There is no such answer to mark; ask a question first.")
        self.selective.toggle(known_visitor(self.playground, visitor), answered, number, right)
        return self._beams(visitor, answered)

    def _beams(self, visitor: str, answered: Answered) -> dict[str, Any]:
        """What the table of answers draws."""
        scores, marks = ("text", "log_likelihood", "p_correct", "score"), self.selective.marks(visitor, answered)
        rows = zip(answered.candidates, marks, strict=True)
        return {"rows": [{name: row[name] for name in scores} | {"mark": mark} for row, mark in rows]}

    def _named(self, options: tuple[Any, ...]) -> dict[str, Any]:
        named = dict(zip(self.names, options, strict=True))
        return named | {"variant": str(named["variant"])}  # the browser may send anything


def _points(calibration: Calibration | None, marks: list[dict[str, Any]]) -> tuple[list[Point], int, str]:
    """The curve that thresholds are looked up on, how many answers made it, and whose they are: that of the
    calibration, else that of people's marks; without both an empty one."""
    if calibration:
        return calibration.curves[calibration.measure], calibration.n, f"{calibration.n:,} questions of the calibration"
    return marked_curve(marks), len(marks), f"{len(marks):,} answers marked by people here"


def shortest(threshold: float, points: list[Point]) -> float:
    """The threshold with few decimals, for people to read: rounded down, and only as far as it decides every answer of
    the curve as before."""
    for decimals in range(3, 12):
        short = math.floor(round(threshold * 10**decimals, 6)) / 10**decimals
        if not any(short <= point.threshold < threshold for point in points):
            return short
    return threshold


def _view(name: str) -> DataView:
    return DataView(
        html_template=f'<div class="{name}"></div>',
        css_template=(_HERE / "ask.css").read_text(encoding="utf-8"),
        js_on_load=(_HERE / f"{name}.js").read_text(encoding="utf-8"),
        elem_id=name,
    )


def _plain(points: list[Point]) -> list[dict[str, float]]:
    return [point.model_dump() for point in points]


def _how_to_calibrate() -> str:
    return (
        "There is no calibration of this model with these options, so how often its answers are right is not known. "
        f"Make one with `python -m playground calibrate {METHOD.name} --data QA.jsonl --accuracy 0.8`, or mark at "
        f"least {ENOUGH} answers as right or wrong, some of each."
    )


def _in_words(at: Point | None, source: str) -> str:
    if at is None:
        return f"No score was so high ({source}): at this threshold nothing is answered."
    return (
        f"At this threshold **{100 * at.coverage:.0f} %** of the questions are answered: those with this score or a "
        f"higher one. **{100 * at.accuracy:.0f} %** of all these answers are right ({source})."
    )
