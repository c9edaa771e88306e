"""The arena: battles that tell nothing, votes that count once, and the way into training."""

import dataclasses
import json
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gradio as gr
import pytest

from playground import cli
from playground.arena import Arena
from playground.errors import UserError
from playground.models.specs import read_catalogue
from playground.prepared import Stock
from playground.requests import LaneRequest
from playground.service import Person, Playground
from playground.settings import ROOT, Settings
from playground.store.ballots import read_votes, write_votes
from playground.store.connection import Connection
from playground.store.hub import push_votes
from playground.store.votes import VoteStore
from playground.ui.arena import in_plain_words
from playground.ui.owner import OwnerTab
from tests.endurance import trial
from tests.tiny import make_catalogue


@pytest.fixture
def arena(tiny_catalogue, tmp_path):
    playground = Playground(Settings(catalogue=tiny_catalogue, database=tmp_path / "votes.db", precision="fp32"))
    yield Arena(playground)
    playground.close()


def test_a_battle_tells_nothing_of_its_lanes_before_the_vote(arena):
    battle = arena.battle("me")
    assert set(battle) == {"battle", "prompt", "a", "b"}
    told = json.dumps(battle)
    for name in ("greedy", "sample", "adapted", "temperature", "seconds", "variant"):
        assert name not in told.replace(battle["a"], "").replace(battle["b"], "")
    assert arena.playground.archive.recent(None) == [], "nor does the history"


def test_a_battles_run_opens_with_its_vote_and_not_before(arena):
    playground = arena.playground
    ways = (playground.open_run, playground.ended_run, playground.archive.write)

    def look(run):
        for way in ways:
            with pytest.raises(UserError, match="no run"):
                way(run)
        assert playground.prompt_of(run) is None

    run = playground.start(arena.request("the fox"), "arena")
    look(run.id)
    run.wait()
    look(run.id)
    arena.votes.prepare(run.id)
    battle = arena.battle("me")
    look(run.id)
    assert arena.vote("me", battle["battle"], "a")["run"] == run.id
    assert [way(run.id) for way in ways] and playground.prompt_of(run.id) == "the fox"


def test_a_vote_counts_once_and_reveals_who_wrote_what(arena):
    battle = arena.battle("me", "the fox")
    shown = arena.vote("me", battle["battle"], "a", ["safer"], "because")
    run = arena.playground.open_run(shown["run"])
    assert battle["a"] in [lane["text"] for lane in run["lanes"]]
    texts = {lane["text"]: lane["method"] for lane in run["lanes"]}
    assert shown["a"]["method"] == texts[battle["a"]] or battle["a"] == battle["b"]
    with pytest.raises(UserError, match="counts once"):
        arena.vote("me", battle["battle"], "b")
    [row] = arena.votes.rows()
    assert (row["choice"], row["reasons"], row["note"], row["category"]) == ("a", ["safer"], "because", "animals")
    assert row["text_a"] == battle["a"]
    assert row["text_b"] == battle["b"]
    assert "me" not in row["voter"]
    assert row["models_a"]
    assert row["software"].startswith("realign-playground")


def test_a_prepared_battle_is_handed_out_once_and_writes_nothing(arena, tiny_catalogue, monkeypatch):
    stock = Stock(arena, 3)
    while arena.votes.prepared() < 2:  # two methods may give equal answers, which are no battle
        stock.prepare()
    kept = arena.playground.database.db["runs"].count
    assert kept == 2, "nothing is left of what was no battle"
    other = VoteStore(Connection(arena.playground.settings.database))  # of another process
    handed = [other.hand_out("theirs", "v", 0)]
    monkeypatch.setattr(arena.playground, "compare", lambda *_: pytest.fail("nothing is written"))
    battle = arena.battle("me")
    handed.append(arena.votes.battle(battle["battle"].split(".")[0])["run"])
    assert len(set(handed)) == 2
    assert arena.votes.prepared() == 0 and other.hand_out("more", "v", 0) is None
    assert battle["prompt"] in [p.text for p in arena.spec.prompts]
    assert arena.vote("me", battle["battle"], "a")["run"] == handed[1]
    [row] = arena.votes.rows()
    assert row["category"] == arena.category(row["prompt"]) != "own"
    with pytest.raises(UserError, match="not yours"):
        arena.vote("you", battle["battle"], "b")


