"""What a client asks for, read as runs. What cannot be done is refused in one sentence; nothing that would change the
answer is dropped."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from playground.decoders import DECODERS, decoder, writer_for
from playground.errors import UserError, shown
from playground.explain import explain
from playground.models.specs import Catalogue
from playground.policy import Policy
from playground.requests import MAX_LANES, MAX_NEW_TOKENS, LaneRequest, RunRequest
from playground.ui.openai.errors import Refused

MOST_CANDIDATES = 5
"""Candidates that the record of a token holds."""
SEEDS = 2**32
_CHANGES_NOTHING = {"temperature": 0, "top_p": 1}
"""What a method without such an option takes none the less."""
_UNREAD = {"user", "safety_identifier", "metadata", "store", "service_tier", "prompt_cache_key", "parallel_tool_calls"}
"""Fields that ask nothing of the answer."""
_NOT_OFFERED = (
    *("tools", "tool_choice", "functions", "function_call", "web_search_options"),
    *("response_format", "modalities", "audio", "prediction", "reasoning_effort", "verbosity"),
    *("logit_bias", "frequency_penalty", "presence_penalty", "suffix", "echo", "best_of"),
)
_NEUTRAL: tuple[Any, ...] = (None, [], {}, 0, "", "none", ["text"], {"type": "text"})
"""What asks for nothing in a field that is not offered."""


class _StreamOptions(BaseModel):
    include_usage: bool | None = None


class _Body(BaseModel):
    """What both endpoints take; `method`, `options` and `begin` are ours."""

    model_config = ConfigDict(extra="forbid")
    model: str
    method: str | None = None
    options: dict[str, Any] = {}
    begin: str | list[int] | None = Field(None, json_schema_extra={"expected": "a text, or a list of token ids"})
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = Field(None, ge=1, le=MAX_NEW_TOKENS)
    stop: str | list[str] | None = Field(None, json_schema_extra={"expected": "a text, or a list of texts"})
    seed: int | None = Field(None, ge=0, lt=SEEDS)
    n: int | None = Field(None, ge=1, le=MAX_LANES)
    stream: bool | None = None
    stream_options: _StreamOptions | None = Field(None, json_schema_extra={"expected": "an object with include_usage"})

    @property
    def tokens(self) -> int | None:
        """The limit of the answer."""
        return self.max_tokens

    @property
    def candidates(self) -> int | None:
        """How many candidates are told of each token; None: not even the token's own log-probability."""
        return None

    def said(self) -> dict[str, Any]:
        """Prompt, system prompt and earlier turns, as a run has them."""
        raise NotImplementedError


class ChatBody(_Body):
    """The body of /v1/chat/completions."""

    messages: list[dict[str, Any]] = Field(json_schema_extra={"expected": "a list of objects with role and content"})
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_NEW_TOKENS)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MOST_CANDIDATES)

    @property
    def tokens(self) -> int | None:
        """Under its new name or its old one."""
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise Refused(
                f"max_tokens is {self.max_tokens} and max_completion_tokens is {self.max_completion_tokens}; they mean "
                "the same, so give one.",
                param="max_tokens",
            )
        return self.max_completion_tokens or self.max_tokens

    @property
    def candidates(self) -> int | None:
        """top_logprobs, where logprobs are asked for."""
        if self.top_logprobs and not self.logprobs:
            raise Refused("top_logprobs needs logprobs; set it to true.", param="logprobs")
        return (self.top_logprobs or 0) if self.logprobs else None

    def said(self) -> dict[str, Any]:
        """From the messages: those of the system first, then turns of user and assistant, the user's last."""
        system: list[str] = []
        turns: list[tuple[str, str]] = []
        for number, message in enumerate(self.messages, 1):
            role, text = message.get("role"), _text_of(message, number)
            if role in ("system", "developer"):
                if turns:
                    raise _bad_message(number, "is the system's, after others; system messages come first")
                system.append(text)
            elif role not in ("user", "assistant"):
                raise _bad_message(
                    number, f"has the role {shown(role)}; it must be one of: system, developer, user, assistant"
                )
            elif turns and turns[-1][0] == role:
                turns[-1] = role, f"{turns[-1][1]}\n\n{text}"
            else:
                turns.append((role, text))
        if len(turns) % 2 == 0 or turns[0][0] != "user":
            raise Refused(
                "The messages must go from user to assistant in turn, and end with the user's; what the answer must "
                "begin with is given as begin.",
                param="messages",
            )
        texts = [text for _, text in turns]
        return {
            "system": "\n\n".join(system),
            "earlier": list(zip(texts[:-1:2], texts[1::2], strict=True)),
            "prompt": texts[-1],
        }


class CompletionBody(_Body):
    """The body of /v1/completions. Its prompt is put to the model as what a person says, as on the page."""

    prompt: str | list[Any] = Field(json_schema_extra={"expected": "a text"})
    logprobs: int | None = Field(None, ge=0, le=MOST_CANDIDATES)

    @property
    def candidates(self) -> int | None:
        """Here a number alone."""
        return self.logprobs

    def said(self) -> dict[str, Any]:
        """A single prompt; a list may hold it."""
        given = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(given) != 1 or not isinstance(given[0], str):
            raise Refused("prompt must be one text: lists of prompts and token ids are not offered.", param="prompt")
        return {"prompt": given[0]}


