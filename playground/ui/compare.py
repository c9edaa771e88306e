"""The Compare tab: a prompt, lanes with their controls, Run and Stop, and the board."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr

from playground.decoders import DECODERS
from playground.errors import UserError, shown
from playground.figures.price import price_figure
from playground.models.fetch import no_progress
from playground.record import RunRecord
from playground.requests import MAX_LANES, MAX_NEW_TOKENS, RunRequest
from playground.service import Continuation, Playground, Ticket, size_of
from playground.ui.board import Board, snapshot
from playground.ui.cards import STYLE, cards
from playground.ui.controls import Slider, chosen, control, offer
from playground.ui.errors import asked, in_words
from playground.ui.examples import FIRST_EXAMPLES, MORE_EXAMPLES, RECORDED, TASK_EXAMPLES
from playground.ui.lanes import (
    Lanes,
    another_lane,
    as_requested,
    continued,
    dialled,
    edited,
    first_lanes,
    kept_policies,
    lane_of,
    lanes_for,
    recorded_lane,
    summary,
    with_method,
)
from playground.ui.opening import opening
from playground.ui.sessions import Sessions, place_in_words

UPDATE_SECONDS, LONGEST_UPDATE_SECONDS = 0.08, 1.5
"""Time between two updates of the browser, see `pace`."""
LIGHT = 250
"""Tokens of all lanes that a page draws without effort. It lays out whole answers each time, so longer ones come in
larger steps: else a page with a thousand tokens no longer answers to its buttons."""
REOPENED_SECONDS = 0.5
"""The same for a run that another page started."""

Drawn = dict[str, Any]
"""What the lanes' controls are drawn from: "lanes", and "models" to choose from."""

_TELL = "(...values) => {{ document.dispatchEvent(new Event('{}')); return values; }}"
"""JavaScript that tells the board what happens, and passes on what an event takes."""


