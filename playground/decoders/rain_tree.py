"""RAIN's search tree as numbers and token ids: no model, no cache, no tensor (Li et al., ICLR 2024, arXiv 2309.07124).

A node is a segment of text. Its value is a running mean of what evaluations below it gave, its visits may be
fractional (a sibling that reads almost the same passes a part of its own on).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Path = list[int]
"""Node ids from the root down."""


@dataclass
class Node:
    """One segment. `value` is the mean of `visits` evaluations; `embedding` that of the texts of its own visits."""

    id: int
    parent: int | None
    tokens: tuple[int, ...]
    text: str
    probability: float = 1.0
    """Of the segment after its parent, under the distribution it was drawn from."""
    depth: int = 0
    """Segments below the first root, which never changes, whatever is committed."""
    prior: float = 1.0
    visits: float = 0.0
    own_visits: int = 0
    """Those that went through it, without what siblings passed on."""
    value: float = 0.0
    supposed: int = 0
    """Virtual visits: selected, but not evaluated yet."""
    children: list[int] = field(default_factory=list)
    expanded: bool = False
    ended: bool = False
    """No text can follow: the answer ends here."""
    evaluation: dict[str, Any] | None = None
    embedding: np.ndarray | None = None
    similarity_updates: int = 0


@dataclass(frozen=True)
class Rules:
    """The constants of the search; defaults are the authors'."""

    exploration: float = 2.0
    root_uniform: float = 0.25
    similar_above: float = 0.95
    similar_weight: float = 0.2
    widen_below: float = 0.03
    most_children: int = 20


