"""A scripted model: decoders run against tables of log-probabilities, without engine, threads or weights."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch

from playground.branch.lane import Lane, Limits
from playground.decoders.base import decode
from playground.engine.engine import Asking, Stopped
from playground.engine.requests import Extend, Next, Open, Opened, Read, SoftPrompt, Want
from playground.policy import Policy

VOCABULARY = [*list("abcdefghijklmnopqrstuvwxyz ."), "<end>"]
END = len(VOCABULARY) - 1
Script = Callable[[str, tuple[int, ...]], torch.Tensor]
"""(variant, ids of the answer so far) → log-probabilities [vocabulary]."""


class FakeTokenizer:
    """One character a token; unknown ones are full stops."""

    def __call__(self, text, **_):
        known = [c if c in VOCABULARY else "." for c in text.lower()]
        return SimpleNamespace(input_ids=[VOCABULARY.index(c) for c in known])

    def decode(self, ids, **_):
        return "".join(VOCABULARY[i] for i in ids)


class FakeSequence:
    def __init__(self, variant: str, ids: tuple[int, ...] = ()):
        self.variant, self.ids, self.released = variant, ids, False

    def fork(self, variant=None):
        return FakeSequence(variant or self.variant, self.ids)

    def release(self):
        self.released = True


def random_script(salt: int = 0, size: int = len(VOCABULARY)) -> Script:
    """Distributions that depend on variant and text alone."""

    def script(variant: str, ids: tuple[int, ...]) -> torch.Tensor:
        seed = zlib.crc32(repr((salt, variant, ids)).encode())
        return (torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 2).log_softmax(-1)

    return script


def spell(*texts: str) -> Script:
    """A model that writes the first of `texts` (each variant its own, by name "0", "1", …), then ends."""

    def script(variant: str, ids: tuple[int, ...]) -> torch.Tensor:
        text = texts[int(variant)] if variant.isdigit() else texts[0]
        wanted = VOCABULARY.index(text[len(ids)]) if len(ids) < len(text) else END
        logits = torch.full((len(VOCABULARY),), -10.0)
        logits[wanted] = 0.0
        return logits.log_softmax(-1)

    return script


def make_lane(
    seed: int = 0,
    max_new_tokens: int = 12,
    stop: tuple[str, ...] = (),
    prompt: str = "",
    begin: tuple[int, ...] = (),
    known: tuple[dict, ...] = (),
    resolve=Policy,
    alike=str,
) -> Lane:
    return Lane(
        encode=lambda variant: [0],
        tokenizer=FakeTokenizer(),
        end_ids=frozenset([END]),
        limits=Limits(max_new_tokens, stop),
        seed=seed,
        prompt=prompt,
        ask=lambda variant, text: FakeTokenizer()(text).input_ids,
        begin=begin,
        known=known,
        resolve=resolve,
        alike=alike,
    )


def letter_counts(texts: list[str]) -> np.ndarray:
    """Embeddings of texts by their letters, of length 1."""
    counts = np.array([[1e-6 + text.count(c) for c in VOCABULARY[:-1]] for text in texts])
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def answer(script: Script, request):
    """What the engine would answer to one request. A soft prompt is one token of its own in the fake's texts; a value
    head has one output, and a reader other than the embedder says how long a text is."""
    if isinstance(request, Read):
        if request.reader == "embedder":
            return torch.from_numpy(letter_counts(list(request.texts))).float()
        return torch.tensor([[float(len("".join(text)))] for text in request.texts])
    if isinstance(request, Open):
        return Opened(FakeSequence(request.variant), script(request.variant, ()))
    sequence = request.sequence
    assert not sequence.released, "a released sequence was used"
    if isinstance(request, Next):
        return script(sequence.variant, sequence.ids)
    assert isinstance(request, Extend)
    given = request.tokens
    tokens = (-zlib.crc32(given.name.encode()),) if isinstance(given, SoftPrompt) else tuple(given)
    places, values = [], []
    for token in tokens:
        places.append(script(sequence.variant, sequence.ids))
        sequence.ids += (token,)
        values.append([zlib.crc32(repr((sequence.variant, sequence.ids)).encode()) / 2**32])
    match request.want:
        case Want.NEXT:
            return script(sequence.variant, sequence.ids)
        case Want.SCORES:
            return torch.tensor([float(place[token]) for place, token in zip(places, tokens, strict=True)])
        case Want.ALL:
            return torch.stack(places)
        case Want.VALUES:
            return torch.tensor(values)


def put_through(asking: Asking, script: Script):
    """Run a generator to its end; returns (its result, how many tokens it put through)."""
    tokens, answers = 0, None
    try:
        while True:
            requests = asking.send(answers)
            tokens += sum(len(request.tokens) for request in requests if isinstance(request, Extend))
            answers = [answer(script, request) for request in requests]
    except StopIteration as end:
        return end.value, tokens


def drive(asking: Asking, script: Script, stop_after: int | None = None):
    """Run a generator of requests to its end, answering from `script`; stop it after that many rounds if given."""
    rounds, answers = 0, None
    try:
        while True:
            requests = asking.throw(Stopped()) if rounds == stop_after else asking.send(answers)
            answers = [answer(script, request) for request in requests]
            rounds += 1
    except StopIteration as end:
        return end.value


def run(decoder, options: dict, script: Script, stop_after: int | None = None, **lane_fields) -> Lane:
    """Run a decoder on a scripted model; returns its lane."""
    lane = make_lane(**lane_fields)
    return drive(decode(decoder, lane, decoder.options(**options)), script, stop_after)
