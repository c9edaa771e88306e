"""A text as all variants behind a policy read it."""

from __future__ import annotations

import torch

from playground.branch import logits
from playground.engine.engine import Asking
from playground.engine.kv import Sequence
from playground.engine.requests import Extend, Open, SoftPrompt, Want
from playground.engine.runner import SHORT
from playground.errors import UserError
from playground.policy import Policy


class Text:
    """A text as every variant behind a policy reads it. `rows`: variant → its log-probabilities [vocabulary] of what
    comes next. `policy` may be changed to another one of the same variants."""

    def __init__(self, policy: Policy, sequences: dict[str, Sequence], rows: dict[str, torch.Tensor]):
        self.policy, self.sequences, self.rows = policy, sequences, rows
        self._mixed: dict[Policy, torch.Tensor] = {}

    @property
    def log_probs(self) -> torch.Tensor:
        """What the policy says comes next: log-probabilities [vocabulary]."""
        return self.under(self.policy)

    def under(self, policy: Policy) -> torch.Tensor:
        """The same under another policy of these variants."""
        if policy not in self._mixed:
            self._mixed[policy] = _mix(policy, self.rows)
        return self._mixed[policy]

    def fork(self) -> Text:
        """A second text with the same past."""
        return Text(self.policy, {name: s.fork() for name, s in self.sequences.items()}, self.rows)

    def release(self) -> None:
        """Give back all memory. Doing so twice does no harm."""
        for sequence in self.sequences.values():
            sequence.release()

    def extend(self, tokens: tuple[int, ...] | SoftPrompt) -> Asking:
        """Put tokens, or a learned prompt, after the text. Returns what the policy says comes next."""
        rows = yield [Extend(sequence, tokens) for sequence in self.sequences.values()]
        self.rows, self._mixed = dict(zip(self.sequences, rows, strict=True)), {}
        return self.log_probs

    def score(self, tokens: tuple[int, ...], piece: int) -> Asking:
        """Put tokens after the text. Returns the log-probability [n] of each under the policy; what comes after them
        is then not known. Of a mixture whole distributions must be held, so it takes `piece` tokens at a time."""
        self.rows, self._mixed = {}, {}
        if self.policy.plain:
            [scores] = yield [Extend(sequence, tokens, Want.SCORES) for sequence in self.sequences.values()]
            return scores
        parts = []
        for start in range(0, len(tokens), piece):
            given = tokens[start : start + piece]
            rows = yield [Extend(sequence, given, Want.ALL) for sequence in self.sequences.values()]
            mixed = _mix(self.policy, dict(zip(self.sequences, rows, strict=True)))
            parts.append(mixed.gather(1, torch.tensor(given)[:, None])[:, 0])
        return torch.cat(parts)

    def value(self, tokens: tuple[int, ...], piece: int = 0) -> Asking:
        """Put tokens after the text. Returns the value [n] that the variant's value head gives the text up to each of
        them: the same bits however the tokens are cut, so they go in pieces that run packed. Raises UserError for a
        mixture, and for a variant without a value head of one number."""
        if not self.policy.plain:
            raise UserError(f"The mixture {self.policy} has no value head; name one model that has.")
        self.rows, self._mixed = {}, {}
        [sequence] = self.sequences.values()
        parts = []
        for start in range(0, len(tokens), SHORT):
            [values] = yield [Extend(sequence, tokens[start : start + SHORT], Want.VALUES)]
            if values.shape[1] != 1:
                raise UserError(f"The value head of {self.policy} gives {values.shape[1]} numbers; one is needed.")
            parts.append(values[:, 0])
        return torch.cat(parts)


def open_texts(asked: list[tuple[Policy, dict[str, list[int]]]]) -> Asking:
    """Begin texts, each a policy and the ids that every variant reads first; all in one round."""
    opened = iter((yield [Open(variant, tuple(ids)) for _, prompts in asked for variant, ids in prompts.items()]))
    texts = []
    for policy, prompts in asked:
        found = {variant: next(opened) for variant in prompts}
        sequences = {variant: one.sequence for variant, one in found.items()}
        texts.append(Text(policy, sequences, {variant: one.log_probs for variant, one in found.items()}))
    return texts


def _mix(policy: Policy, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    # In the order of names, so that the order in which a mixture is written changes no bit.
    terms = sorted(policy.terms)
    return logits.mix([rows[name] for name, _ in terms], [weight for _, weight in terms])