@dataclass(frozen=True)
class Asked:
    """Runs of one lane each, alike but for their seeds. candidates: see `_Body.candidates`."""

    model: str
    runs: tuple[RunRequest, ...]
    stream: bool
    include_usage: bool
    candidates: int | None


def read(told: dict[str, Any], kind: type[_Body], catalogue: Catalogue) -> Asked:
    """What a body asks for. Raises UserError for what is wrong with it or not offered."""
    for name in _NOT_OFFERED:
        if told.get(name) not in _NEUTRAL and not (name == "best_of" and told[name] == 1):
            raise Refused(
                f"{name} is not offered: the methods here write plain text; leave it out, and put what a method takes "
                "into options.",
                param=name,
                code="unsupported_parameter",
            )
    told = {name: value for name, value in told.items() if name not in _UNREAD.union(_NOT_OFFERED)}
    try:
        body = kind.model_validate(told)
    except ValidationError as error:
        raise Refused(explain(error, "the request", kind), param=str(error.errors()[0]["loc"][0])) from None
    fields: dict[str, Any] = {} if body.tokens is None else {"max_new_tokens": body.tokens}
    first = RunRequest.checked(
        **body.said(),
        **fields,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop or [],
        seed=secrets.randbelow(SEEDS) if body.seed is None else body.seed,
        lanes=[lane_of(body, catalogue)],
    )
    runs = (first.model_copy(update={"seed": (first.seed + number) % SEEDS}) for number in range(body.n or 1))
    options = body.stream_options
    return Asked(body.model, tuple(runs), bool(body.stream), bool(options and options.include_usage), body.candidates)


def lane_of(body: _Body, catalogue: Catalogue) -> LaneRequest:
    """The lane that a body names. Its model is a lane as on the command line, or a model (a variant, or a mixture):
    that writes by `method`, or by the simplest one that takes what is asked for. Raises UserError."""
    method, inside, begin = _named(body.model, catalogue)
    if body.method and method and body.method != method:
        raise Refused(
            f"The model is a lane of {method}, and method is {shown(body.method)}; give one of them.", param="method"
        )
    drawing = {name: value for name in _CHANGES_NOTHING if (value := getattr(body, name)) is not None}
    options = _merged({"the model": inside, "options": body.options, "the request": drawing})
    method = decoder(body.method or method or writer_for(options).name).name
    for name in drawing:
        takers = [known.name for known in DECODERS.values() if name in known.options.model_fields]
        if method in takers:
            continue
        if options.pop(name) != _CHANGES_NOTHING[name]:
            raise Refused(
                f"{shown(method)} has no option {name!r}; leave it out, or choose one of: {', '.join(takers)}.",
                param=name,
            )
    if body.begin and begin and body.begin != begin:
        raise Refused("begin is given twice, in the model and in the request; give it once.", param="begin")
    return LaneRequest.checked(method=method, options=options, begin=body.begin or begin)


def _named(model: str, catalogue: Catalogue) -> tuple[str | None, dict[str, Any], Any]:
    """(method, options, beginning) of a model's id; without a method it is a policy, the option `variant`."""
    if model.partition(":")[0].strip() in DECODERS:
        lane = LaneRequest.parse(model)
        return lane.method, lane.options.model_dump(exclude_unset=True), lane.begin
    try:
        policy = Policy(model)
        catalogue.resolve(policy)
    except UserError as error:
        raise Refused(
            f"There is no method {shown(model.partition(':')[0])}, and no model either: {error} GET /v1/models lists "
            "both.",
            status=404,
            param="model",
            code="model_not_found",
        ) from None
    return None, {"variant": policy}, ()


def _merged(sources: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Options from several places, by the name of the place. Raises UserError for two values of one."""
    found: dict[str, Any] = {}
    places: dict[str, str] = {}
    for place, options in sources.items():
        for name, value in options.items():
            if name in found and found[name] != value:
                raise Refused(
                    f"{name} is given twice, {shown(found[name])} in {places[name]} and {shown(value)} in {place}; "
                    "give it once.",
                    param=name,
                )
            found[name], places[name] = value, place
    return found


def _text_of(message: dict[str, Any], number: int) -> str:
    """The text of a message, whose content may come in parts."""
    if message.get("tool_calls") or message.get("function_call"):
        raise _bad_message(number, "calls tools, which are not offered")
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": "" if content is None else content}]
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else part
            raise _bad_message(number, f"holds {shown(kind)}; only parts of the type text can be read here")
        if not isinstance(part.get("text"), str):
            raise _bad_message(number, f"holds {shown(part.get('text'))} in place of a text")
    return "".join(part["text"] for part in parts)


def _bad_message(number: int, what: str) -> Refused:
    return Refused(f"Message {number} {what}.", param="messages")
