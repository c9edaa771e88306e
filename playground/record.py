"""The record of a run: plain data with named parts, which the service writes and everything else reads.

Numbers that a method has of its own (a divergence, a value, a confidence) stand under their names beside the known
parts: of a token, of a candidate token (a probability under each model), and of one of several answers (its scores).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, lt=2**53)]
Status = Literal["done", "stopped", "failed"]


class CostRecord(TypedDict, closed=True):
    """See `types.Cost`."""

    generated_tokens: Whole
    forward_tokens: Whole
    forward_passes: Whole
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


Flip = TypedDict("Flip", {"lambda": Number, "id": Whole, "text": str}, closed=True)
"""From this setting of the lane's dial on, the token would be this one."""


class TopToken(TypedDict, extra_items=Number | None):
    """A candidate for a token's place; its probabilities by name: `p`, or each model's and `mixed`."""

    id: Whole
    text: str


class Token(TypedDict, extra_items=Number | None):
    """A token of the answer; numbers by name, as `log_prob` or `kl_to_reference`, in nats."""

    id: Whole
    text: str
    top: NotRequired[list[TopToken]]
    flips: NotRequired[list[Flip]]
    node: NotRequired[Whole | None]
    """The node of the search that it belongs to."""


class Candidate(TypedDict, extra_items=Number | None):
    """One of several answers; scores by name."""

    text: str
    token_ids: list[Whole]
    finish_reason: str


class ColourRecord(TypedDict, closed=True):
    """Which number colours the tokens: `sign` times the one named `number`; `full` is the strongest colour."""

    number: str
    title: str
    full: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    sign: Literal[1, -1]


class DialRecord(TypedDict, closed=True):
    """An option that can be turned after the fact; `flips` of the tokens belong to it."""

    title: str
    low: Number
    high: Number
    value: Number
    scheduled: NotRequired[bool]


class Child(TypedDict, closed=True):
    """A new node of a search."""

    id: Whole
    text: str
    tokens: list[Whole]
    prior: Number
    ended: bool


class Order(TypedDict, closed=True):
    """How a question about a text was answered."""

    order: str
    answer: str
    p_good: Number


Path = Annotated[list[Whole], Field(min_length=1)]
States = list[tuple[Whole, Number, Number]]
"""(node, visits, value) each."""


class Select(TypedDict, closed=True):
    """The search looks at the end of this path."""

    kind: Literal["select"]
    path: Path


class Expand(TypedDict, closed=True):
    """A node gets children (`widen`: further ones). Of beams a child is a chunk."""

    kind: Literal["expand", "widen"]
    node: Whole
    children: list[Child]
    priors: list[tuple[Whole, Number]]


class Evaluate(TypedDict, closed=True):
    """A text was judged."""

    kind: Literal["evaluate"]
    node: Whole
    text: str
    value: Number
    orders: NotRequired[list[Order]]


class Backup(TypedDict, closed=True):
    """A value goes up a path."""

    kind: Literal["backup"]
    path: Path
    value: Number
    set: States


class Similar(TypedDict, closed=True):
    """A node that reads almost the same gets a part of the value."""

    kind: Literal["similar"]
    node: Whole
    sibling: Whole
    similarity: Number
    set: States


class Keep(TypedDict, closed=True):
    """Of the ends of all beams these are kept; the others are dropped."""

    kind: Literal["keep"]
    nodes: Path


class Commit(TypedDict, closed=True):
    """A node joins the answer; `rewind`: another one than the model alone would have taken."""

    kind: Literal["commit"]
    node: Whole
    rewind: bool
    priors: list[tuple[Whole, Number]]


class Take(TypedDict, closed=True):
    """The search ends with this path."""

    kind: Literal["take"]
    path: Path


Step = Annotated[Select | Expand | Evaluate | Backup | Similar | Keep | Commit | Take, Field(discriminator="kind")]


class Search(TypedDict, extra_items=Any):
    """A search as the steps that built it; whatever else a method keeps of it stands beside them."""

    steps: list[Step]
    shape: NotRequired[Literal["tree", "beams"]]
    """How it is drawn."""


class Curve(TypedDict, closed=True):
    """A number over the length of the answer: (tokens, number) each."""

    title: str
    points: list[tuple[Whole, Number]]


class Fork(TypedDict, closed=True):
    """Where a lane goes on from another one of its run: the first `at` tokens are that lane's."""

    lane: Whole
    at: Whole