def test_preparing_makes_way_for_people_and_leaves_nothing(arena):
    stock = Stock(arena, 3)
    with arena.playground.crowd.enter(Person("somebody", ""), 1, 1):
        assert not stock.prepare()
    assert not stock._idle(), "somebody was here a moment ago"
    assert arena.votes.prepared() == arena.playground.database.db["runs"].count == 0


@pytest.mark.parametrize(
    ("method", "options", "models", "how"),
    [
        ("greedy", {"variant": "aligned"}, ["careful"], "greedy"),
        ("dera", {"lambda_": 0.5}, ["plain", "careful"], "DeRa · λ 0.5"),
        ("best_of_n", {"n": 8, "variant": "mine"}, ["mine"], "best of N · Samples (N) 8"),
        ("of another version", {}, [], "its label"),
    ],
)
def test_who_wrote_an_answer_is_told_in_plain_words(method, options, models, how):
    catalogue = read_catalogue(ROOT / "models.yaml")
    lane = {"method": method, "options": options, "label": "its label"}
    assert in_plain_words(catalogue, lane) == {"models": models, "how": how}


def test_reasons_are_given_after_the_vote_by_who_voted(arena):
    signed = arena.battle("me", "the fox")["battle"]
    with pytest.raises(UserError, match="no vote yet"):
        arena.explain("me", signed, ["safer"], "")
    arena.vote("me", signed, "a", ["safer"])
    arena.explain("me", signed, ["better written"], "it rhymes")
    for visitor, reasons, words in (("you", [], "not yours"), ("me", ["prettier"], "prettier")):
        with pytest.raises(UserError, match=words):
            arena.explain(visitor, signed, reasons, "")
    [row] = arena.votes.rows()
    assert (row["choice"], row["reasons"], row["note"]) == ("a", ["better written"], "it rhymes")


def test_which_lane_is_shown_first_is_chance(arena):
    firsts = {arena.votes.battle(arena.battle("me")["battle"].split(".")[0])["first"] for _ in range(12)}
    assert firsts == {0, 1}


def flat_vote(battle, a, b, choice, **more):
    """A vote of elsewhere between two lanes of the tiny catalogue's arena, as `votes import` reads it."""
    row = {
        "battle": battle,
        "created": "2026-01-01",
        "voter": "v",
        "choice": choice,
        "reasons": [],
        "note": "",
        "way": "page",
    }
    row |= {"category": "", "hidden": 0, "prompt": "p", "system": "", "earlier": [], "seed": 0}
    row |= {"max_new_tokens": 1, "software": "s"}
    for side, lane in (("a", a), ("b", b)):
        request = LaneRequest.parse(lane)
        row |= {f"method_{side}": request.method, f"options_{side}": request.options.model_dump()}
        row |= {
            f"models_{side}": {},
            f"text_{side}": "t",
            f"finish_reason_{side}": "end",
            f"seconds_{side}": 1.0,
            f"forward_tokens_{side}": 1,
        }
    return row | more


def test_pairs_of_which_most_is_open_come_up_most_often(arena):
    one, two, three = arena.spec.lanes
    votes = [flat_vote(f"{n}", one, two, "a") for n in range(60)]
    votes += [flat_vote(f"even{n}", two, three, "ab"[n % 2]) for n in range(60)]
    arena.votes.take(votes)


