"""RAIN's search against a second, small model of it, written from the paper's rules and its authors' code rather than
from the decoder. Chance is the only thing that it takes from the run: which segments and look-aheads were drawn. What
may be drawn, and all that follows from it (priors, paths, visits, values, further candidates, what is committed and
when), it works out by itself, node by node.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest

from playground.decoders import DECODERS
from playground.scorers import SCORERS
from playground.scorers.base import Scorer
from tests.fakes import END, VOCABULARY, letter_counts, random_script, run

LIMIT = 28
"""Tokens of an answer."""


@dataclass
class Known:
    """A node as the rules make it. `fn` are its visits without those that siblings passed on; `mean` the running mean
    of its texts' embeddings."""

    tokens: tuple[int, ...]
    depth: int
    parent: Known | None = None
    p: float = 0.0
    share: float = 0.0
    n: float = 0.0
    fn: int = 0
    v: float = 0.0
    mean: np.ndarray | None = None
    children: dict[tuple[int, ...], Known] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.parent.ids, *self.tokens) if self.parent else ()

    @property
    def over(self) -> bool:
        return END in self.tokens or len(self.ids) >= LIMIT


def written(tokens) -> str:
    return "".join(VOCABULARY[token] for token in tokens if token != END)


def segment_length(depth: int) -> int:
    return (1, 2, 4)[depth] if depth < 3 else 10


