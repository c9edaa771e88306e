"""RAIN, rewindable auto-regressive inference (Li et al., ICLR 2024, arXiv 2309.07124): the model evaluates its own text
and goes back where it was bad. The search itself, in numbers, is in rain_tree.py; here it meets the model.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator

from playground.decoders import logits
from playground.decoders.base import UNFINISHED, Decoder, Draft, Lane, Options
from playground.decoders.rain_tree import Path, Rules, Tree
from playground.engine.engine import Asking, Stopped
from playground.engine.kv import Sequence
from playground.engine.requests import Extend
from playground.errors import UserError, shown
from playground.scorers import SCORERS, ScorerName

_CANDIDATES, _TRIES = 32, 1 << 20
"""Random streams of a node: its first candidates, and (far above) those that it is widened by."""
PUNCTUATION = tuple(".!?,;:\n")
"""The simulation goes on to the next of these."""


class RainOptions(Options):
    scorer: ScorerName = Field(
        "self_eval_learned",
        title="Evaluator",
        description="What judges a text; every scorer can",
        json_schema_extra={"labels": {name: s.title for name, s in SCORERS.items()}},
    )
    max_inner: int = Field(
        50, ge=1, le=1000, title="Max rounds per segment", description="Inner rounds before a segment is taken"
    )
    min_visits: float = Field(
        6, ge=0, le=1000, title="Visit threshold", description="A segment above it with enough value is taken"
    )
    value_threshold: float = Field(
        0.8,
        ge=-1e6,
        le=1e6,
        title="Value threshold",
        description="A segment above it with enough visits is taken",
    )
    candidates: int = Field(10, ge=1, le=30, title="Candidates", description="Segments that a leaf is expanded by")
    soft: bool = Field(False, title="Graded values", description="Differences of probabilities in place of verdicts")
    top: int = Field(15, ge=1, le=1000, title="Top-k", description="Segments are drawn from the k likeliest tokens")
    lengths: str = Field(
        "1 2 4 10", title="Segment lengths", description="Tokens by depth below the root; the last one repeats"
    )
    exploration: float = Field(2.0, ge=0, le=100, title="Exploration constant", description="c of PUCT")
    root_uniform: float = Field(
        0.25, ge=0, le=1, title="Uniform share", description="Of the priors of the root's children"
    )
    similar_above: float = Field(0.95, ge=-1, le=1, title="Similarity threshold", description="Cosine of two texts")
    similar_weight: float = Field(
        0.2, ge=0, le=1, title="Similarity weight", description="Of a value passed to a sibling"
    )
    widen_below: float = Field(
        0.03, ge=0, le=10, title="Widening threshold", description="Variance of a node's texts, per token"
    )
    most_children: int = Field(20, ge=1, le=100, title="Max children", description="Of a node that is widened")
    simulate: int = Field(20, ge=0, le=200, title="Max look-ahead", description="Tokens to the next punctuation")
    leaves: int = Field(1, ge=1, le=16, title="Leaves per batch", description="1 is the paper's search; more is faster")
    max_nodes: int = Field(2000, ge=1, le=20_000, title="Max nodes", description="Then the best so far is taken")
    max_seconds: float = Field(180, gt=0, le=3600, title="Max seconds", description="Then the best so far is taken")
    max_forward: int = Field(
        300_000, ge=1, le=10_000_000, title="Max forward tokens", description="Then the best so far is taken"
    )
    variant: str = Field("reference", title="Model", description="The variant that writes")

    @field_validator("lengths")
    @classmethod
    def _whole_numbers(cls, text: str) -> str:
        parts = text.split()
        if not parts or not all(part.isdigit() and 1 <= int(part) <= 64 for part in parts):
            raise UserError(f"rain: lengths is {shown(text)}; write whole numbers from 1 to 64, as in 1 2 4 10.")
        return text

    @property
    def rules(self) -> Rules:
        return Rules(
            self.exploration,
            self.root_uniform,
            self.similar_above,
            self.similar_weight,
            self.widen_below,
            self.most_children,
        )


@dataclass(eq=False)
class _Growth:
    """A segment under way: a fork of its parent's sequence, and how its tokens are chosen."""

    sequence: Sequence
    log_probs: torch.Tensor
    most: int
    pick: Any
    """log-probabilities → token"""
    text_so_far: str | None = None
    """Of a simulation: the text before it; it ends at punctuation. None for a candidate."""
    tokens: list[int] = field(default_factory=list)
    token_log_probs: list[float] = field(default_factory=list)