class CompareTab:
    """Builds the tab inside the current Blocks and keeps its components for others to fill."""

    def __init__(self, playground: Playground, tab: gr.Tab, visitor: gr.BrowserState, kept: gr.BrowserState, origin_of):
        """tab: the one around it; visitor: the browser's own random id; kept: the mixtures that this browser keeps;
        origin_of: visitor → whose run it is."""
        self.playground, self.tab, self.visitor, self.kept = playground, tab, visitor, kept
        self.origin_of = origin_of
        self.sessions = Sessions(playground)
        with gr.Row(elem_id="ask-row"):
            self.prompt = gr.Textbox(
                label="Prompt",
                show_label=False,
                placeholder="Ask something …",
                lines=1,
                max_lines=6,
                elem_id="prompt",
                autofocus=True,
                interactive=True,  # only rendered lanes read it, so Gradio would take it for an output
                scale=8,
                min_width=120,
            )
            self.run_button = gr.Button("Run", variant="primary", elem_id="run", min_width=70)
            self.stop_button = gr.Button("Stop", variant="stop", elem_id="stop", min_width=70)
        with gr.Row(elem_id="beginnings"):
            gr.Examples(
                [[text] for _, text in FIRST_EXAMPLES],
                inputs=[self.prompt],
                examples_per_page=len(FIRST_EXAMPLES),
                elem_id="examples",
            )
            with gr.Accordion("More examples", open=False):
                tasks = self._more_examples()
            with gr.Accordion("More settings", open=False):
                self.system = gr.Textbox(label="System prompt", lines=2, elem_id="system", interactive=True)
                self.earlier = gr.Textbox(
                    label="Earlier turns",
                    info='Lines that begin "Person:" and "Model:" in turn; an answer comes last',
                    lines=2,
                    max_lines=12,
                    elem_id="earlier",
                    interactive=True,
                )
                with gr.Row():
                    self.seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=100, interactive=True)
                    self.length = Slider(
                        1,
                        MAX_NEW_TOKENS,
                        96,
                        step=1,
                        label="Max new tokens",
                        min_width=160,
                        elem_id="length",
                        interactive=True,
                    )
            self.add_button = gr.Button("Add lane", elem_id="add-lane", size="sm", min_width=90, scale=0)
        # In one: two states that change together would draw the controls twice, and the page loses what happens to
        # controls that are just being replaced.
        self.drawn = gr.State(
            {"lanes": first_lanes(playground.catalogue), "models": list(playground.catalogue.writers)}
        )

        def candidates(place: list) -> dict[str, Any] | None:
            return self._candidates(*place)

        def steps(place: list) -> list[dict[str, Any]]:
            return self._steps(*place)

        def saved(place: list) -> str:
            return self._saved(*place)

        def questions(place: list) -> list[str]:
            return self._questions(*place)

        self.board = Board(
            candidates,
            steps,
            saved,
            questions,
            value=opening(list(playground.archive.recorded("opening").values())),
            render=False,
            elem_id="board",
        )
        self.price = gr.Plot(show_label=False, render=False, elem_id="price")
        with gr.Row(elem_id="lane-row"):
            self._render_lanes()
        self.drawn.change(
            lambda drawn: gr.update(interactive=len(drawn["lanes"]) < MAX_LANES),
            self.drawn,
            self.add_button,
            api_visibility="private",
            show_progress="hidden",
        )
        tasks.click(
            in_words(self.begin_task),
            [tasks, self.drawn],
            [self.prompt, self.drawn],
            api_visibility="private",
            show_progress="hidden",
        )
        self.board.render()
        if recorded := cards(playground.archive.recorded(), RECORDED):
            gr.HTML(recorded, css_template=STYLE, apply_default_css=False, elem_id="recorded")
        with gr.Accordion("Cost of each lane", open=False):
            self.price.render()
        self.board.select(
            in_words(self.go_on),
            [visitor, self.drawn],
            self.shown,
            api_visibility="private",
            show_progress="hidden",
            concurrency_limit=None,
            trigger_mode="multiple",
        )
        self.stop_button.click(self.stop, None, None, queue=False, api_visibility="private", show_progress="hidden")

    def _more_examples(self) -> gr.Dataset:
        """The other examples, and the tasks of the papers, which come back: they bring lanes."""
        gr.Examples(
            [[text] for _, text in MORE_EXAMPLES],
            inputs=[self.prompt],
            label="Prompts",
            example_labels=[text for _, text in MORE_EXAMPLES],
            examples_per_page=len(MORE_EXAMPLES),
            elem_id="more-examples",
        )
        return gr.Dataset(
            components=["textbox"],
            samples=[[prompt] for _, _, prompt in TASK_EXAMPLES],
            sample_labels=[label for _, label, _ in TASK_EXAMPLES],
            samples_per_page=len(TASK_EXAMPLES),
            type="index",
            label="Tasks of the papers on guided decoding; these bring their lanes",
            elem_id="tasks",
        )

    def all_models(self, kept: Any) -> list[str]:
        """What a list of models holds now: those of the server, and the mixtures of this browser."""
        self.playground.memory.discover()
        return list(dict.fromkeys([*self.playground.catalogue.writers, *kept_policies(kept)]))

    def _render_lanes(self) -> None:
        """The lanes' controls; drawn anew whenever a lane is added, removed, duplicated or changes its method, and when
        there are other models to choose from."""

        @gr.render(inputs=self.drawn)
        def draw(drawn: Drawn) -> None:
            lanes, models = drawn["lanes"], drawn["models"]
            controls: list[list[gr.components.Component]] = []
            schemas = [self.playground.options_schema(lane["method"]) for lane in lanes]
            for schema in schemas:
                offer(schema, models)
            edits = []
            with gr.Row(equal_height=False, elem_id="lanes"):
                for number, (lane, schema) in enumerate(zip(lanes, schemas, strict=True)):
                    mine, edit = self._lane_controls(number, lane, schema, alone=len(lanes) == 1)
                    controls.append(mine)
                    edits.append(edit)
            kept = [model for model in models if model not in self.playground.catalogue.writers]
            keeps = gr.Dropdown(
                kept,
                value=kept,
                multiselect=True,
                label="Kept models",
                info="They are in every list of models in this browser; × removes one",
                visible=bool(kept),
                interactive=True,
                elem_id="kept",
            )
            flat = [component for mine in controls for component in mine]
            sizes = [len(mine) for mine in controls]

            def read(values: Iterable[Any]) -> Lanes:
                """The lanes as they stand in their controls."""
                rest, now = list(values), []
                for lane, schema, size in zip(lanes, schemas, sizes, strict=True):
                    *options, begin, opened = rest[:size]
                    now.append(edited(lane, chosen(schema, options), begin or "") | {"open": bool(opened)})
                    rest = rest[size:]
                return now

            # Queued: only then does Gradio tell the page that the state has changed.
            quiet = {"api_visibility": "private", "show_progress": "hidden"}
            for number, (method, duplicate, remove, clear) in enumerate(edits):

                def change(name: str, *values: Any, at: int = number) -> Drawn:
                    now = read(values)
                    return drawn | {"lanes": [*now[:at], with_method(now[at], name), *now[at + 1 :]]}

                def double(*values: Any, at: int = number) -> Drawn:
                    now = read(values)
                    return drawn | {"lanes": [*now[: at + 1], now[at] | {"open": True}, *now[at + 1 :]][:MAX_LANES]}

                def drop(*values: Any, at: int = number) -> Drawn:
                    now = read(values)
                    return drawn | {"lanes": [*now[:at], *now[at + 1 :]]}

                def empty(*values: Any, at: int = number) -> Drawn:
                    now = read(values)
                    return drawn | {"lanes": [*now[:at], edited(now[at], now[at]["options"], ""), *now[at + 1 :]]}

                method.input(change, [method, *flat], self.drawn, **quiet)
                for button, act in ((duplicate, double), (remove, drop), (clear, empty)):
                    button.click(act, flat, self.drawn, **quiet)

            def add(*values: Any) -> Drawn:
                return drawn | {"lanes": [*read(values), another_lane() | {"open": True}][:MAX_LANES]}

            def look_again(kept: Any, *values: Any) -> Any:
                now = self.all_models(kept)
                return gr.skip() if now == models else {"lanes": read(values), "models": now}

            def keep(event: gr.EventData, kept: Any, *values: Any) -> tuple:
                policy = dialled(self.playground.open_run(str(asked(event).get("run"))), asked(event))
                if policy in models:
                    gr.Info(f"{policy} is in the list of models already.")
                    return gr.skip(), gr.skip()
                gr.Info(f"{policy} is now in every list of models in this browser.")
                kept = kept_policies([*kept_policies(kept), policy])
                return {"lanes": read(values), "models": self.all_models(kept)}, kept

            def forget(left: list[str], *values: Any) -> tuple:
                return {"lanes": read(values), "models": self.all_models(left)}, left

            keeps.input(forget, [keeps, *flat], [self.drawn, self.kept], **quiet)
            self.add_button.click(add, flat, self.drawn, **quiet)
            self.tab.select(look_again, [self.kept, *flat], self.drawn, **quiet)
            self.board.apply(in_words(keep), [self.kept, *flat], [self.drawn, self.kept], **quiet)

            @in_words
            def run(
                request: gr.Request,
                visitor: str,
                prompt: str,
                system: str,
                earlier: str,
                seed: float,
                length: float,
                *values: Any,
            ) -> Iterator[tuple]:
                wanted = RunRequest.checked(
                    prompt=prompt or "",
                    system=system or "",
                    earlier=_turns(earlier or ""),
                    seed=0 if seed is None else int(seed),
                    max_new_tokens=int(length),
                    lanes=as_requested(read(values)),
                )
                yield from self._run(wanted, self.origin_of(visitor), request)

            started = gr.on(
                [self.run_button.click, self.prompt.submit],
                run,
                [self.visitor, self.prompt, self.system, self.earlier, self.seed, self.length, *flat],
                [self.board, self.price],
                api_visibility="private",
                show_progress="hidden",
                concurrency_limit=None,
                js=_TELL.format("run-asked"),
                trigger_mode="multiple",  # a second Run takes the place of the first; "once" would drop it silently
            )
            started.failure(None, js=_TELL.format("run-refused"), **quiet)

    def _lane_controls(self, number: int, lane: dict[str, Any], schema: dict[str, Any], alone: bool):
        """One lane's head and controls. Returns (the components of its options, of its beginning and of whether it
        stands open, (method, duplicate, remove, clear))."""
        known = DECODERS[lane["method"]]
        fields = schema["properties"].items()

        def make(name: str) -> gr.components.Component:
            field = schema["properties"][name]
            return control(name, field, lane["options"].get(name, field["default"]))

        head = gr.Accordion(summary(number, lane), open=lane.get("open", False), elem_classes="lane-controls")
        with head:
            method = gr.Dropdown(
                [(d.title, d.name) for d in DECODERS.values()],
                value=lane["method"],
                label=f"Lane {number + 1}",
                info=known.summary,
                filterable=False,
                interactive=True,
            )
            begin = gr.Textbox(
                lane["begin_text"],
                label="Begins with",
                info="The answer must begin with this text; the method writes the rest",
                lines=1,
                max_lines=4,
                interactive=True,
                render=False,
                elem_classes="begin",
            )
            made = {name: make(name) for name, _ in fields if name in known.in_front}
            if lane["begin_text"]:
                begin.render()
            clear = gr.Button("Clear the beginning", size="sm", visible=bool(lane["begin_text"]))
            with gr.Accordion("More options", open=False):
                made |= {name: make(name) for name, _ in fields if name not in known.in_front}
                if not lane["begin_text"]:
                    begin.render()
            opened = gr.Checkbox(lane.get("open", False), visible=False)
            options = [made[name] for name, _ in fields]
            with gr.Row():
                duplicate = gr.Button("Duplicate", size="sm", min_width=80)
                remove = gr.Button("Remove", size="sm", min_width=80, interactive=not alone)

        def named(*options: Any) -> dict[str, Any]:
            return gr.update(label=summary(number, lane | {"options": chosen(schema, options)}))

        quiet = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        # Not `change`, which also comes when they are drawn anew, from those that are being replaced.
        gr.on([option.input for option in options], named, options, head, **quiet)
        # What stands open does so in the next drawing, too. Only the page notes it: the server no longer knows an event
        # of controls that are just being replaced.
        head.expand(None, None, opened, js="() => true", **quiet)
        head.collapse(None, None, opened, js="() => false", **quiet)
        return [*options, begin, opened], (method, duplicate, remove, clear)

    def _run(
        self, wanted: RunRequest, origin: str, request: gr.Request, continuation: Continuation | None = None
    ) -> Iterator[tuple]:
        """Start a run and yield (board, figure) until it has ended; a page that goes away ends it."""
        self.sessions.stop(request.session_hash)
        with self.sessions.begin(request, *size_of(wanted)) as ticket:
            for before in ticket.places():
                yield {"queued": place_in_words(before)}, gr.skip()
            if ticket.stopped:
                if self.sessions.is_last(ticket):
                    yield None, gr.skip()
                return
            yield from self._load(wanted, ticket)
            if ticket.stopped:
                return
            run = ticket.hold(self.playground.start(wanted, origin, owner=ticket.person, continuation=continuation))
            board = snapshot(run.result())
            for _ in run.watch(lambda: pace(board)):
                board = snapshot(run.result())
                yield board, gr.skip()
            if run.notice:
                gr.Warning(html.escape(run.notice), duration=None)
            yield _shown(run.result())

    def go_on(self, request: gr.Request, event: gr.EventData, visitor: str, drawn: Drawn) -> Iterator[tuple]:
        """Add a lane that goes on from a place in another one: the same tokens up to there, then another token, another
        setting of its dial, or both. The other lanes stay; the page's controls become those of all."""
        run = self.playground.ended_run(str(asked(event).get("run")))
        self.sessions.stop(request.session_hash)
        continuation, lane = continued(run, asked(event), self.playground.open_run)
        again = RunRequest.checked(
            **{name: run[name] for name in ("prompt", "system", "earlier", "seed", "max_new_tokens", "stop")},
            lanes=as_requested([lane]),
        )
        lanes = [recorded_lane(standing) for standing, _ in continuation.lanes]
        lanes.insert(continuation.parent + 1, lane)
        yield *_controls(run, drawn | {"lanes": lanes}), gr.skip(), gr.skip()
        for board, price in self._run(again, self.origin_of(visitor), request, continuation):
            yield *([gr.skip()] * 6), board, price

    def _load(self, wanted: RunRequest, ticket: Ticket) -> Iterator[tuple]:
        """Load what the lanes need, showing how far that is; nothing where all is in memory already. Stopped, the
        page is free at once, and the loading goes on for whoever asks next."""
        if self.playground.is_ready_for(wanted.lanes):
            return
        one = ThreadPoolExecutor(1)
        loading = one.submit(self.playground.load_for, wanted.lanes, no_progress)
        one.shutdown(wait=False)
        while not loading.done() and not ticket.stopped:
            share, what = self.playground.memory.loading
            # At the end of a part nothing more is told of it: what it has learned is put to it, or the next part comes.
            here = {"queued": "The model is in memory; the lanes begin soon …"}
            at_it = {"loading": {"share": share, "what": f"The model is loading: {what}"}}
            yield here if share >= 1 else at_it, gr.skip()
            time.sleep(0.3)
        if ticket.stopped:
            yield None, gr.skip()
        else:
            loading.result()

    def begin_task(self, example: int, drawn: Drawn) -> tuple:
        """(prompt, what the controls are drawn from) of an example of a task; lanes whose models this server does not
        have are left out."""
        task, _, prompt = TASK_EXAMPLES[example]
        lanes, missing = [], []
        for lane in lanes_for(self.playground.catalogue, task):
            try:
                self.playground.is_ready_for([lane])
                lanes.append(lane_of(lane))
            except UserError:
                missing.append(DECODERS[lane.method].title)
        if missing:
            gr.Info(f"This server does not have the models for: {', '.join(missing)}. Other lanes are set.")
        return prompt, drawn | {"lanes": lanes} if lanes else gr.skip()

    def stop(self, request: gr.Request) -> None:
        """Stop what this page runs, or let it follow nobody's run: Stop was pressed, or the page was closed."""
        self.sessions.stop(request.session_hash, by_hand=True)

    def _candidates(self, run_id: Any, lane: Any, at: Any) -> dict[str, Any] | None:
        """The record of one token of a lane's answer, or None if there is none."""
        try:
            tokens = self.playground.open_run(str(run_id))["lanes"][int(lane)]["detail"]["tokens"]
            return tokens[int(at)]
        except (UserError, LookupError, ValueError, TypeError):
            return None

    def _steps(self, run_id: Any, lane: Any, first: Any) -> list[dict[str, Any]]:
        """The steps of a lane's search from number `first` on, or none."""
        try:
            return self.playground.open_run(str(run_id))["lanes"][int(lane)]["detail"]["tree"]["steps"][int(first) :]
        except (UserError, LookupError, ValueError, TypeError):
            return []

    def _questions(self, run_id: Any, lane: Any) -> list[str]:
        """The questions that a search's evaluator put, or none."""
        try:
            return list(self.playground.open_run(str(run_id))["lanes"][int(lane)]["detail"]["questions"])
        except (UserError, LookupError, ValueError, TypeError):
            return []

    def _saved(self, run_id: Any) -> str:
        """A saved run as the text of a file; empty if there is none."""
        try:
            return self.playground.archive.write(str(run_id)).decode()
        except UserError:
            return ""

    def open(self, run_id: str, request: gr.Request, drawn: Drawn) -> Iterator[tuple]:
        """Values that show a run, in the order of `shown`, with the models of `drawn` to choose from; of one that goes
        on, until it has ended, or until this page runs something itself or presses Stop. Raises UserError."""
        run = self.playground.open_run(run_id)
        lanes = [recorded_lane(lane) for lane in run["lanes"]]
        if gone := {lane["method"] for lane in run["lanes"]} - set(DECODERS):
            gr.Warning(f"This server does not have the method {shown(', '.join(gone))}; what it wrote is shown.")
        with self.sessions.watch(request.session_hash) as watch:
            board, price = _shown(run)
            yield *_controls(run, drawn | {"lanes": lanes}), board, price
            while run["status"] == "running" and not watch.over.wait(max(REOPENED_SECONDS, pace(board))):
                run = self.playground.open_run(run_id)
                board, price = _shown(run)
                yield *([gr.skip()] * 6), board, price
            if run["status"] == "running" and watch.by_hand:
                yield *([gr.skip()] * 6), left(board), gr.skip()

    def with_models(self, drawn: Drawn) -> tuple:
        """Values that show no run, but the models there are."""
        return tuple(drawn if component is self.drawn else gr.skip() for component in self.shown)

    @property
    def shown(self) -> list[gr.components.Component]:
        """The components that `open` fills, in its order."""
        return [self.prompt, self.system, self.earlier, self.seed, self.length, self.drawn, self.board, self.price]


