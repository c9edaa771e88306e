"""Branches: what is read is read once, forks part, and several grow as one."""

import pytest

from playground.branch.branch import Branch
from playground.branch.together import together
from playground.engine.engine import Stopped
from playground.engine.requests import Extend, Open
from playground.policy import Policy
from tests.fakes import answer, drive, make_lane, random_script, spell

MIXTURE = Policy("0.5*reference+0.5*aligned")


def watched(asking, script):
    """Run a generator; returns (its result, the requests of each round)."""
    rounds, answers = [], None
    try:
        while True:
            requests = asking.send(answers)
            rounds.append(requests)
            answers = [answer(script, request) for request in requests]
    except StopIteration as end:
        return end.value, rounds


def greedy(branch):
    return int(branch.log_probs.argmax())


def test_every_token_is_put_through_once_for_each_variant():
    lane, script = make_lane(max_new_tokens=6), spell("abcdefgh")

    def work():
        branch = yield from Branch.open(lane, MIXTURE)
        yield from branch.grow(greedy, most=4)
        return branch

    branch, rounds = watched(work(), script)
    assert [[type(request) for request in each] for each in rounds] == [[Open] * 2] + [[Extend] * 2] * 3
    assert lane.cost.generated_tokens == len(branch.draft.token_ids) == 4


def test_what_was_written_by_hand_is_read_in_one_request():
    lane, script = make_lane(), random_script(3)

    def work():
        branch = yield from Branch.open(lane, Policy("reference"))
        for token in (1, 2, 3):
            branch.put(token)
        yield from branch.look()
        return branch

    branch, rounds = watched(work(), script)
    assert [request.tokens for request in rounds[1]] == [(1, 2, 3)]
    assert branch.log_probs.equal(script("reference", (1, 2, 3)))


def test_forks_go_on_by_themselves():
    lane, script = make_lane(), spell("abcdefgh")

    def work():
        branch = yield from Branch.open(lane, MIXTURE)
        yield from branch.grow(greedy, most=2)
        twin = branch.fork(1)
        branch.put(4)
        twin.put(5)
        yield from together([branch.look(), twin.look()])
        return branch, twin

    (branch, twin), _ = watched(work(), script)
    assert branch.draft.token_ids[:2] == twin.draft.token_ids[:2]
    assert (branch.draft.token_ids[2], twin.draft.token_ids[2]) == (4, 5)


def test_random_numbers_belong_to_a_path():
    lane = make_lane(seed=5)
    paths = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (1, 0, 0)]
    assert len({lane.rng(*path).random() for path in paths}) == len(paths)
    assert lane.rng(3, 4).random() == lane.rng(3, 4).random()


class TestTogether:
    def ask(self, name, times, log, fail_at=None):
        def work():
            try:
                for number in range(times):
                    if number == fail_at:
                        raise ValueError(name)
                    log.append((yield [f"{name}{number}"]))
            except Stopped:
                log.append(f"{name} stopped")
                raise
            finally:
                log.append(f"{name} ended")
            return name

        return work()

    def test_merges_rounds_and_returns_results_in_order(self):
        log, rounds = [], []
        asking = together([self.ask("a", 1, log), self.ask("b", 3, log), self.ask("c", 0, log)])
        answers = None
        try:
            while True:
                requests = asking.send(answers)
                rounds.append(requests)
                answers = [request.upper() for request in requests]
        except StopIteration as end:
            assert end.value == ["a", "b", "c"]
        assert rounds == [["a0", "b0"], ["b1"], ["b2"]]
        assert ["B1"] in log and ["A0"] in log

    def test_nothing_together_is_nothing(self):
        assert drive(together([]), None) == []

    def test_stop_reaches_all_before_it_goes_on(self):
        log = []
        asking = together([self.ask("a", 5, log), self.ask("b", 5, log)])
        asking.send(None)
        with pytest.raises(Stopped):
            asking.throw(Stopped())
        assert [entry for entry in log if "stopped" in entry] == ["a stopped", "b stopped"]

    def test_an_error_of_one_closes_the_others(self):
        log = []
        asking = together([self.ask("a", 5, log), self.ask("b", 5, log, fail_at=1)])
        asking.send(None)
        with pytest.raises(ValueError, match="b"):
            asking.send(["x", "y"])
        assert "a ended" in log and "b ended" in log