class Rules:
    """The search. `rounds`: what the run drew in each: {"expand": {node: segments}, "widen": {…}, "text", "path"}."""

    def __init__(self, script, value_of, rounds, min_visits=6, to_end=False):
        self.script, self.value_of, self.rounds = script, value_of, rounds
        self.min_visits, self.to_end = min_visits, to_end
        self.first = self.root = Known((), 0)
        self.paths: list[list[tuple[int, ...]]] = []
        self.committed: list[tuple[int, ...]] = []
        self.seen = Counter()

    def search(self) -> None:
        while not self.root.over:
            brought, done = self.root.fn, 0
            while True:
                self.round()
                done += 1
                best = self.most_visited()
                self.seen["not yet by its own visits"] += best.n > self.min_visits >= best.fn and best.v > 0.8
                if best.fn > self.min_visits and best.v > 0.8:
                    break
                if done == max(50 - brought, 15):
                    self.seen["out of rounds"] += 1
                    break
            self.seen["brought along"] += brought > 0
            self.seen["shorter for it"] += brought > 0 and done == max(50 - brought, 15)
            self.root = self.most_visited()
            self.committed.append(self.root.ids)
            for child in self.root.children.values():
                child.p = 0.75 * child.p + 0.25 / len(self.root.children)
            total = sum(child.p for child in self.root.children.values())
            for child in self.root.children.values():
                child.p /= total

    def most_visited(self) -> Known:
        return max(self.root.children.values(), key=lambda child: (child.n, child.v))

    def round(self) -> None:
        drawn = self.rounds[len(self.paths)]
        path = [self.root]
        while path[-1].children:
            self.widen(path[-1], drawn["widen"].pop(path[-1].ids, None))
            path.append(self.follow(path[-1], drawn["path"]))
        leaf = path[-1]
        self.paths.append([node.ids for node in path])
        assert self.paths[-1] == drawn["path"], f"round {len(self.paths)}"
        self.check_look_ahead(leaf, drawn["text"])
        if not leaf.over:
            self.expand(leaf, drawn["expand"].pop(leaf.ids))
        assert not drawn["expand"] and not drawn["widen"], "nothing is drawn that the rules do not ask for"
        self.back_up(path, drawn["text"], self.value_of(drawn["text"]))

    def follow(self, node: Known, taken: list[tuple[int, ...]]) -> Known:
        """The child of the greatest score. Two candidates can have a third and two thirds of the prior, so scores do
        tie; which is greater by rounding is then left to the run."""
        best = max(map(self.puct, node.children.values()))
        ties = [child for child in node.children.values() if self.puct(child) > best - 1e-9]
        return next((child for child in ties if child.ids in taken), ties[0])

    @staticmethod
    def puct(child: Known) -> float:
        # Values are verdicts from -1 to 1, which is where the scale begins, so it never changes.
        return ((child.v + 1) / 2 if child.n else 0) + 2 * child.p * math.sqrt(child.parent.n) / (1 + child.n)

    def check_look_ahead(self, leaf: Known, text: str) -> None:
        """Sampled up to the next punctuation mark, none if there is one; or to the answer's end."""
        before = written(leaf.ids)
        assert text.startswith(before)
        ahead = text[len(before) :]
        if leaf.over or (before.endswith(".") and not self.to_end):
            assert not ahead
        else:
            assert self.to_end or "." not in ahead[:-1]
            self.seen["ahead"] += 1
            greedy = int(self.script("reference", leaf.ids).argmax())
            self.seen["not greedy"] += written([greedy]) != ahead[:1]

    def probability(self, ids: tuple[int, ...], tokens: tuple[int, ...]) -> float:
        """Of a segment under the 15 likeliest tokens at each place, renormalised."""
        product = 1.0
        for number, token in enumerate(tokens):
            probs = self.script("reference", (*ids, *tokens[:number])).double().exp()
            best = probs.topk(15)
            assert token in best.indices, "drawn from the 15 likeliest"
            product *= float(probs[token] / best.values.sum())
        return product

    def expand(self, leaf: Known, segments: list[tuple[int, ...]]) -> None:
        length, before = segment_length(leaf.depth), leaf.ids
        log_probs = self.script("reference", before)
        if length == 1:
            best = log_probs.topk(10)
            assert segments == [(token,) for token in best.indices.tolist()]
            shares = best.values.exp().tolist()
        else:
            assert len(set(segments)) == len(segments) <= 10
            for segment in segments:
                whole = len(segment) == length
                assert whole or segment[-1] == END or len(before) + len(segment) == LIMIT
            greedy: tuple[int, ...] = ()
            while len(greedy) < len(segments[0]):
                greedy += (int(self.script("reference", (*before, *greedy)).argmax()),)
            assert segments[0] == greedy
            alone, *others = (self.probability(before, segment) for segment in segments)
            if others:
                capped = max(min(alone, sum(others)), max(others) + min(others))
                self.seen["capped"] += capped < alone
                self.seen["lifted"] += capped > alone
                alone = capped
            shares = [alone, *others]
        for segment, share in zip(segments, shares, strict=True):
            child = Known(segment, leaf.depth + 1, leaf, share / sum(shares), share)
            leaf.children[segment] = child
            if leaf is self.root:
                child.p = 0.75 * child.p + 0.25 / len(segments)
        self.seen["a later root was a leaf"] += leaf is self.root and leaf is not self.first

    def widen(self, node: Known, segments: list[tuple[int, ...]] | None) -> None:
        """One more candidate where all read alike and all are bad."""
        children, length = list(node.children.values()), segment_length(node.depth)
        wanted = (
            len(children) < 20
            and all(child.mean is not None for child in children)
            and len(children) > 1
            and np.linalg.norm(np.var([child.mean for child in children], axis=0, ddof=1)) < 0.03 * length
        )
        self.seen["one is not bad"] += bool(wanted) and max(child.v for child in children) == 0
        wanted = wanted and all(child.v < 0 for child in children)
        if not wanted:
            assert segments is None, "widened without need"
            return
        if length == 1:
            ranked = self.script("reference", node.ids).argsort(descending=True).tolist()
            assert segments == [(ranked[len(children)],)]
            share = float(self.script("reference", node.ids).exp()[ranked[len(children)]])
            self.seen["widened by rank"] += 1
        elif segments is None:
            self.seen["drawn again"] += 1  # a sample that stands there already
            return
        else:
            share = self.probability(node.ids, segments[0])
            self.seen["widened by a sample"] += 1
        [segment] = segments
        assert segment not in node.children
        # The new one's share among all; the others keep theirs.
        p = share / (share + sum(child.share for child in children))
        if node is self.root:
            p = 0.75 * p + 0.25 / (len(children) + 1)
        node.children[segment] = Known(segment, node.depth + 1, node, p, share)

    def back_up(self, path: list[Known], text: str, value: float) -> None:
        for node in path:
            node.n += 1
            node.fn += 1
            node.v += (value - node.v) / node.n
        for node in path[1:]:
            [embedding] = letter_counts([text[len(written(node.parent.ids)) :]]).astype(np.float32)
            node.mean = embedding if node.mean is None else node.mean + (embedding - node.mean) / node.fn
            for sibling in node.parent.children.values():
                if sibling is not node and sibling.mean is not None:
                    alike = float(sibling.mean @ node.mean / np.linalg.norm(sibling.mean) / np.linalg.norm(node.mean))
                    if alike > 0.95:
                        weight = 0.2 * alike
                        sibling.n += weight
                        sibling.v += (value - sibling.v) * weight / sibling.n
                        self.seen["passed on"] += 1