def test_an_adapter_that_was_trained_since_joins_the_arena(tmp_path):
    playground = Playground(Settings(catalogue=make_catalogue(tmp_path), database=":memory:", precision="fp32"))
    try:
        arena = Arena(playground)
        assert not any("voted" in str(lane.options) for _ in range(20) for lane in arena.pair())
        shutil.copytree(playground.catalogue.variant("adapted").adapter, tmp_path / "adapters" / "voted")
        assert any(getattr(lane.options, "variant", None) == "voted" for _ in range(60) for lane in arena.pair())
    finally:
        playground.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"visitor": "you"}, "not yours"),
        ({"signed": "0000.1111"}, "not yours"),
        ({"signed": "nonsense"}, "not yours"),
        ({"choice": "c"}, "must be one of"),
        ({"reasons": ["prettier"]}, "prettier"),
        ({"note": "x" * 3000}, "3,000 characters"),
    ],
)
def test_wrong_votes_are_refused_in_words_and_leave_the_battle_open(arena, change, words):
    battle = arena.battle("me", "the fox")
    vote = {"visitor": "me", "signed": battle["battle"], "choice": "a"} | change
    with pytest.raises(UserError, match=words):
        arena.vote(**vote)
    arena.vote("me", battle["battle"], "tie")


def test_an_old_battle_cannot_be_voted_on(arena):
    battle = arena.battle("me", "the fox")
    old = (datetime.now(UTC) - timedelta(hours=25)).isoformat()
    arena.playground.database.db.execute("update battles set created = ?", [old])
    with pytest.raises(UserError, match="a day old"):
        arena.vote("me", battle["battle"], "a")


def test_battles_are_limited_by_the_hour(arena, monkeypatch):
    monkeypatch.setattr(arena, "spec", arena.spec.model_copy(update={"battles_an_hour": 2}))
    arena.battle("me"), arena.battle("me")
    with pytest.raises(UserError, match="within an hour"):
        arena.battle("me")
    arena.battle("you")
    monkeypatch.setattr(arena, "spec", arena.spec.model_copy(update={"battles_an_hour_in_all": 3}))
    with pytest.raises(UserError, match="full"):
        arena.battle("they")