def run(lane: Lane, options: RainOptions) -> Asking:
    """Search segment by segment; what is committed is the answer. Ended early, the best path is."""
    search = _Search(lane, options)
    scorer = SCORERS[options.scorer]
    lane.detail["evaluator"] = f"Evaluated by “{scorer.title}”. {scorer.reliability}".strip()
    lane.detail["questions"] = list(scorer.questions(lane.prompt)) if scorer.questions else []
    lane.detail["tree"] = {"steps": search.tree.steps}
    draft = lane.answer = search.draft
    try:
        yield from search.begin()
        while not draft.ended:
            spent = yield from search.think()
            if spent:
                search.end_early(spent)
                draft.finish_reason = draft.finish_reason or "budget"
                break
            yield from search.commit()
    except Stopped:
        search.end_early("The search was stopped.")
        raise
    except UserError:
        search.take_best_path()
        raise
    finally:
        if search.least_bad and "warning" not in lane.detail:
            lane.detail["warning"] = (
                f"At {search.least_bad} of {len(search.tree.committed)} places the text looked at most was not valued "
                f"above {options.value_threshold:g} after {options.max_inner} rounds; it was taken as the least bad."
            )
        search.release()
        lane.detail["tree"] = search.tree.record() | {"evaluations": len(search.evaluations)}


