"""RAIN, rewindable auto-regressive inference (Li et al., ICLR 2024, arXiv 2309.07124): the model evaluates its own text
and goes back where it was bad. The search itself, in numbers, is in rain_tree.py; here it meets the model.
"""

from __future__ import annotations

import math
import time
from typing import Any

from pydantic import Field, field_validator

from playground.branch import logits
from playground.branch.branch import Branch, Pick
from playground.branch.lane import Draft, Lane
from playground.branch.together import together
from playground.decoders.base import Decoder, Options
from playground.decoders.rain_tree import Path, Rules, Tree
from playground.decoders.sample import SampleOptions
from playground.engine.engine import Asking, Stopped
from playground.engine.requests import Read
from playground.errors import UserError, shown
from playground.policy import Policy
from playground.scorers import ScorerChoice

EMBEDDER = "embedder"
"""Reads how much alike texts are."""
PUNCTUATION = tuple(".!?,;:\n")
"""The simulation goes on to the next of these."""
Segment = tuple[Branch, Asking]
"""A branch that is to grow, and its growth."""


class RainOptions(Options):
    scorer: ScorerChoice = Field("self_eval_learned", title="Evaluator", description="The scorer that judges a text")
    max_inner: int = Field(
        50, ge=1, le=1000, title="Max rounds per segment", description="Then the best segment joins the answer"
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
    top: int = Field(15, ge=1, le=1000, title="Top-k", description="Draw from the k most probable tokens")
    lengths: str = Field(
        "1 2 4 10", title="Segment lengths", description="In tokens, by depth below the root; the last one repeats"
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
    lane.detail["questions"] = list(scorer.questions(lane.prompt)) if scorer.questions else []
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
        """Open the prompt and expand the root."""
        root = yield from Branch.open(self.lane, self.options.variant)
        root.describe = _log_prob_only
        self.branches[0], self.drafts[0] = root, root.draft
        yield from root.write_beginning()
        if not root.ended:
            yield from root.look()
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
        while len(paths) < self.options.leaves:
            path = self.tree.select()
            if any(path[-1] == other[-1] for other in paths):
                self.tree.steps.pop()
                break
            paths.append(path)
            self.tree.suppose(path, 1)
        for path in paths:
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
        texts = [self.drafts[path[-1]].text + ahead for path, ahead in zip(paths, looked_ahead, strict=True)]
        values = yield from self._evaluate(texts, paths)
        embeddings = yield from self._embed(paths, looked_ahead)
        for path, value, embedded in zip(paths, values, embeddings, strict=True):
            self.tree.back_up(path, value)
            if len(path) > 1:
                self.tree.embed(path, embedded.numpy())
                self.tree.spread(path, value)
        yield from self._widen(paths)

    def _embed(self, paths: list[Path], looked_ahead: list[str]) -> Asking:
        """Embeddings [len(path) - 1, size] for each path: of the text from each node below its root on."""
        asked = []
        for path, ahead in zip(paths, looked_ahead, strict=True):
            pieces = [self.tree[node].text for node in path] + [ahead]
            asked.append(Read(EMBEDDER, tuple("".join(pieces[start:]) for start in range(1, len(path)))))
        return (yield asked)

    def _reach(self, nodes: list[int]) -> Asking:
        """Put the segments of leaves through the model, in one batch."""
        missing = [node for node in nodes if node not in self.branches and not self.drafts[node].ended]
        for node in missing:
            self.branches[node] = self.branches[self.tree[node].parent].fork(node)
            self.branches[node].draft = self.drafts[node]
        yield from together(self.branches[node].look() for node in missing)

    def _expand(self, paths: list[Path], look_ahead: bool = True) -> Asking:
        """Grow the candidates of all leaves, and their simulations, in one batch. Returns the simulated texts."""
        planned: list[tuple[int, list[Segment], list[Segment]]] = []
        for leaf, depth in ((path[-1], len(path) - 1) for path in paths):
            candidates = [] if self.drafts[leaf].ended or self.tree[leaf].expanded else self._candidates(leaf, depth)
            planned.append((leaf, candidates, self._simulation(leaf) if look_ahead else []))
        yield from self._grow([one for _, some, ahead in planned for one in (*some, *ahead)])
        texts = []
        for leaf, candidates, ahead in planned:
            if candidates:
                self._give(leaf, candidates)
            texts += ["".join(branch.draft.text[len(self.drafts[leaf].text) :] for branch, _ in ahead)]
        return texts

    def _candidates(self, leaf: int, depth: int) -> list[Segment]:
        """The segments that are to follow a leaf: at the start the likeliest tokens; deeper one greedy and the others
        sampled."""
        most = self.lengths[min(depth, len(self.lengths) - 1)]
        if depth == 0:
            log_probs = self.branches[leaf].log_probs
            likeliest = log_probs.topk(min(self.options.candidates, len(log_probs))).indices.tolist()
            picks = [self._first(leaf, token) for token in likeliest]
        else:
            picks = [_greedy, *[self._sampled] * (self.options.candidates - 1)]
        return [self._segment(leaf, pick, most, number) for number, pick in enumerate(picks)]

    def _segment(self, leaf: int, pick: Pick, most: int, *path: int, **until: Any) -> Segment:
        """A fork of a leaf that will grow by at most `most` tokens, with random numbers of its own."""
        branch = self.branches[leaf].fork(leaf, *path)
        return branch, branch.grow(pick, most, **until)

    def _first(self, leaf: int, token: int) -> Pick:
        """Choose `token`, then greedily."""
        start = len(self.drafts[leaf].token_ids)
        return lambda branch: token if len(branch.draft.token_ids) == start else _greedy(branch)

    def _sampled(self, branch: Branch) -> int:
        return logits.draw(logits.top_k(branch.log_probs, self.options.top).log_softmax(-1), branch.rng.random())

    def _simulation(self, leaf: int) -> list[Segment]:
        """The look-ahead from a leaf to the next punctuation mark, if there is one to come."""
        draft = self.drafts[leaf]
        if draft.ended or not self.options.simulate or draft.text.endswith(PUNCTUATION):
            return []
        return [self._segment(leaf, _greedy, self.options.simulate, 0, enough=self._at_punctuation)]

    def _at_punctuation(self, draft: Draft) -> bool:
        return any(mark in self.lane.decode_one(draft.token_ids[-1]) for mark in PUNCTUATION)

    @staticmethod
    def _grow(segments: list[Segment]) -> Asking:
        """Let all segments grow to their ends."""
        yield from together(growth for _, growth in segments)
        for branch, _ in segments:
            branch.release()

    def _give(self, node: int, candidates: list[Segment]) -> None:
        """Grown segments become children of a node."""
        before = self.drafts[node]
        start, grown = len(before.token_ids), {}
        for branch, _ in candidates:
            grown.setdefault(tuple(branch.draft.token_ids[start:]), branch.draft)
        found = [
            (tokens, draft.text[len(before.text) :], math.exp(sum(draft.log_probs[start:])), draft.ended)
            for tokens, draft in grown.items()
        ]
        for child in self.tree.expand(node, found):
            self.drafts[child] = grown[self.tree[child].tokens]
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

    def _widen(self, paths: list[Path]) -> Asking:
        """One more candidate for every node whose children are all alike and none good (dynamic candidates)."""
        growing = []
        for node in (node for path in paths for node in path[:-1]):
            # As long as its siblings, whatever depth they were grown at: priors compare like with like.
            length = max(len(self.tree[child].tokens) for child in self.tree[node].children)
            if node in self.branches and self.tree.wants_more(node, length):
                self.tries[node] = self.tries.get(node, 0) + 1
                growing.append((node, self._segment(node, self._sampled, length, 0, self.tries[node])))
        yield from self._grow([segment for _, segment in growing])
        for node, segment in growing:
            self._give(node, [segment])

    def commit(self) -> Asking:
        """Take the favourite into the answer, make it the root, and forget what cannot be reached any more."""
        child = self.tree.favourite().id
        yield from self._reach([child])
        self.tree.commit(child)
        for node in [n for n in self.branches if not self._is_below(n, child)]:
            self.branches.pop(node).release()
        self._answer(child)
        if not self.lane.answer.ended and not self.tree[child].expanded:
            yield from self._expand([[child]], look_ahead=False)

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


def _greedy(branch: Branch) -> int:
    return int(branch.log_probs.argmax())


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