def test_many_voters_at_once_lose_nothing(arena):
    battles = [(f"v{n % 10}", arena.battle(f"v{n % 10}", "the fox")["battle"]) for n in range(30)]
    refused = []

    def vote(visitor, signed):
        for _ in range(3):  # a double click counts once
            try:
                arena.vote(visitor, signed, "a")
            except UserError:
                refused.append(signed)

    threads = [threading.Thread(target=vote, args=battle) for battle in battles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(arena.votes.rows()) == 30
    assert len(refused) == 60


def test_no_acknowledged_vote_is_lost_when_the_server_is_killed():
    found = trial(voters=6, votes=24, kills=1)
    assert found["votes"] == found["kept"] >= 24
    for failure in ("lost", "unsure_and_lost", "acknowledged_twice", "never_given", "dangling"):
        assert found[failure] == 0, found
    assert found["sound"]


def test_the_seal_is_the_databases_own_and_outlives_the_server(tiny_catalogue, tmp_path):
    def voter(name, **settings):
        playground = Playground(Settings(catalogue=tiny_catalogue, database=tmp_path / name, **settings))
        try:
            return Arena(playground).voter("me")
        finally:
            playground.close()

    assert voter("one.db") == voter("one.db") != voter("two.db")
    assert voter("one.db", secret="s") == voter("two.db", secret="s")


def test_votes_can_be_hidden_shown_and_forgotten_and_that_is_logged(arena):
    first, second = arena.battle("me", "the fox"), arena.battle("you", "the fox")
    arena.vote("me", first["battle"], "a")
    arena.vote("you", second["battle"], "b")
    battle = first["battle"].split(".")[0]
    arena.votes.hide(battle, True, "spam")
    assert [row["choice"] for row in arena.votes.rows()] == ["b"]
    assert len(arena.votes.rows(hidden=True)) == 2
    arena.votes.hide(battle, False, "a mistake")
    assert arena.votes.forget(arena.voter("me")) == 1
    assert [row["choice"] for row in arena.votes.rows(hidden=True)] == ["b"]
    assert [act["act"] for act in arena.votes.acts()] == ["forget", "show", "hide"]
    assert arena.voter("me") not in json.dumps(arena.votes.acts())


def test_all_of_a_voter_is_deleted_with_prompts_and_answers_and_nothing_of_others(arena):
    for visitor in ("me", "you"):
        arena.vote(visitor, arena.battle(visitor, f"the fox of {visitor}")["battle"], "a")
    left_open = arena.battle("me", "the fox of me")["battle"].split(".")[0]
    assert arena.votes.forget(arena.voter("me")) == 1
    assert [row["prompt"] for row in arena.votes.rows()] == ["the fox of you"]
    with pytest.raises(UserError, match="no battle"):
        arena.votes.battle(left_open)
    prompts = [row["prompt"] for row in arena.playground.database.db["runs"].rows]
    assert prompts == ["the fox of you"]
    assert arena.playground.database.db["lanes"].count == 2


@pytest.mark.parametrize("given", [None, "open sesame"])
def test_the_owner_tab_asks_for_its_token(tiny_catalogue, tmp_path, given):
    settings = Settings(catalogue=tiny_catalogue, database=tmp_path / "v.db", precision="fp32", owner_token=given)
    playground = Playground(settings)
    try:
        arena = Arena(playground)
        battle = arena.battle("me", "the fox")
        arena.vote("me", battle["battle"], "a")
        wanted = playground.owner_token
        assert wanted == (given or wanted)
        with gr.Blocks(), gr.Tab() as around:
            tab = OwnerTab(arena, around, gr.BrowserState(""))
        name = battle["battle"].split(".")[0]
        assert tab.opened("")[0]["visible"] is False
        for act in (tab.open, lambda t: tab.hide(t, name, "spam", True), lambda t: tab.forget(t, "x")):
            with pytest.raises(UserError, match="owner's token"):
                act("sesame")
        with pytest.raises(UserError, match="owner's token"):
            tab.export_voter(None, arena.voter("me"))
        inside, methods, votes, voters, _, snapshots, _ = tab.opened(wanted)
        assert inside["visible"]
        assert len(methods["choices"]) >= 2
        assert votes[0][0] == name
        assert voters[0][:3] == [arena.voter("me"), 1, "100.0%"]
        assert snapshots.startswith("Votes are on this server's disk only.")
        assert arena.voter("me") in Path(tab.export_voter(wanted, arena.voter("me"))).read_text()
        assert Path(tab._saver("trl", "jsonl")(wanted, "", "")).read_text().count("\n") == 1
        with pytest.raises(UserError, match="None of these 1 votes fits: a kto file holds ties"):
            tab._saver("kto", "jsonl")(wanted, "", "")
        with pytest.raises(UserError, match="reason"):
            tab.hide(wanted, name, " ", True)
        tab.hide(wanted, f" {name} ", "spam", True)
        assert arena.votes.rows() == []
        assert tab.open(wanted)[4][0][1:] == ["hide", name, "spam"]
    finally:
        playground.close()


def test_a_token_that_could_be_guessed_is_refused(monkeypatch):
    monkeypatch.setenv("PLAYGROUND_OWNER_TOKEN", "open sesame")
    with pytest.raises(UserError, match="11 characters"):
        Settings()
    monkeypatch.setenv("PLAYGROUND_OWNER_TOKEN", "open sesame, open sesame")
    assert Settings().owner_token == "open sesame, open sesame"


def test_a_snapshot_for_the_hub_is_private_and_errors_are_told(arena, monkeypatch):
    arena.vote("me", arena.battle("me")["battle"], "a")
    with pytest.raises(UserError, match="HF_TOKEN"):  # the tests are offline
        push_votes(arena.votes.rows(), "someone/votes")
    did = []

    class Hub:
        def create_repo(self, repository, **how):
            did.append((repository, how["repo_type"], how["private"]))

        def upload_file(self, path_or_fileobj, path_in_repo, **how):
            did.append((path_in_repo, how["repo_type"], path_or_fileobj))
            return "https://hub/commit"

    monkeypatch.setattr("playground.store.hub.HfApi", Hub)
    assert push_votes(arena.votes.rows(), "someone/votes") == "https://hub/commit"
    (repository, kind, private), (name, _, content) = did
    assert (repository, kind, private) == ("someone/votes", "dataset", True)
    assert name.startswith("votes-")
    assert content == write_votes(arena.votes.rows(), "rrhf")


def test_the_leaderboard_names_lanes_by_what_is_not_default(arena):
    for choice in ("a", "b", "tie", "both_bad"):
        arena.vote("me", arena.battle("me")["battle"], choice)
    found = arena.leaderboard()
    assert found["votes"] == 4
    names = {m["method"] for m in found["methods"]}
    assert names <= {"greedy", "sample:temperature=1.5", "greedy:variant=adapted"}
    assert sum(m["wins"] for m in found["methods"]) == sum(m["losses"] for m in found["methods"]) == 2
    assert arena.leaderboard(category="nothing")["votes"] == 0


def test_the_commands_export_import_back_up_and_rank(arena, tmp_path, monkeypatch, capsys):
    for choice in ("a", "b", "tie", "both_bad"):
        arena.vote("me", arena.battle("me")["battle"], choice)
    monkeypatch.setenv("PLAYGROUND_MODELS", str(arena.playground.settings.catalogue))
    monkeypatch.setenv("PLAYGROUND_DATABASE", str(arena.playground.settings.database))
    for form in ("rrhf", "trl", "kto", "csv", "parquet"):
        assert cli.main(["votes", "export", "--format", form, "--out", str(tmp_path / form)]) == 0
    assert cli.main(["votes", "backup", str(tmp_path / "copy.db")]) == 0
    capsys.readouterr()
    assert cli.main(["leaderboard", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"votes", "connected", "warnings", "methods"}
    wanted = [
        "method",
        "strength",
        "low",
        "high",
        "rank",
        "wins",
        "losses",
        "ties",
        "both_bad",
        "mean_seconds",
        "mean_forward_tokens",
    ]
    assert list(found["methods"][0]) == wanted
    for forms in (("rrhf",), ("trl", "kto"), ("csv",), ("parquet",)):
        monkeypatch.setenv("PLAYGROUND_DATABASE", str(tmp_path / f"{forms[0]}.db"))
        for again in (False, True):
            told = 0
            for form in forms:
                assert cli.main(["votes", "import", str(tmp_path / form)]) == 0
                new, _, _, _, known, *_ = capsys.readouterr().out.split()
                told += int(known if again else new)
            assert told == 4
        assert cli.main(["votes", "export", "--format", "csv", "--out", str(tmp_path / "again")]) == 0
        capsys.readouterr()
        rows = [sorted((tmp_path / name).read_text().splitlines()) for name in ("again", "csv")]
        assert rows[0] == rows[1], f"the way through {forms} is exact"
    (tmp_path / "broken").write_bytes(write_votes(arena.votes.rows(), "rrhf")[:-40])
    assert cli.main(["votes", "import", str(tmp_path / "broken")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_an_abstention_is_told_after_the_vote_and_goes_along_with_it(arena, monkeypatch, tmp_path):
    lanes = tuple(LaneRequest.parse(lane) for lane in ("aspire:threshold=0,beams=2", "greedy"))
    monkeypatch.setattr(arena, "pair", lambda: lanes)
    battle = arena.battle("me", "the fox")
    assert "withheld" not in json.dumps(battle)
    shown = arena.vote("me", battle["battle"], "a")
    [abstained] = [side for side in "ab" if shown[side]["method"] == "aspire"]
    other = {"a": "b", "b": "a"}[abstained]
    withheld = arena.playground.open_run(shown["run"])["lanes"][0]["detail"]["withheld"]
    assert shown[abstained]["withheld"] == withheld != battle[abstained]
    assert "withheld" not in shown[other]
    [row] = arena.votes.rows()
    assert (row[f"finish_reason_{abstained}"], row[f"withheld_{abstained}"]) == ("abstained", withheld)
    assert row[f"withheld_{other}"] == ""
    [line] = write_votes([row], "rrhf").decode().splitlines()
    told = json.loads(line)
    assert told["abstained"] == [response == battle[abstained] for response in told["responses"]]
    for form in ("rrhf", "trl", "csv", "parquet"):
        (tmp_path / form).write_bytes(write_votes([row], form))
        elsewhere = VoteStore(Connection(":memory:"))
        elsewhere.take(read_votes(tmp_path / form))
        assert elsewhere.rows() == [row], form


def test_votes_of_a_version_that_knew_no_abstention_are_read(arena, tmp_path):
    vote = flat_vote("1", *arena.spec.lanes[:2], "a")
    (tmp_path / "old.jsonl").write_text(json.dumps({"provenance": [vote]}) + "\n")
    assert read_votes(tmp_path / "old.jsonl") == [vote | {"withheld_a": "", "withheld_b": "", "way": "page"}]


def test_no_vote_is_lost_beside_a_second_writer(arena, tmp_path):
    stores = [VoteStore(Connection(tmp_path / "both.db")) for _ in range(2)]

    lanes = arena.spec.lanes[:2]

    def write(number):
        for at in range(30):
            row = flat_vote(f"{number} {at}", *lanes, "a", withheld_a="", withheld_b="", way="page")
            stores[number].take([row])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].rows()) == 60


@pytest.mark.parametrize("form", ["rrhf", "trl", "csv", "parquet"])
def test_odd_characters_in_an_answer_come_back_from_every_format(arena, tmp_path, form):
    arena.vote("me", arena.battle("me")["battle"], "a")
    [vote] = arena.votes.rows()
    texts = ["a\rb", '\n\r"', "=1,2", "'=1", "-x", "'", "\ufeffx", "  "]
    odd = [vote | {"text_a": text, "battle": f"{n}"} for n, text in enumerate(texts)]
    file = tmp_path / form
    file.write_bytes(write_votes(odd, form))
    assert {v["battle"]: v["text_a"] for v in read_votes(file)} == {v["battle"]: v["text_a"] for v in odd}


def test_equal_answers_are_never_put_to_a_vote(arena, monkeypatch):
    same = tuple(LaneRequest.parse(lane) for lane in ("greedy", "greedy"))
    monkeypatch.setattr(arena, "pair", lambda: same)
    with pytest.raises(UserError, match="equal answers"):
        arena.battle("me", "the fox")
    assert arena.playground.database.db["battles"].count == 0


def test_public_ranks_count_votes_of_the_page_alone(arena, monkeypatch):
    for way in ("page", "login", "api", "api"):
        arena.vote("me", arena.battle("me")["battle"], "a", way=way)
    brought = flat_vote("elsewhere", *arena.spec.lanes[:2], "a", withheld_a="", withheld_b="", way="page")
    arena.votes.take([brought])
    assert arena.leaderboard()["votes"] == 5
    for counted, votes in ((("page", "login"), 2), (("login",), 1)):
        settings = dataclasses.replace(arena.playground.settings, count_votes=counted)
        monkeypatch.setattr(arena.playground, "settings", settings)
        assert arena.leaderboard()["votes"] == votes
    ways = [row["way"] for row in arena.votes.rows()]
    assert ways == ["page", "page", "login", "api", "api"], "oldest first; all are kept"
    typed_wrong = dataclasses.replace(arena.playground.settings, count_votes=("logins",))
    monkeypatch.setattr(arena.playground, "settings", typed_wrong)
    with pytest.raises(UserError, match="PLAYGROUND_COUNT names 'logins'"):
        Arena(arena.playground)


def test_a_burst_of_new_voters_is_told(arena):
    def at(hours, voters):
        """So many voters gave their first vote so many hours ago."""
        made = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")
        lanes = arena.spec.lanes[:2]
        arena.votes.take(
            [
                flat_vote(f"{n} {voter}", *lanes, "a", voter=voter, created=made, withheld_a="", withheld_b="")
                for voter in voters
                for n in (hours,)
            ]
        )

    at(100, ["regular"])
    for day in (1, 2, 3):
        at(24 * day, [f"day {day}, {n}" for n in range(24)])
    at(0.5, ["regular", *(f"new {n}" for n in range(9))])
    assert not arena.burst(), "nine are few"
    at(0.4, [f"newer {n}" for n in range(22)])
    assert "31 voters of the last hour had never voted before (usually less than 1 an hour)" in arena.burst()
    at(50, [f"crowd {n}" for n in range(99 * 7)])
    assert not arena.burst(), "there are often so many"


def test_invented_visitors_of_one_address_leave_the_hour_to_others(arena, monkeypatch):
    monkeypatch.setattr(arena, "spec", arena.spec.model_copy(update={"battles_an_hour_in_all": 8}))
    attacker, honest = Person("there", "1"), Person("here", "2")
    for number in range(2):
        arena.battle(f"invented {number}", person=attacker)
    with pytest.raises(UserError, match="From your address"):
        arena.battle("invented", person=attacker)
    arena.battle("me", person=honest)


def test_a_vote_is_checked_against_the_battles_own_voter(arena):
    battle = arena.battle("me")["battle"]
    arena.playground.database.db.execute("update battles set voter = 'another'")
    with pytest.raises(UserError, match="not yours"):
        arena.vote("me", battle, "a")


def test_half_a_character_in_a_file_of_votes_is_told(arena, tmp_path):
    vote = flat_vote("1", *arena.spec.lanes[:2], "a", prompt="\ud800")
    (tmp_path / "bad.jsonl").write_text(json.dumps({"provenance": [vote]}) + "\n")
    with pytest.raises(UserError, match="damaged"):
        read_votes(tmp_path / "bad.jsonl")


def test_rows_for_trl_are_conversations_of_decided_votes_and_the_others_are_unpaired(arena):
    lanes = arena.spec.lanes[:2]
    more = {"system": "Be kind.", "earlier": [["Hi", "Ho"]], "text_a": "yes", "text_b": "no"}
    votes = [flat_vote(choice, *lanes, choice, **more) for choice in ("a", "b", "tie", "both_bad")]
    before = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Ho"), ("user", "p")]

    def said(messages):
        return [(message["role"], message["content"]) for message in messages]

    paired = [json.loads(line) for line in write_votes(votes, "trl").splitlines()]
    assert [said(row["prompt"]) for row in paired] == [before] * 2
    assert [said(row["chosen"]) for row in paired] == [[("assistant", "yes")], [("assistant", "no")]]
    assert [said(row["rejected"]) for row in paired] == [[("assistant", "no")], [("assistant", "yes")]]
    unpaired = [json.loads(line) for line in write_votes(votes, "kto").splitlines()]
    assert [said(row["prompt"]) for row in unpaired] == [before] * 4
    assert [row["label"] for row in unpaired] == [True, True, False, False]
    assert [said(row["completion"])[0][1] for row in unpaired] == ["yes", "no"] * 2


def test_no_cell_of_a_table_is_a_formula(arena):
    vote = flat_vote("1", *arena.spec.lanes[:2], "a", text_a='=HYPERLINK("http://evil")', withheld_a="", withheld_b="")
    told = write_votes([vote | {"way": "page"}], "csv").decode()
    assert '"=' not in told