class Tree:
    """The tree and the list of steps that built it, which is enough to show every state it was in."""

    def __init__(self, rules: Rules):
        self.rules = rules
        self.nodes = [Node(0, None, (), "")]
        self.root = 0
        self.steps: list[dict[str, Any]] = []
        self.committed: Path = []
        # The scale begins at a bad and a good verdict, as in the authors' code: were it empty, a tree whose values are
        # all equally good would be searched as if they were bad.
        self._least, self._greatest = -1.0, 1.0

    def __getitem__(self, node: int) -> Node:
        return self.nodes[node]

    def path(self, node: int) -> Path:
        """The ids from the current root to `node`."""
        found = [node]
        while found[-1] != self.root:
            found.append(self.nodes[found[-1]].parent)
        return found[::-1]

    def score(self, child: Node) -> float:
        """PUCT: norm(v) + c·p·√N(parent) / (1 + N). An unvisited child has no value yet and counts as the least."""
        parent = self.nodes[child.parent]
        above, here = parent.visits + parent.supposed, child.visits + child.supposed
        bonus = self.rules.exploration * child.prior * math.sqrt(above) / (1 + here)
        return (self.normalised(child.value) if child.visits else 0.0) + bonus

    def normalised(self, value: float) -> float:
        """The value on the scale of the least (0) and the greatest (1) that nodes below roots have had, or -1 and 1."""
        return (value - self._least) / (self._greatest - self._least)

    def follow(self, node: int) -> int:
        """The child with the best score; ties go to the earlier one."""
        return max(self.nodes[node].children, key=lambda i: self.score(self.nodes[i]))

    def selected(self, path: Path) -> None:
        """Note the way from the root to a leaf that was taken."""
        self.steps.append({"kind": "select", "path": path})

    def expand(self, node: int, candidates: list[tuple[tuple[int, ...], str, float, bool]]) -> list[int]:
        """Give `node` children: (tokens, text, probability, ended) each, equal ones once. Returns the new ids.

        Of children that come later, the prior is their share among all, and the others keep theirs."""
        at = self.nodes[node]
        known = {self.nodes[child].tokens for child in at.children}
        new = []
        for tokens, text, probability, ended in candidates:
            if tokens and tokens not in known:
                known.add(tokens)
                child = Node(len(self.nodes), node, tokens, text, probability, at.depth + 1, ended=ended)
                self.nodes.append(child)
                at.children.append(child.id)
                new.append(child.id)
        widened, at.expanded = at.expanded, True
        if widened and not new:
            return []
        self._set_priors(node, new)
        self.steps.append(
            {
                "kind": "widen" if widened else "expand",
                "node": node,
                "children": [
                    {"id": c.id, "text": c.text, "tokens": list(c.tokens), "prior": round(c.prior, 5), "ended": c.ended}
                    for c in (self.nodes[i] for i in new)
                ],
                "priors": self._priors(node),
            }
        )
        return new

    def _priors(self, node: int) -> list[list[float]]:
        return [[child, round(self.nodes[child].prior, 5)] for child in self.nodes[node].children]

    def _set_priors(self, node: int, new: list[int]) -> None:
        """Of new children: their share in the probability of all."""
        children = self.nodes[node].children
        total = sum(self.nodes[child].probability for child in children)
        for child in (self.nodes[i] for i in new):
            child.prior = child.probability / total if total > 0 else 1 / len(children)
            if node == self.root:
                child.prior = self._for_root(child.prior, len(children))

    def _for_root(self, prior: float, children: int) -> float:
        """A prior below the root: mixed with the uniform distribution."""
        return (1 - self.rules.root_uniform) * prior + self.rules.root_uniform / children

    def evaluated(self, node: int, evaluation: dict[str, Any]) -> None:
        """Note how the leaf was judged: {"text", "value", …}."""
        self.nodes[node].evaluation = evaluation
        self.steps.append({"kind": "evaluate", "node": node, **evaluation})

    def back_up(self, path: Path, value: float) -> None:
        """One visit more and the value into the running mean, for every node of the path."""
        for node in (self.nodes[i] for i in path):
            node.own_visits += 1
            self._visit(node, value, 1.0)
        below = [self.nodes[i].value for i in path[1:]]
        self._least, self._greatest = min([self._least, *below]), max([self._greatest, *below])
        self.steps.append({"kind": "backup", "path": path, "value": value, "set": self._state(path)})

    def _visit(self, node: Node, value: float, weight: float) -> None:
        node.visits += weight
        node.value += (value - node.value) * weight / node.visits

    def _state(self, nodes: list[int]) -> list[list[float]]:
        return [[i, round(self.nodes[i].visits, 4), round(self.nodes[i].value, 5)] for i in nodes]

    def suppose(self, path: Path, visits: int) -> None:
        """Virtual visits while a leaf waits for its value, so that the next selection goes elsewhere; -1 ends them."""
        for node in path:
            self.nodes[node].supposed += visits

    def embed(self, path: Path, embeddings: np.ndarray) -> None:
        """Take the embeddings [len(path) - 1, size] of the text from each node of the path (but the root) on, once the
        path has been backed up."""
        for node, embedding in zip(path[1:], embeddings, strict=True):
            at = self.nodes[node]
            at.embedding = (
                embedding if at.embedding is None else at.embedding + (embedding - at.embedding) / at.own_visits
            )

    def spread(self, path: Path, value: float) -> None:
        """Siblings that read almost the same as an updated node get a fraction of its visit and value."""
        for node in path[1:]:
            at = self.nodes[node]
            for sibling in (self.nodes[i] for i in self.nodes[at.parent].children if i != node):
                if at.embedding is None or sibling.embedding is None:
                    continue
                alike = _cosine(at.embedding, sibling.embedding)
                if alike > self.rules.similar_above:
                    self._visit(sibling, value, self.rules.similar_weight * alike)
                    sibling.similarity_updates += 1
                    self.steps.append(
                        {
                            "kind": "similar",
                            "node": node,
                            "sibling": sibling.id,
                            "similarity": round(alike, 4),
                            "set": self._state([sibling.id]),
                        }
                    )

    def wants_more(self, node: int, length: int) -> bool:
        """Whether the children say almost the same and all are bad, so that one more candidate is wanted. `length` is
        that of their segments in tokens."""
        children = [self.nodes[i] for i in self.nodes[node].children]
        if not children or len(children) >= self.rules.most_children or any(c.value >= 0 for c in children):
            return False
        known = [c.embedding for c in children if c.embedding is not None]
        if len(known) < max(2, len(children)):
            return False
        return float(np.linalg.norm(np.var(np.stack(known), axis=0, ddof=1))) < self.rules.widen_below * length

    def favourite(self, node: int | None = None) -> Node | None:
        """The most visited child (of the root, if not told), ties to the better, then to the earlier."""
        children = self.nodes[self.root if node is None else node].children
        best = max(children, key=lambda i: (self.nodes[i].visits, self.nodes[i].value), default=None)
        return None if best is None else self.nodes[best]

    def departs(self, child: int) -> bool:
        """Whether a child of the root goes another way than the model alone, whose greedy text is the first child."""
        alone, taken = self.nodes[self.nodes[self.root].children[0]].tokens, self.nodes[child].tokens
        both = min(len(alone), len(taken))
        return alone[:both] != taken[:both]

    def commit(self, child: int) -> bool:
        """Make `child` the root; its subtree and counts are kept. Returns whether this was a rewind: another text
        than the model's first choice."""
        rewind = self.departs(child)
        self.root = child
        self.committed.append(child)
        below = [self.nodes[i] for i in self.nodes[child].children]
        mixed = [self._for_root(node.prior, len(below)) for node in below]
        for node, prior in zip(below, mixed, strict=True):
            node.prior = prior / sum(mixed)
        self.steps.append({"kind": "commit", "node": child, "rewind": rewind, "priors": self._priors(child)})
        return rewind

    def take(self, path: Path) -> None:
        """These nodes below the root join the answer, because the search ends here."""
        self.committed += path
        self.steps.append({"kind": "take", "path": path})

    def best_path(self) -> Path:
        """Below the root, the most visited children down to where visits end: the best text so far."""
        path: Path = []
        node = self.favourite()
        while node is not None and node.visits:
            path.append(node.id)
            node = self.favourite(node.id)
        return path

    def record(self) -> dict[str, Any]:
        """The tree as plain data."""
        nodes = [
            {
                "id": n.id,
                "parent": n.parent,
                "text": n.text,
                "tokens": list(n.tokens),
                "prior": round(n.prior, 5),
                "visits": round(n.visits, 4),
                "value": round(n.value, 5),
                "ended": n.ended,
                "similarity_updates": n.similarity_updates,
                "evaluation": n.evaluation,
            }
            for n in self.nodes
        ]
        return {"nodes": nodes, "steps": self.steps, "committed": list(self.committed), "root": self.root}


def capped(probabilities: list[float]) -> list[float]:
    """Probabilities of candidates, the greedy one first, that never get more than half of the prior from the model's
    own wish: it counts as much as the others together at most, then at least as the greatest and the least of them."""
    greedy, *others = probabilities
    return [max(min(greedy, sum(others)), max(others) + min(others)), *others] if others else probabilities


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size else 0.0