class Detail(TypedDict, extra_items=Any):
    """What a lane has to show beside its answer; what is not named here is the method's own."""

    tokens: list[Token]
    colour: NotRequired[ColourRecord]
    dial: NotRequired[DialRecord]
    candidates: NotRequired[list[Candidate]]
    chosen: NotRequired[Whole | None]
    scorer: NotRequired[str | None]
    warning: NotRequired[str | None]
    evaluator: NotRequired[str]
    questions: NotRequired[list[str]]
    tree: NotRequired[Search | None]
    curves: NotRequired[list[Curve]]
    confidence: NotRequired[Number]
    """Of a method that may abstain: the score of its answer, which it gives where that reaches `threshold`."""
    threshold: NotRequired[Number | None]
    abstained: NotRequired[bool]
    withheld: NotRequired[str | None]
    """The answer that it did not give."""
    fork: NotRequired[Fork]
    written_in: NotRequired[str]
    """The run in which the lane was written, if it stands in this one as it was there."""


class LaneRecord(TypedDict, closed=True):
    """One lane of a run, ended or under way."""

    method: str
    status: Status
    options: dict[str, Any]
    begin: list[Whole]
    models: dict[str, str]
    text: str
    token_ids: list[Whole]
    finish_reason: str | None
    error: str | None
    cost: CostRecord
    detail: Detail


class RunRecord(TypedDict, closed=True):
    """A run as it is saved, handed out and drawn."""

    id: str
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT[0-9:.+-]{8,20}Z?$")]
    origin: str
    prompt: Annotated[str, Field(min_length=1)]
    system: str
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)]
    stop: list[str]
    earlier: list[tuple[str, str]]
    status: Status
    software: str
    lanes: Annotated[list[LaneRecord], Field(min_length=1, max_length=6)]


_SENTENCE_END = re.compile(r"[^\W\d][)*]*[.!?][\"'”’)*]*\s*$")
"""After a letter: 1. counts a list."""
_OPENS_A_LIST = re.compile(r":\s*\n\s*$")
CUT = "Recorded up to the last whole sentence."


def to_whole_sentences(lane: LaneRecord) -> None:
    """Cut the answer of a lane that hit its token limit after its last whole sentence, and say so in its warning; what
    its search and its other answers hold stays. An answer without one ends with the line that opens its list; one
    without that is left as it is."""
    tokens, text, ends = lane["detail"]["tokens"], "", {_SENTENCE_END: 0, _OPENS_A_LIST: 0}
    for number, token in enumerate(tokens, 1):
        text += token["text"]
        ends |= {end: number for end in ends if end.search(text)}
    kept = ends[_SENTENCE_END] or ends[_OPENS_A_LIST]
    if lane["finish_reason"] != "length" or kept in (0, len(tokens)):
        return
    lane["detail"]["tokens"], lane["token_ids"] = tokens[:kept], lane["token_ids"][:kept]
    lane["text"] = "".join(token["text"] for token in tokens[:kept])
    lane["detail"]["warning"] = " ".join(filter(None, (lane["detail"].get("warning"), CUT)))


def upgraded(lane: dict[str, Any]) -> dict[str, Any]:
    """A lane as this version writes it, from one of an earlier version: the forced beginning stood among the options,
    and what colours the tokens was not said. Anything else comes back as it is."""
    if "begin" in lane:
        return lane
    lane = {**lane, "begin": []}
    detail = lane.get("detail")
    options = lane.get("options") if isinstance(lane.get("options"), dict) else {}
    if isinstance(text := options.get("begin"), str):
        lane["options"] = {name: value for name, value in options.items() if name != "begin"}
        lane["begin"] = [int(part) for part in text.split() if re.fullmatch(r"[0-9]{1,7}", part)]
    if isinstance(detail, dict) and "colour" not in detail:
        lane["detail"] = detail | _drawing_of(detail, options)
    return lane


def _drawing_of(detail: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    tokens = detail.get("tokens")
    if not (isinstance(tokens, list) and tokens and isinstance(tokens[0], dict) and "kl_to_reference" in tokens[0]):
        return {"colour": {"number": "log_prob", "title": "surprise −log p, nats", "full": 6.0, "sign": -1}}
    colour = {"number": "kl_to_reference", "title": "KL(mixed‖reference), nats", "full": 1.5, "sign": 1}
    dial = {"title": "λ", "low": -1.0, "high": 5.0, "value": options.get("lambda_")}
    return {"colour": colour, "dial": dial | ({"scheduled": True} if options.get("schedule") else {})}