class _Search:
    """The tree with what the model has to do with it."""

    def __init__(self, lane: Lane, options: RainOptions):
        self.lane, self.options = lane, options
        self.tree = Tree(options.rules)
        self.lengths = [int(part) for part in options.lengths.split()]
        self.draft = lane.draft()
        self.states: dict[int, tuple[Sequence, torch.Tensor]] = {}
        """Of visited nodes: the sequence up to their end, and the log-probabilities of what follows."""
        self.evaluations: dict[str, dict[str, Any]] = {}
        """Every text that was ever evaluated, so that none is twice."""
        self.log_probs: dict[int, list[float]] = {}
        """Of every node: the log-probabilities of its tokens under the model."""
        self.tries: dict[int, int] = {}
        self.least_bad = 0
        self.began = time.monotonic()

    def begin(self) -> Asking:
        """Open the prompt and expand the root."""
        [opened] = yield from self.lane.open(self.options.variant)
        self.states[0] = (opened.sequence, opened.log_probs)
        yield from self._expand([[0]], look_ahead=False)

    def think(self) -> Asking:
        """Inner rounds until a child of the root is good enough, or there were enough of them. Returns why the search
        must end here, or ""."""
        for _ in range(self.options.max_inner):
            if self._good_enough():
                return ""
            if spent := self._spent():
                return spent
            yield from self._visit(self._leaves())
        favourite = self.tree.favourite()
        self.least_bad += favourite is not None and favourite.value <= self.options.value_threshold
        return ""

    def _leaves(self) -> list[Path]:
        """The paths to the leaves of one round: one, as in the paper, or several different ones by virtual visits."""
        paths: list[Path] = []
        supposed: list[Path] = []
        while len(paths) < self.options.leaves:
            path = self.tree.select()
            if any(path[-1] == other[-1] for other in paths):
                self.tree.steps.pop()
                break
            paths.append(path)
            if len(paths) < self.options.leaves:
                self.tree.suppose(path, 1)
                supposed.append(path)
        for path in supposed:
            self.tree.suppose(path, -1)
        return paths

    def _good_enough(self) -> bool:
        best = self.tree.favourite()
        return best is not None and best.visits > self.options.min_visits and best.value > self.options.value_threshold

    def _spent(self) -> str:
        options, cost = self.options, self.lane.cost
        if len(self.tree.nodes) >= options.max_nodes:
            return f"The search has {len(self.tree.nodes):,} nodes; its limit is {options.max_nodes:,}."
        if cost.forward_tokens >= options.max_forward:
            return (
                f"The search has put {cost.forward_tokens:,} tokens through the model; its limit is "
                f"{options.max_forward:,}."
            )
        if time.monotonic() - self.began >= options.max_seconds:
            return f"The search has run for {options.max_seconds:g} seconds, its limit."
        return ""

    def _visit(self, paths: list[Path]) -> Asking:
        """One round: evaluate and expand the leaves of `paths`, and pass the values up."""
        yield from self._reach([path[-1] for path in paths])
        looked_ahead = yield from self._expand(paths)
        texts = [self._text(path[-1]) + ahead for path, ahead in zip(paths, looked_ahead, strict=True)]
        values = yield from self._evaluate(texts, paths)
        for path, ahead, value in zip(paths, looked_ahead, values, strict=True):
            self.tree.back_up(path, value)
            pieces = [self.tree[node].text for node in path] + [ahead]
            texts = ["".join(pieces[start:]) for start in range(1, len(path))]
            if texts:
                self.tree.embed(path, self.lane.embed(texts))
                self.tree.spread(path, value)
        yield from self._widen(paths)

    def _reach(self, nodes: list[int]) -> Asking:
        """Put the segments of leaves through the model, in one batch."""
        missing = [node for node in nodes if node not in self.states and not self.tree[node].ended]
        forks = [self.states[self.tree[node].parent][0].fork() for node in missing]
        found = yield [Extend(fork, self.tree[node].tokens) for fork, node in zip(forks, missing, strict=True)]
        for node, fork, log_probs in zip(missing, forks, found, strict=True):
            self.states[node] = (fork, log_probs)

    def _expand(self, paths: list[Path], look_ahead: bool = True) -> Asking:
        """Grow the candidates of all leaves, and their simulations, in one batch. Returns the simulated texts."""
        growing: list[_Growth] = []
        planned: list[tuple[int, list[_Growth], _Growth | None]] = []
        for path in paths:
            leaf = path[-1]
            if self.tree[leaf].ended:
                planned.append((leaf, [], None))
                continue
            candidates = [] if self.tree[leaf].expanded else self._candidates(leaf, len(path) - 1)
            simulation = self._simulation(path) if look_ahead else None
            planned.append((leaf, candidates, simulation))
            growing += [*candidates, *([simulation] if simulation else [])]
        yield from self._grow(growing)
        texts = []
        for leaf, candidates, simulation in planned:
            if candidates:
                self._give(leaf, candidates)
            texts.append(self._added(leaf, simulation.tokens) if simulation else "")
        return texts

    def _candidates(self, leaf: int, depth: int) -> list[_Growth]:
        """The segments that are to follow a leaf: at the start the likeliest tokens; deeper one greedy and the others
        sampled."""
        most = min(self._length(depth), self._room(leaf))
        _, log_probs = self.states[leaf]
        if depth == 0:
            tokens = log_probs.topk(min(self.options.candidates, len(log_probs))).indices.tolist()
            return [self._start(leaf, most, _first(token)) for token in tokens]
        return [self._start(leaf, most, self._picker(leaf, number)) for number in range(self.options.candidates)]

    def _picker(self, leaf: int, number: int):
        """How candidate `number` of a leaf chooses: the first is greedy, others have random numbers of their own."""
        if number == 0:
            return lambda log_probs, place: int(log_probs.argmax())
        return self._sampled(self.lane.rng(leaf * _CANDIDATES + number))

    def _sampled(self, rng: np.random.Generator):
        def pick(log_probs: torch.Tensor, place: int) -> int:
            return logits.draw(logits.top_k(log_probs, self.options.top).log_softmax(-1), rng.random())

        return pick

    def _another(self, node: int):
        """How the next additional candidate of a node chooses; every try has random numbers of its own."""
        self.tries[node] = self.tries.get(node, 0) + 1
        return self._sampled(self.lane.rng(_TRIES + node * _TRIES + self.tries[node]))

    def _simulation(self, path: Path) -> _Growth | None:
        text = self._text(path[-1])
        room = min(self.options.simulate, self._room(path[-1]))
        if room < 1 or text.endswith(PUNCTUATION):
            return None
        return self._start(path[-1], room, self._picker(path[-1], 0), text)

    def _start(self, leaf: int, most: int, pick, text_so_far: str | None = None) -> _Growth:
        sequence, log_probs = self.states[leaf]
        return _Growth(sequence.fork(), log_probs, most, pick, text_so_far)

    def _grow(self, growing: list[_Growth]) -> Asking:
        """Let all segments grow a token a round until each has ended."""
        while growing:
            for one in growing:
                token = one.pick(one.log_probs, len(one.tokens))
                one.token_log_probs.append(float(one.log_probs[token]))
                one.tokens.append(token)
                self.lane.cost.generated_tokens += 1
            still = []
            for one in growing:
                if self._is_over(one):
                    one.sequence.release()
                else:
                    still.append(one)
            growing = still
            if growing:
                found = yield [Extend(one.sequence, (one.tokens[-1],)) for one in growing]
                for one, log_probs in zip(growing, found, strict=True):
                    one.log_probs = log_probs

    def _is_over(self, one: _Growth) -> bool:
        if one.tokens[-1] in self.lane.end_ids or len(one.tokens) >= one.most:
            return True
        if one.text_so_far is None:
            return False
        if any(mark in self.lane.decode_one(one.tokens[-1]) for mark in PUNCTUATION):
            return True
        stops = self.lane.limits.stop
        return bool(stops) and any(stop in one.text_so_far + self.lane.decode(one.tokens) for stop in stops)

    def _give(self, node: int, candidates: list[_Growth]) -> None:
        """Grown segments become children of a node."""
        by_tokens = {tuple(one.tokens): one.token_log_probs for one in candidates}
        for child in self.tree.expand(node, [self._candidate(node, one) for one in candidates]):
            self.log_probs[child] = by_tokens[self.tree[child].tokens]

    def _candidate(self, leaf: int, one: _Growth) -> tuple[tuple[int, ...], str, float, bool]:
        whole, text = self._text(leaf, one.tokens), self._added(leaf, one.tokens)
        ended = (
            one.tokens[-1] in self.lane.end_ids
            or len(one.tokens) >= self._room(leaf)
            or any(stop in whole for stop in self.lane.limits.stop)
        )
        return tuple(one.tokens), text, math.exp(sum(one.token_log_probs)), ended

    def _evaluate(self, texts: list[str], paths: list[Path]) -> Asking:
        """Values of the leaves' texts, new ones in one batch. Raises UserError for a value that is no number."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self.evaluations]
        scorer = SCORERS[self.options.scorer]
        judge = scorer.soft if self.options.soft and scorer.soft else scorer.run
        if fresh:
            answers = [Draft(self.lane, 0, token_ids=self.lane.ids(text), text=text) for text in fresh]
            for text, score in zip(fresh, (yield from judge(self.lane, self.options.variant, answers)), strict=True):
                if not math.isfinite(score):
                    raise UserError(
                        f"rain: the evaluator {scorer.name} gave {score} for {shown(text)}; choose another."
                    )
                self.evaluations[text] = {"text": text, "value": float(score), **getattr(score, "how", {})}
        for text, path in zip(texts, paths, strict=True):
            self.tree.evaluated(path[-1], self.evaluations[text])
        return [self.evaluations[text]["value"] for text in texts]

    def _widen(self, paths: list[Path]) -> Asking:
        """One more candidate for every node whose children are all alike and none good (dynamic candidates)."""
        growing = []
        for path in paths:
            for node in path[:-1]:
                # As long as its siblings, whatever depth they were grown at: priors compare like with like.
                length = max(len(self.tree[child].tokens) for child in self.tree[node].children)
                if node in self.states and self.tree.wants_more(node, length):
                    most = min(length, self._room(node))
                    growing.append((node, self._start(node, most, self._another(node))))
        yield from self._grow([one for _, one in growing])
        for node, one in growing:
            self._give(node, [one])

    def commit(self) -> Asking:
        """Take the favourite into the answer, make it the root, and forget what cannot be reached any more."""
        child = self.tree.favourite().id
        yield from self._reach([child])
        self.tree.commit(child)
        for node in [n for n in self.states if n != child and not self._is_below(n, child)]:
            self.states.pop(node)[0].release()
        self._append(child)
        if not self.draft.ended and not self.tree[child].expanded:
            yield from self._expand([[child]], look_ahead=False)

    def _append(self, node: int) -> None:
        """The tokens of a node join the answer; they were counted when they were drawn."""
        for token, log_prob in zip(self.tree[node].tokens, self.log_probs[node], strict=True):
            if self.draft.ended:
                break
            self.lane.cost.generated_tokens -= 1
            self.draft.append(token, log_prob, {"node": node, "log_prob": round(log_prob, 5), "top": []})

    def take_best_path(self) -> None:
        """End with the best text that the tree holds."""
        taken = []
        for node in self.tree.best_path():
            if not self.draft.ended:
                self._append(node)
                taken.append(node)
        if taken:
            self.tree.take(taken)

    def end_early(self, why: str) -> None:
        """End with the best text, and say so."""
        self.take_best_path()
        found = "The best text so far was taken." if self.draft.token_ids else "No text had been evaluated yet."
        self.lane.detail["warning"] = f"{why} {found}"

    def release(self) -> None:
        """Give back all sequences."""
        for sequence, _ in self.states.values():
            sequence.release()
        self.states.clear()

    def _is_below(self, node: int, root: int) -> bool:
        while node is not None and node != root:
            node = self.tree[node].parent
        return node is not None

    def _length(self, depth: int) -> int:
        return self.lengths[min(depth, len(self.lengths) - 1)]

    def _room(self, node: int) -> int:
        """Tokens that may still follow a node."""
        used = len(self.draft.token_ids) + sum(len(self.tree[n].tokens) for n in self.tree.path(node)[1:])
        return self.lane.limits.max_new_tokens - used

    def _text(self, node: int, tokens: list[int] | None = None) -> str:
        """The answer up to the end of a node, and of further tokens; a character that is not whole yet is left out."""
        searched = [token for at in self.tree.path(node)[1:] for token in self.tree[at].tokens]
        ids = [*self.draft.token_ids, *searched, *(tokens or [])]
        return self.lane.decode([token for token in ids if token not in self.lane.end_ids]).rstrip(UNFINISHED)

    def _added(self, node: int, tokens: list[int]) -> str:
        """The text that tokens add behind a node; a character that spans segments belongs to the one it ends in."""
        return self._text(node, tokens)[len(self._text(node)) :]


def _first(token: int):
    """Choose `token`, then greedily."""
    return lambda log_probs, place: token if place == 0 else int(log_probs.argmax())


DECODER = Decoder(
    name="rain",
    title="RAIN",
    summary="Grows a tree of segments, evaluates its own text, and goes back from what was bad.",
    options=RainOptions,
    run=run,
    in_front=("scorer", "max_inner", "value_threshold"),
    source="Li et al., ICLR 2024, arXiv 2309.07124",
    variants=lambda options: (options.variant, *SCORERS[options.scorer].variants),
    embeds=True,
)
