"""RAIN's tree by hand: every number here was worked out from the rules, none was copied from a run."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.decoders.rain_tree import Rules, Tree, capped

A, B = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def seeds(*probabilities):
    """Candidates of one token each, with these probabilities."""
    return [((n,), f"<{n}>", p, False) for n, p in enumerate(probabilities)]


def select(tree):
    """From the root to a leaf along the best scores."""
    path = [tree.root]
    while tree[path[-1]].children:
        path.append(tree.follow(path[-1]))
    return path


def tree_with(*probabilities, **rules):
    tree = Tree(Rules(**rules))
    tree.expand(0, seeds(*probabilities))
    return tree


def test_priors_are_normalised_and_at_the_root_mixed_with_the_uniform_distribution():
    tree = tree_with(0.6, 0.2)
    assert [n.prior for n in tree.nodes[1:]] == pytest.approx([0.75 * 0.75 + 0.125, 0.75 * 0.25 + 0.125])
    tree.expand(1, seeds(0.3, 0.1))
    assert [n.prior for n in tree.nodes[3:]] == pytest.approx([0.75, 0.25])


def test_equal_candidates_are_kept_once():
    tree = Tree(Rules())
    assert len(tree.expand(0, [((1, 2), "a", 0.5, False), ((1, 2), "a", 0.5, False), ((1, 3), "b", 0.1, False)])) == 2
    assert tree.expand(0, [((1, 3), "b", 0.1, False)]) == []


def test_the_search_commits_what_the_rules_choose_step_by_step():
    """Two first words, the likelier of them bad. c = 2, priors 0.7·0.75 + 0.125 = 0.65 and 0.3·0.75 + 0.125 = 0.35."""
    tree = tree_with(0.7, 0.3)
    # No visit yet: all scores are 0, the likelier goes first.
    path = select(tree)
    assert path == [0, 1]
    tree.back_up(path, -1.0)
    # One value seen: norm is 0 for all. 1: 0 + 2·0.65·√1/2 = 0.65; 2: 0 + 2·0.35·√1/1 = 0.70.
    assert [tree.score(tree[n]) for n in (1, 2)] == pytest.approx([0.65, 0.70])
    path = select(tree)
    assert path == [0, 2]
    tree.back_up(path, 1.0)
    # Means seen: -1 (1), 1 (2), 0 (root after both). norm: 1 → 0, 2 → 1.
    # 1: 0 + 1.3·√2/2 = 0.919; 2: 1 + 0.7·√2/2 = 1.495.
    assert [tree.score(tree[n]) for n in (1, 2)] == pytest.approx([1.3 * math.sqrt(2) / 2, 1 + 0.7 * math.sqrt(2) / 2])
    # N is the root's visits; 1's score is 1.3·√N/(1 + its visits), 2's is 1 + 0.7·√N/(1 + its visits).
    # N = 2: 0.92, 1.49. N = 3: 1.13, 1.40. N = 4: 1.30, 1.35. N = 5: 1.45, 1.31, so the bad one is tried again.
    # N = 6: 1.06, 1.34. N = 7: 1.15, 1.31. N = 8: 1.23, 1.28.
    for wanted in (2, 2, 2, 1, 2, 2, 2):
        best = tree.favourite()
        assert not (best.visits > 6 and best.value > 0.8), "too early"
        path = select(tree)
        assert path == [0, wanted]
        tree.back_up(path, 1.0 if wanted == 2 else -1.0)
    # 2 now has 7 visits of value 1: more than 6 and above 0.8.
    best = tree.favourite()
    assert (best.id, best.visits, best.value) == (2, 7, 1.0)
    assert tree.commit(best.id) is True, "another child than the first choice: a rewind"
    assert tree.root == 2
    assert tree[2].visits == 7, "counts are kept"
    assert [step["kind"] for step in tree.steps].count("commit") == 1


def test_a_value_flows_to_every_node_of_the_path_as_a_running_mean():
    tree = tree_with(0.5, 0.5)
    tree.expand(1, seeds(0.5, 0.5))
    for leaf, value in ((3, 1.0), (4, -1.0), (3, 1.0)):
        tree.back_up([0, 1, leaf], value)
    assert [(tree[n].visits, tree[n].value) for n in (0, 1, 2, 3, 4)] == [
        (3, pytest.approx(1 / 3)),
        (3, pytest.approx(1 / 3)),
        (0, 0),
        (2, 1),
        (1, -1),
    ]


def test_a_sibling_that_reads_the_same_gets_a_fraction():
    tree = tree_with(0.5, 0.3, 0.2)
    tree.embed([0, 1], np.array([A]))
    tree.embed([0, 2], np.array([0.99 * A + 0.01 * B]))
    tree.embed([0, 3], np.array([B]))
    tree.back_up([0, 1], 1.0)
    tree.spread([0, 1], 1.0)
    alike = 0.99 / math.hypot(0.99, 0.01)
    assert tree[2].visits == pytest.approx(0.2 * alike)
    assert tree[2].value == pytest.approx(1.0)
    assert tree[2].similarity_updates == 1
    assert tree[3].visits == 0, "its text is another"
    [step] = [s for s in tree.steps if s["kind"] == "similar"]
    assert (step["node"], step["sibling"]) == (1, 2)
    tree.spread([0, 1], -1.0)
    assert tree[2].value == pytest.approx(0.0), "half of the weight said 1, half -1"


def test_embeddings_are_running_means():
    tree = tree_with(1.0)
    for embedding in (A, B):
        tree.back_up([0, 1], 1.0)
        tree.embed([0, 1], np.array([embedding]))
    assert tree[1].embedding == pytest.approx([0.5, 0.5])


def test_more_candidates_are_wanted_where_all_are_alike_and_all_are_bad():
    tree = tree_with(0.5, 0.5, most_children=3)

    def visit(child, value, embedding):
        tree.back_up([0, child], value)
        tree.embed([0, child], np.array([embedding]))

    assert not tree.wants_more(0, 1), "nothing is known yet"
    visit(1, -1.0, A)
    assert not tree.wants_more(0, 1), "one child is not known yet"
    visit(2, -1.0, A + 0.2 * B)
    # The means of B are 0 and 0.2: unbiased variance 0.02 (0.01 if it were biased).
    assert tree.wants_more(0, 0.7), "0.02 is below 0.03 · 0.7"
    assert not tree.wants_more(0, 0.6), "0.02 is above 0.03 · 0.6"
    visit(2, 1.0, A + 0.2 * B)
    assert tree[2].value == 0
    assert not tree.wants_more(0, 1), "a mean of 0 is not below 0"
    visit(2, -1.0, A + 0.2 * B)
    assert tree.wants_more(0, 1)
    visit(2, -1.0, 9 * B)
    assert not tree.wants_more(0, 1), "they differ"
    assert tree.wants_more(0, 1000), "for segments of this length they do not"
    tree.expand(0, [((9,), "x", 0.1, False)])
    visit(3, -1.0, A)
    assert not tree.wants_more(0, 1000), "there are enough of them"


def test_a_later_candidate_takes_nothing_from_the_priors_of_the_others():
    tree = tree_with(0.6, 0.2)
    tree.expand(1, seeds(0.3, 0.1))
    tree.expand(1, [((9,), "x", 0.1, False)])
    assert [n.prior for n in tree.nodes[3:]] == pytest.approx([0.75, 0.25, 0.2])


def test_the_greedy_candidate_has_half_of_the_prior_at_most():
    assert capped([0.9, 0.02, 0.05]) == pytest.approx([0.07, 0.02, 0.05]), "as much as the others together"
    assert capped([0.01, 0.02, 0.05]) == pytest.approx([0.07, 0.02, 0.05]), "as the greatest and the least of them"
    assert capped([0.08, 0.02, 0.03, 0.05]) == [0.08, 0.02, 0.03, 0.05]
    assert capped([0.4]) == [0.4], "there is no other"


def test_after_a_commit_the_new_roots_children_get_root_priors_and_keep_their_counts():
    tree = tree_with(0.9, 0.1)
    tree.expand(1, seeds(0.6, 0.2))
    tree.back_up([0, 1, 4], 0.5)
    assert tree.commit(1) is False, "the first choice: no rewind"
    assert [tree[n].prior for n in (3, 4)] == pytest.approx([0.75 * 0.75 + 0.125, 0.75 * 0.25 + 0.125])
    assert tree[4].visits == 1
    assert tree.path(4) == [1, 4]


def test_a_text_that_only_ends_earlier_or_later_than_the_greedy_one_is_no_rewind():
    tree = Tree(Rules())
    segments = [((1, 2), "greedy", 0.2, False), ((1,), "its beginning", 0.6, True), ((1, 3), "another", 0.2, False)]
    tree.expand(0, [*segments, ((1, 2, 5), "longer", 0.1, False)])
    assert [tree.departs(child) for child in (1, 2, 3, 4)] == [False, False, True, False]


def test_where_all_is_equally_good_the_first_segment_is_soon_taken():
    """norm(1) is 1, so a good child is visited again: 1 + 1.3·√N/(1 + N) is above 0.7·√N up to N = 4."""
    tree = tree_with(0.7, 0.3)
    for _ in range(5):
        tree.back_up(select(tree), 1.0)
    assert [tree[n].visits for n in (1, 2)] == [5, 0]


def test_what_an_early_end_takes_is_a_step():
    tree = tree_with(0.9, 0.1)
    tree.back_up([0, 1], 0.5)
    tree.take(tree.best_path())
    assert tree.committed == [1]
    assert tree.steps[-1] == {"kind": "take", "path": [1]}


def test_the_best_path_goes_as_far_as_visits_go():
    tree = tree_with(0.9, 0.1)
    tree.expand(2, seeds(0.6, 0.2))
    tree.back_up([0, 2, 4], 0.5)
    assert tree.best_path() == [2, 4]
    assert Tree(Rules()).best_path() == []


def test_virtual_visits_send_the_next_selection_elsewhere_and_leave_nothing():
    tree = tree_with(0.51, 0.49)
    first = select(tree)
    tree.suppose(first, 1)
    second = select(tree)
    tree.suppose(first, -1)
    assert (first, second) == ([0, 1], [0, 2])
    assert [(node.visits, node.supposed) for node in tree.nodes] == [(0, 0)] * 3


def test_virtual_visits_repel_also_from_what_was_never_valued():
    tree = tree_with(0.1, 0.1, 0.8)
    for child, value in ((1, -1.0), (2, 0.9)):
        tree.back_up([0, child], value)
    leaves = []
    for _ in range(2):
        leaves.append(select(tree)[-1])
        tree.suppose([0, leaves[-1]], 1)
    assert leaves == [3, 2], "a supposed visit is no value of 0"


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([-1.0, 0.0, 1.0])), max_size=40), st.integers(2, 6))
def test_steps_alone_are_enough_to_show_every_state(rounds, width):
    tree = tree_with(*[1 / width] * width)
    for choice, value in rounds:
        path = select(tree)
        if choice < 2 and not tree[path[-1]].expanded:
            tree.expand(path[-1], seeds(0.5, 0.5))
        tree.back_up(path, value)
        tree.embed(path, np.array([A] * (len(path) - 1)))
        tree.spread(path, value)
    shown: dict[int, list[float]] = {}
    for step in tree.steps:
        for child in step.get("children", []):
            shown[child["id"]] = [0, 0]
        for node, visits, value in step.get("set", []):
            shown[node] = [visits, value]
    for node in tree.nodes[1:]:
        assert shown[node.id] == pytest.approx([node.visits, node.value], abs=1e-4)
        assert -1 <= node.value <= 1
