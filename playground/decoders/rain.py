"""RAIN, rewindable auto-regressive inference (Li et al., ICLR 2024, arXiv 2309.07124): the model evaluates its own text
and goes back where it was bad. The search itself, in numbers, is in rain_tree.py; here it meets the model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator

from playground.branch import logits
from playground.branch.branch import Branch
from playground.branch.lane import Draft, Lane
from playground.branch.together import together
from playground.decoders.base import Decoder, Options
from playground.decoders.rain_tree import Path, Rules, Tree, capped
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking, Stopped
from playground.engine.requests import Read
from playground.errors import UserError, shown
from playground.policy import Policy
from playground.scorers import ScorerChoice

EMBEDDER = "embedder"
"""Reads how much alike texts are."""
PUNCTUATION = tuple(".?,;:\n")
"""The look-ahead goes on to the next of these, the authors' list."""
Choice = Callable[[torch.Tensor, np.random.Generator], int]
"""(log-probabilities [vocabulary] to draw from, random numbers) → a token."""


class RainOptions(Options):
    scorer: ScorerChoice = Field("self_eval_learned", title="Evaluator", description="The scorer that judges a text")
    max_inner: int = Field(
        50, ge=1, le=1000, title="Max rounds per segment", description="Then the best segment joins the answer"
    )
    min_inner: int = Field(
        15, ge=1, le=1000, title="Rounds at least", description="Of them, where earlier rounds count for a segment"
    )
    min_visits: float = Field(
        6, ge=0, le=1000, title="Visit threshold", description="A segment with more visits and enough value is taken"
    )
    value_threshold: float = Field(
        0.8,
        ge=-1e6,
        le=1e6,
        title="Value threshold",
        description="A segment with a higher value and enough visits is taken",
    )
    candidates: int = Field(10, ge=1, le=30, title="Candidates", description="Segments drawn after a leaf")
    soft: bool = Field(False, title="Graded values", description="Probabilities instead of yes or no")
    temperature: float = Field(1.0, ge=0.01, le=5, title="Temperature", description="At which candidates are drawn")
    top: int = Field(15, ge=1, le=1000, title="Top-k", description="Draw from the k most probable tokens")
    lengths: str = Field(
        "1 2 4 10", title="Segment lengths", description="In tokens, from the prompt on; the last one repeats"
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
    look_ahead: Literal["punctuation", "end"] = Field(
        "punctuation", title="Look ahead to", description="The next punctuation, or the end of the answer"
    )
    simulate: int = Field(200, ge=0, le=1000, title="Max look-ahead", description="In tokens")
    leaves: int = Field(1, ge=1, le=16, title="Leaves per batch", description="1 is the paper's search; more is faster")
    max_nodes: int = Field(2000, ge=1, le=20_000, title="Max nodes", description="Then the best so far is taken")
    max_seconds: float = Field(180, gt=0, le=3600, title="Max seconds", description="Then the best so far is taken")
    max_forward: int = Field(
        300_000, ge=1, le=10_000_000, title="Max forward tokens", description="Then the best so far is taken"
    )
    variant: Policy = SampleOptions.model_fields["variant"]

    @field_validator("lengths")
    @classmethod
    def _whole_numbers(cls, text: str) -> str:
        parts = text.split()
        if not parts or not all(part.isdigit() and 1 <= int(part) <= 64 for part in parts):
            raise UserError(f"rain: lengths is {shown(text)}; write whole numbers from 1 to 64, as in 1 2 4 10.")
        return text

    @property
    def readers(self) -> tuple[str, ...]:
        return (EMBEDDER,)

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

    @property
    def branches(self) -> int:
        return self.leaves * self.candidates


def run(lane: Lane, options: RainOptions) -> Asking:
    """Search segment by segment; what is committed is the answer. Ended early, the best path is."""
    search = _Search(lane, options)
    scorer = options.scorer.scorer
    lane.detail["evaluator"] = f"Evaluated by “{scorer.title}”. {scorer.reliability}".strip()
    lane.detail["questions"] = list(scorer.questions(lane.prompt, options.scorer.options)) if scorer.questions else []
    lane.detail["tree"] = {"steps": search.tree.steps}
    try:
        yield from search.begin()
        while not lane.answer.ended:
            spent = yield from search.think()
            if spent:
                search.end_early(spent)
                lane.answer.finish_reason = lane.answer.finish_reason or "budget"
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
                f"above {options.value_threshold:g} when the rounds were over; it was taken as the least bad."
            )
        search.release()
        lane.detail["tree"] = search.tree.record() | {"evaluations": len(search.evaluations)}


