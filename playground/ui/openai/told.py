"""Lanes as OpenAI's API tells them: choices, pieces of a stream, log-probabilities, usage. Plain data in,
plain data out."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

from playground.record import LaneRecord, RunRecord, Token

UNLIKELY = -9999.0
"""What stands for a log-probability that is too low to be told, as at OpenAI."""
_FINISHED = {"length": "length", "budget": "length", "stopped": "length"}
"""Why an answer was cut; all else is an end."""
_OWN = ("confidence", "threshold", "abstained", "withheld", "warning")


class Chat:
    """The forms of /v1/chat/completions: a whole answer (`written`), and a piece of a stream (`grown`)."""

    prefix, whole, piece = "chatcmpl", "chat.completion", "chat.completion.chunk"
    opening = {"delta": {"role": "assistant", "content": ""}}

    @staticmethod
    def written(text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, "refusal": None}}

    @staticmethod
    def grown(text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}

    @staticmethod
    def logprobs(tokens: list[tuple[int, Token]], candidates: int) -> dict[str, Any]:
        """Of tokens with the places at which they begin in the text."""

        def told(text: str, log_prob: float) -> dict[str, Any]:
            return {"token": text, "logprob": log_prob, "bytes": list(text.encode())}

        return {
            "content": [
                told(token["text"], _own(token))
                | {"top_logprobs": [told(text, number) for text, number in likeliest(token, candidates)]}
                for _, token in tokens
            ],
            "refusal": None,
        }


class Completion:
    """The forms of /v1/completions."""

    prefix, whole, piece = "cmpl", "text_completion", "text_completion"
    opening = {"text": ""}

    @staticmethod
    def written(text: str) -> dict[str, Any]:
        return {"text": text}

    grown = written

    @staticmethod
    def logprobs(tokens: list[tuple[int, Token]], candidates: int) -> dict[str, Any]:
        """As `Chat.logprobs`, in columns."""
        return {
            "tokens": [token["text"] for _, token in tokens],
            "token_logprobs": [_own(token) for _, token in tokens],
            "top_logprobs": [
                dict(reversed(likeliest(token, candidates)))
                for _, token in tokens  # of equal texts the likeliest
            ],
            "text_offset": [place for place, _ in tokens],
        }


def settled(lane: LaneRecord, stop: list[str]) -> str:
    """The text of a lane under way, as far as no stop string can take anything of it back."""
    text = "".join(token["text"] for token in lane["detail"]["tokens"])
    ends = [at for string in stop if (at := text.find(string)) >= 0]
    if ends:
        return text[: min(ends)]
    begun = (length for string in stop for length in range(1, len(string)) if text.endswith(string[:length]))
    return text[: len(text) - max(begun, default=0)]


def placed(lane: LaneRecord, length: int) -> list[tuple[int, Token]]:
    """The tokens that begin within the first `length` characters of the text, each with its place. The end token and
    what a stop string has cut off stand behind; tokens that no model chose have no log-probability."""
    tokens = lane["detail"]["tokens"]
    places = accumulate((len(token["text"]) for token in tokens), initial=0)
    return [
        (place, token) for place, token in zip(places, tokens, strict=False) if place < length and "log_prob" in token
    ]


def likeliest(token: Token, candidates: int) -> list[tuple[str, float]]:
    """The candidates for a token's place as (text, log-probability), of a mixture under all of it."""
    found = []
    for other in token.get("top", ())[:candidates]:
        p = other["mixed"] if "mixed" in other else other.get("p") or 0
        found.append((other["text"], _own(token) if other["id"] == token["id"] else math.log(p) if p else UNLIKELY))
    return found


def _own(token: Token) -> float:
    return max(token["log_prob"], UNLIKELY)


def ending(run: RunRecord) -> dict[str, Any]:
    """How the one lane of a run ended, and what OpenAI's API has no name for."""
    [lane] = run["lanes"]
    reason = lane["finish_reason"]
    own = {name: lane["detail"][name] for name in _OWN if name in lane["detail"]}
    return {
        "finish_reason": _FINISHED.get(reason, "stop"),
        "playground": {
            "run": run["id"],
            "seed": run["seed"],
            "method": lane["method"],
            "finish_reason": reason,
            "token_ids": lane["token_ids"],
            **own,
        },
    }


def usage(runs: list[RunRecord], prompt_tokens: int) -> dict[str, Any]:
    """The tokens of a prompt and of all its answers, and what these cost; they are written side by side, so their
    seconds are not added."""
    lanes = [lane for run in runs for lane in run["lanes"]]
    written = sum(len(lane["token_ids"]) for lane in lanes)
    costs = [lane["cost"] for lane in lanes]
    summed = ("generated_tokens", "forward_tokens", "forward_passes")
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": written,
        "total_tokens": prompt_tokens + written,
        **{name: sum(cost[name] for cost in costs) for name in summed},
        "seconds": round(max(cost["seconds"] for cost in costs), 4),
    }