def _turns(text: str) -> list[tuple[str, str]]:
    """Earlier turns from text with lines that begin "Person:" and "Model:" in turn. Raises UserError for other text."""
    start, *parts = re.split(r"^(Person|Model):", text.strip(), flags=re.MULTILINE)
    who, said = parts[::2], [part.strip() for part in parts[1::2]]
    if start or len(who) % 2 or who != ["Person", "Model"] * (len(who) // 2):
        raise UserError(
            'The earlier turns cannot be read; begin lines with "Person:" and "Model:" in turn, an answer last.'
        )
    return list(zip(said[::2], said[1::2], strict=True))


def _controls(run: RunRecord, drawn: Drawn) -> tuple:
    """(prompt, system prompt, earlier turns, seed, length, what lanes are drawn from) as the page's controls show
    them."""
    earlier = "\n".join(f"Person: {person}\nModel: {model}" for person, model in run["earlier"])
    return run["prompt"], run["system"], earlier, run["seed"], run["max_new_tokens"], drawn


def _shown(run: RunRecord) -> tuple:
    """(board, figure) of a run."""
    drawn = snapshot(run)
    return drawn, price_figure(drawn["lanes"])


def pace(board: dict[str, Any]) -> float:
    """Seconds from this state of a board to the next one."""
    tokens = sum(len(lane["pieces"]) for lane in board["lanes"])
    return min(LONGEST_UPDATE_SECONDS, UPDATE_SECONDS * max(1, tokens / LIGHT))


def left(board: dict[str, Any]) -> dict[str, Any]:
    """A board whose run goes on, but is no longer followed."""
    lanes = [lane | {"status": "left"} if lane["status"] in ("waiting", "writing") else lane for lane in board["lanes"]]
    return board | {"status": "left", "lanes": lanes}
