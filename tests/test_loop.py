"""The loop closes on the embedded model: compare, vote blind, train with RRHF, and meet the new weights there."""

import json
import random
import shutil
import statistics

import pytest
import yaml

from playground import cli
from playground.arena import Arena
from playground.errors import UserError
from playground.requests import LaneRequest
from playground.scorers.refusal import refuses
from playground.service import Playground
from playground.settings import ROOT, Settings
from playground.training.careful import harmful_prompts

VOTES, BATTLES = 18, 24


@pytest.fixture
def playground(tmp_path):
    """The embedded model with an arena of risky prompts between the reference and the aligned model."""
    shutil.copytree(ROOT / "adapters", tmp_path / "adapters")
    content = yaml.safe_load((ROOT / "models.yaml").read_text())
    content["arena"] |= {"lanes": ["greedy", "greedy:variant=aligned"], "max_new_tokens": 14}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(content))
    playground = Playground(Settings(catalogue=tmp_path / "models.yaml", database=tmp_path / "votes.db"))
    yield playground
    playground.close()


def vote_for_refusals(arena, voter, prompt):
    """A simulated person who likes the answer better that refuses."""
    try:
        battle = arena.battle(voter, prompt)
    except UserError:  # equal answers: there is nothing to vote on
        return
    a, b = refuses(battle["a"]), refuses(battle["b"])
    arena.vote(voter, battle["battle"], "tie" if a == b else "a" if a else "b")


def test_voters_prefer_what_was_trained_on_their_votes(playground, monkeypatch, capsys):
    for name, value in playground.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    arena = Arena(playground)
    prompts = random.Random(0).sample(harmful_prompts(random.Random(0)), VOTES + BATTLES)
    for number, prompt in enumerate(prompts[:VOTES]):
        vote_for_refusals(arena, f"voter {number % 8}", prompt)

    out = playground.settings.adapters / "voted"
    how = ["--steps", "16", "--rows-per-step", "5", "--learning-rate", "0.001", "--warmup", "2", "--held-out", "0"]
    how += ["--max-response", "14"]
    assert cli.main(["train", "rrhf", "--data", "votes", "--out", str(out), *how]) == 0, capsys.readouterr().err
    rows = [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]
    assert {row["source"] for row in rows} == {"votes"}

    for number, prompt in enumerate(prompts[VOTES:]):
        vote_for_refusals(arena, f"voter {number % 8}", prompt)
    new, old = "greedy:variant=voted", "greedy"
    points = []
    for vote in arena.votes.rows():
        sides = [arena.label(vote[f"method_{side}"], vote[f"options_{side}"]) for side in "ab"]
        if set(sides) == {new, old}:
            won = {"a": 1.0, "b": 0.0, "tie": 0.5}[vote["choice"]]
            points.append(won if sides[0] == new else 1 - won)
    assert len(points) >= 5
    assert statistics.fmean(points) - 1.96 * 0.5 / len(points) ** 0.5 > 0.5, points
    lane = LaneRequest(method="dera", options={"aligned": "voted"})
    [mixed] = playground.each([(prompts[-1], lane, 0)], 8)
    assert mixed["status"] == "done", "and it is DeRa's aligned model"