def by_round(tree, ids):
    """What a recorded search drew, round by round, and the path that it took. `ids`: node → the answer up to it."""
    rounds, now = [], {"expand": {}, "widen": {}}
    for step in tree["steps"]:
        if step["kind"] in ("expand", "widen"):
            segments = [tuple(child["tokens"]) for child in step["children"]]
            now[step["kind"]].setdefault(ids[step["node"]], []).extend(segments)
        elif step["kind"] == "select":
            now["path"] = [ids[node] for node in step["path"]]
        elif step["kind"] == "evaluate":
            now["text"] = step["text"]
        elif step["kind"] == "backup":
            rounds.append(now)
            now = {"expand": {}, "widen": {}}
    return rounds


def searched(monkeypatch, script, value_of, **options):
    """Run the decoder on scripts, and the rules over what it drew; hold them against each other. Returns the rules."""

    def score(lane, writer, answers, options):
        return [value_of(answer.text) for answer in answers]
        yield

    monkeypatch.setitem(SCORERS, "vader", Scorer("vader", "scripted", score))
    given = {"scorer": "vader", "max_seconds": 3600, "max_nodes": 20_000, **options}
    tree = run(DECODERS["rain"], given, script, max_new_tokens=LIMIT).detail["tree"]
    ids = {0: ()}
    for node in tree["nodes"][1:]:
        ids[node["id"]] = (*ids[node["parent"]], *node["tokens"])
    rules = Rules(
        script, value_of, by_round(tree, ids), options.get("min_visits", 6), options.get("look_ahead") == "end"
    )
    rules.search()
    assert len(rules.paths) == len(rules.rounds)
    assert rules.committed == [ids[node] for node in tree["committed"]]
    ours = {ids[node["id"]]: (node["visits"], node["value"], node["prior"]) for node in tree["nodes"][1:]}
    theirs, waiting = {}, [rules.first]
    while waiting:
        children = waiting.pop().children.values()
        theirs |= {child.ids: (child.n, child.v, child.p) for child in children}
        waiting += children
    assert ours.keys() == theirs.keys()
    for node, numbers in theirs.items():
        assert ours[node] == pytest.approx(numbers, abs=2e-4), written(node)
    assert (tree["nodes"][0]["visits"], tree["nodes"][0]["value"]) == pytest.approx(
        (rules.first.n, rules.first.v), abs=2e-4
    )
    return rules


def talks(salt, alike=False):
    """A model that seldom ends. `alike`: with one likely letter after the first, so that its texts read alike."""
    plain = random_script(salt)

    def script(variant, ids):
        log_probs = plain(variant, ids).clone()
        log_probs[END] -= 6
        if alike and ids:
            log_probs[1:END] -= 4
            log_probs[VOCABULARY.index(".")] += 1
        return log_probs.log_softmax(-1)

    return script


def verdict(good, neutral=0):
    """Verdicts by chance of the text: `good` and `neutral` of 100 texts are 1 and 0, the others -1."""

    def value_of(text):
        number = zlib.crc32(text.encode()) % 100
        return 1.0 if number < good else 0.0 if number < good + neutral else -1.0

    return value_of


SEARCHES = {
    "not bad": (talks(6, alike=True), verdict(0, 20), {}),
    "mixed": (talks(5), verdict(45, 10), {}),
    "alike": (talks(6, alike=True), verdict(0), {}),
    "soon good": (talks(1, alike=True), verdict(85), {"min_visits": 3}),
    "to the end": (talks(4), verdict(60), {"look_ahead": "end", "min_visits": 16}),
}


def test_every_number_of_a_search_follows_from_the_rules(monkeypatch):
    seen = Counter()
    for name, (script, value_of, options) in SEARCHES.items():
        rules = searched(monkeypatch, cache(script), value_of, **options)
        assert len(rules.paths) >= 60 or name == "soon good", f"{name}: {len(rules.paths)} rounds"
        seen += rules.seen
    for what in (
        "brought along",
        "shorter for it",
        "out of rounds",
        "not greedy",
        "capped",
        "lifted",
        "passed on",
        "widened by rank",
        "widened by a sample",
        "drawn again",
        "one is not bad",
        "not yet by its own visits",
    ):
        assert seen[what], f"no search came to this rule: {what}"