@dataclass
class _Segment:
    """A branch that is to grow, its growth, and the log-probability of what was drawn, under what it was drawn from."""

    branch: Branch
    growth: Asking = ()
    log_prob: float = 0.0


class _Search:
    """The tree with what the model has to do with it."""

    def __init__(self, lane: Lane, options: RainOptions):
        self.lane, self.options = lane, options
        self.tree = Tree(options.rules)
        self.lengths = [int(part) for part in options.lengths.split()]
        self.drafts: dict[int, Draft] = {}
        """Of every node: the answer up to its end."""
        self.branches: dict[int, Branch] = {}
        """Of visited nodes: the same with the text that the model has read."""
        self.evaluations: dict[str, dict[str, Any]] = {}
        """Every text that was ever evaluated, so that none is twice."""
        self.tries: dict[int, int] = {}
        self.least_bad = 0
        self.began = time.monotonic()

    def begin(self) -> Asking:
        """Open the prompt, the first root."""
        root = yield from Branch.open(self.lane, self.options.variant)
        root.describe = _log_prob_only
        self.branches[0], self.drafts[0] = root, root.draft
        yield from root.write_beginning()
        if not root.ended:
            yield from root.look()

    def think(self) -> Asking:
        """Inner rounds until a child of the root is good enough, or there were enough of them: at least one. Visits
        that the root brings along count. Returns why the search must end here, or ""."""
        most, brought = self.options.max_inner, self.tree[self.tree.root].own_visits
        left = max(most - brought, min(self.options.min_inner, most))
        while left > 0:
            if spent := self._spent():
                return spent
            paths = yield from self._leaves()
            yield from self._visit(paths)
            left -= len(paths)
            if self._good_enough():
                return ""
        favourite = self.tree.favourite()
        self.least_bad += favourite is not None and favourite.value <= self.options.value_threshold
        return ""

    def _leaves(self) -> Asking:
        """The paths to the leaves of one round: one, as in the paper, or several different ones by virtual visits."""
        paths: list[Path] = []
        while len(paths) < self.options.leaves:
            path = yield from self._descend()
            if any(path[-1] == other[-1] for other in paths):
                break
            self.tree.selected(path)
            paths.append(path)
            self.tree.suppose(path, 1)
        for path in paths:
            self.tree.suppose(path, -1)
        return paths

    def _descend(self) -> Asking:
        """The path along the best scores to a leaf; on the way nodes get further candidates where they want some."""
        path = [self.tree.root]
        while self.tree[path[-1]].children:
            yield from self._widen(path[-1])
            path.append(self.tree.follow(path[-1]))
        return path

    def _good_enough(self) -> bool:
        best, options = self.tree.favourite(), self.options
        return best is not None and best.own_visits > options.min_visits and best.value > options.value_threshold

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
        texts = [self.drafts[path[-1]].text + ahead for path, ahead in zip(paths, looked_ahead, strict=True)]
        values = yield from self._evaluate(texts, paths)
        embeddings = yield from self._embed(paths, looked_ahead)
        for path, value, embedded in zip(paths, values, embeddings, strict=True):
            self.tree.back_up(path, value)
            self.tree.embed(path, embedded)
            self.tree.spread(path, value)

    def _embed(self, paths: list[Path], looked_ahead: list[str]) -> Asking:
        """Embeddings [len(path) - 1, size] for each path: of the text from each node below its root on."""
        if all(len(path) == 1 for path in paths):
            return [[] for _ in paths]
        asked = []
        for path, ahead in zip(paths, looked_ahead, strict=True):
            pieces = [self.tree[node].text for node in path] + [ahead]
            asked.append(Read(EMBEDDER, tuple("".join(pieces[start:]) for start in range(1, len(path)))))
        return [embedded.numpy() for embedded in (yield asked)]

    def _reach(self, nodes: list[int]) -> Asking:
        """Put the segments of leaves through the model, in one batch."""
        missing = [node for node in nodes if node not in self.branches and not self.drafts[node].ended]
        for node in missing:
            self.branches[node] = self.branches[self.tree[node].parent].fork(node)
            self.branches[node].draft = self.drafts[node]
        yield from together(self.branches[node].look() for node in missing)

    def _expand(self, paths: list[Path]) -> Asking:
        """Grow the candidates of all leaves, and their look-aheads, in one batch. Returns the texts of these."""
        planned: list[tuple[int, list[_Segment], list[_Segment]]] = []
        for leaf in (path[-1] for path in paths):
            candidates = [] if self.drafts[leaf].ended or self.tree[leaf].expanded else self._candidates(leaf)
            planned.append((leaf, candidates, self._simulation(leaf)))
        yield from self._grow([one for _, some, ahead in planned for one in (*some, *ahead)])
        texts = []
        for leaf, candidates, ahead in planned:
            if candidates:
                self._give(leaf, candidates)
            texts += ["".join(one.branch.draft.text[len(self.drafts[leaf].text) :] for one in ahead)]
        return texts

    def _length(self, node: int) -> int:
        """Of the segments that follow a node, in tokens."""
        return self.lengths[min(self.tree[node].depth, len(self.lengths) - 1)]

    def _candidates(self, leaf: int) -> list[_Segment]:
        """The segments that are to follow a leaf: single tokens are the likeliest, of longer ones one is greedy and
        the others are sampled."""
        length = self._length(leaf)
        if length == 1:
            choices = [_always(token) for token in self._likeliest(leaf, self.options.candidates)]
        else:
            choices = [_greedy, *[_sampled] * (self.options.candidates - 1)]
        return [self._segment(leaf, choice, length, number) for number, choice in enumerate(choices)]

    def _likeliest(self, leaf: int, most: int) -> list[int]:
        log_probs = self.branches[leaf].log_probs
        return log_probs.topk(min(most, len(log_probs))).indices.tolist()

    def _segment(self, leaf: int, choice: Choice, length: int, *path: int) -> _Segment:
        """A fork of a leaf that will grow by at most `length` tokens, with random numbers of its own. Longer segments
        are drawn from the likeliest tokens; single ones are taken by rank, however low."""
        segment = _Segment(self.branches[leaf].fork(leaf, *path))
        top = self.options.top if length > 1 else 0

        def pick(branch: Branch) -> int:
            kept = logits.top_k(branch.log_probs / self.options.temperature, top).log_softmax(-1)
            token = choice(kept, branch.rng)
            segment.log_prob += float(kept[token])
            return token

        segment.growth = segment.branch.grow(pick, length)
        return segment

    def _simulation(self, leaf: int) -> list[_Segment]:
        """The look-ahead from a leaf, sampled, if anything is to come: to the next punctuation mark, or to the end."""
        draft, to_end = self.drafts[leaf], self.options.look_ahead == "end"
        if draft.ended or not self.options.simulate or (not to_end and _at_punctuation(draft)):
            return []
        branch = self.branches[leaf].fork(leaf, 0)
        enough = {} if to_end else {"enough": _at_punctuation}
        growth = branch.grow(lambda b: _sampled(b.log_probs, b.rng), self.options.simulate, **enough)
        return [_Segment(branch, growth)]

    @staticmethod
    def _grow(segments: list[_Segment]) -> Asking:
        """Let all segments grow to their ends."""
        yield from together(segment.growth for segment in segments)
        for segment in segments:
            segment.branch.release()

    def _give(self, node: int, candidates: list[_Segment]) -> None:
        """Grown segments become children of a node."""
        before = self.drafts[node]
        start, grown = len(before.token_ids), {}
        for segment in candidates:
            grown.setdefault(tuple(segment.branch.draft.token_ids[start:]), segment)
        probabilities = [math.exp(segment.log_prob) for segment in grown.values()]
        if self._length(node) > 1:
            probabilities = capped(probabilities)
        drafts = {tokens: segment.branch.draft for tokens, segment in grown.items()}
        found = [
            (tokens, draft.text[len(before.text) :], probability, draft.ended)
            for (tokens, draft), probability in zip(drafts.items(), probabilities, strict=True)
        ]
        for child in self.tree.expand(node, found):
            self.drafts[child] = drafts[self.tree[child].tokens]
            for record in self.drafts[child].records[start:]:
                record["node"] = child

    def _evaluate(self, texts: list[str], paths: list[Path]) -> Asking:
        """Values of the leaves' texts, new ones in one batch."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self.evaluations]
        scorer, writer = self.options.scorer, self.options.variant
        if fresh:
            answers = [Draft(self.lane, 0, token_ids=self.lane.ids(text), text=text) for text in fresh]
            scores = yield from scorer.run(self.lane, writer, answers, self.options.soft)
            for text, score in zip(fresh, scores, strict=True):
                self.evaluations[text] = {"text": text, "value": float(score), **getattr(score, "how", {})}
        for text, path in zip(texts, paths, strict=True):
            self.tree.evaluated(path[-1], self.evaluations[text])
        return [self.evaluations[text]["value"] for text in texts]

    def _widen(self, node: int) -> Asking:
        """One more candidate for a node whose children are all alike and all bad (dynamic candidates): the next token
        in rank, or a sample, which may be there already."""
        length = self._length(node)
        if not self.tree.wants_more(node, length):
            return
        self.tries[node] = self.tries.get(node, 0) + 1
        choice = _sampled
        if length == 1:
            choice = _always(self._likeliest(node, len(self.tree[node].children) + 1)[-1])
        segment = self._segment(node, choice, length, 0, self.tries[node])
        yield from self._grow([segment])
        self._give(node, [segment])

    def commit(self) -> Asking:
        """Take the favourite into the answer, make it the root, and forget what cannot be reached any more."""
        child = self.tree.favourite().id
        yield from self._reach([child])
        self.tree.commit(child)
        for node in [n for n in self.branches if not self._is_below(n, child)]:
            self.branches.pop(node).release()
        self._answer(child)

    def _answer(self, node: int) -> None:
        """The answer goes up to the end of this node."""
        self.lane.answer = self.drafts[node]
        self.lane.listener(self.lane.answer)

    def take_best_path(self) -> None:
        """End with the best text that the tree holds."""
        if taken := self.tree.best_path():
            self.tree.take(taken)
            self._answer(taken[-1])

    def end_early(self, why: str) -> None:
        """End with the best text, and say so."""
        self.take_best_path()
        found = "The best text so far was taken." if self.tree.committed else "No text had been evaluated yet."
        self.lane.detail["warning"] = f"{why} {found}"

    def release(self) -> None:
        """Give back all memory."""
        for branch in self.branches.values():
            branch.release()

    def _is_below(self, node: int | None, root: int) -> bool:
        while node is not None and node != root:
            node = self.tree[node].parent
        return node is not None


def _greedy(log_probs: torch.Tensor, rng: np.random.Generator) -> int:
    return int(log_probs.argmax())


def _sampled(log_probs: torch.Tensor, rng: np.random.Generator) -> int:
    return logits.draw(log_probs, rng.random())


def _always(token: int) -> Choice:
    return lambda log_probs, rng: token


def _at_punctuation(draft: Draft) -> bool:
    return draft.text.endswith(PUNCTUATION)


def _log_prob_only(branch: Branch, token: int) -> dict[str, Any]:
    return {"log_prob": round(float(branch.log_probs[token]), 5), "top": []}


DECODER = Decoder(
    name="rain",
    title="RAIN",
    summary="Searches a tree of text segments: evaluates its own text and goes back where it was bad.",
    options=RainOptions,
    run=run,
    in_front=("scorer", "max_inner", "value_threshold"),
    source="Li et al., ICLR 2024, arXiv 2309.07124",
    by_token=False,
)
