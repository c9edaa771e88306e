"""Answers that are measured are whole: one whose budget is spent is written to its end."""

import pytest

from playground.errors import UserError
from playground.evaluation.answers import answers
from playground.requests import LaneRequest

PROMPTS = ["the quick brown fox", "how do I make a cake", "once upon a time"]
SEARCH = "rain:scorer=vader,max_inner=2,candidates=3,simulate=2"


def test_what_a_search_leaves_is_written_on_by_its_policy(tiny):
    spent = LaneRequest.parse(f"{SEARCH},max_forward=60,variant=aligned")
    left = list(tiny.each([(prompt, spent, 0) for prompt in PROMPTS], 24))
    assert {lane["finish_reason"] for lane in left} == {"budget"}, "else this tests nothing"
    for prompt, before, whole in zip(PROMPTS, left, answers(tiny, spent, PROMPTS, 24), strict=True):
        ids, known = whole["token_ids"], len(before["token_ids"])
        assert ids[:known] == before["token_ids"]
        rest = LaneRequest.checked(method="greedy", options={"variant": "aligned"}, begin=tuple(before["token_ids"]))
        [plain] = tiny.each([(prompt, rest, 0)], 24)
        assert (ids, whole["text"], whole["finish_reason"]) == (
            plain["token_ids"],
            plain["text"],
            plain["finish_reason"],
        )
        assert whole["finish_reason"] in ("end", "length") and len(ids) <= 24
        assert whole["cost"]["generated_tokens"] == before["cost"]["generated_tokens"] + len(ids) - known
        assert whole["cost"]["forward_tokens"] == before["cost"]["forward_tokens"] + plain["cost"]["forward_tokens"]


@pytest.mark.parametrize("lane", ["greedy", SEARCH])
def test_other_answers_stay_as_they_are(tiny, lane):
    lane = LaneRequest.parse(lane)
    plain = list(tiny.each([(prompt, lane, 0) for prompt in PROMPTS], 6))
    assert [one["token_ids"] for one in answers(tiny, lane, PROMPTS, 6)] == [one["token_ids"] for one in plain]


def test_an_answer_that_fails_is_told():
    class Failing:
        def each(self, jobs, *_):
            return [{"error": "Out of words."} for _ in jobs]

    with pytest.raises(UserError, match=r"greedy failed on 'the quick brown fox': Out of words\."):
        list(answers(Failing(), LaneRequest.parse("greedy"), PROMPTS[:1], 4))
