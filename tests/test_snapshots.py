"""Snapshots: what was saved outside survives the disk, whole and once, whatever fails in between."""

import json
import random

import pytest
from huggingface_hub import HfApi, constants

from playground.errors import UserError
from playground.service.snapshots import Snapshots
from playground.settings import Settings
from playground.store import places
from playground.store.connection import Connection
from playground.store.judgements import JudgementStore
from playground.store.places import Dataset, Folder, place_of
from playground.store.snapshots import Damaged, pack, unpack
from playground.store.votes import VoteStore, now
from tests.hub import StandInHub
from tests.store.test_judgements import judgement


def vote(battle, voter="v", **more):
    """A flat row as it is exported."""
    row = {"battle": battle, "created": "2026-01-01T10:00:00.000+00:00", "voter": voter, "choice": "a", "reasons": []}
    row |= {"note": "", "way": "page", "category": "", "hidden": 0, "prompt": f"prompt {battle}", "system": ""}
    row |= {"earlier": [["Hi", "Ho"]], "seed": 0, "max_new_tokens": 1, "software": "s"}
    for side in "ab":
        row |= {f"method_{side}": "greedy", f"options_{side}": {"of": side}, f"models_{side}": {}, f"text_{side}": side}
        row |= {f"finish_reason_{side}": "abstained", f"withheld_{side}": "w"}
        row |= {f"seconds_{side}": 1.5, f"forward_tokens_{side}": 3}
    return row | more


class Server:
    """What of a server keeps votes: a database, and snapshots whose thread is not started: tests say when."""

    def __init__(self, path, place):
        self.database = Connection(path)
        self.votes, self.judgements = VoteStore(self.database), JudgementStore(self.database)
        self.snapshots = Snapshots(self.database, Settings(snapshots="unused"))
        self.snapshots.place = place
        self.snapshots.store.begin(place.name)
        self.snapshots.attempt()

    def give(self, *battles, voter="v", **more):
        with self.database.writing():
            for battle in battles:
                self.votes.insert(vote(battle, voter, **more), "arena")

    def state(self):
        """All that must survive."""
        rows = sorted(self.votes.rows(hidden=True), key=lambda row: row["battle"])
        acts = sorted((a["created"], a["act"], a["target"], a["reason"]) for a in self.votes.acts())
        ways = sorted(self.database.db.query("select origin, count(*) as n from runs group by origin"), key=str)
        return rows, sorted(self.judgements.rows(), key=str), acts, ways


@pytest.fixture
def server(tmp_path):
    """Makes servers with a new disk each, on one folder unless another place is given."""
    made = []

    def make(place=None):
        made.append(Server(tmp_path / f"{len(made)}.db", place or Folder(tmp_path / "outside")))
        return made[-1]

    yield make
    for one in made:
        one.database.close()


@pytest.fixture
def hub(monkeypatch):
    hub = StandInHub()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(places, "HfApi", lambda: HfApi(endpoint=hub.address))
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield hub
    hub.close()


def parts(folder):
    return sorted(path for path in folder.iterdir() if path.name.startswith("part-"))


def test_everything_comes_back_on_a_new_disk_and_is_written_once(server, tmp_path):
    one = server()
    one.snapshots.compact()
    assert one.snapshots.said() == "Everything is saved outside; nothing saved since the start."
    one.give("1", "2", "3", "4")
    one.votes.take([vote("5", hidden=1)])
    one.judgements.mark(judgement(right=True))
    one.judgements.mark(judgement(answer="seven"))
    one.snapshots.attempt()
    one.votes.hide("2", True, "spam")
    one.votes.hide("3", True, "spam"), one.votes.hide("3", False, "a mistake")
    one.judgements.mark(judgement(right=False))
    one.judgements.unmark(judgement(answer="seven"))
    one.snapshots.attempt()
    assert one.snapshots.said() == "Everything is saved outside; last saved less than a minute ago."
    for _ in range(3):
        one.snapshots.attempt()
    assert len(parts(tmp_path / "outside")) == 2, "nothing new, nothing written"
    other = server()
    assert other.state() == one.state()
    assert [row["battle"] for row in other.votes.rows()] == ["1", "3", "4"]
    assert len(other.votes.judgments(ways=("page",))) == 3, "they count as they came"
    other.snapshots.attempt()
    assert len(parts(tmp_path / "outside")) == 2, "what was read is not written again"


def test_parts_may_be_taken_in_any_order_and_many_times(server, tmp_path):
    one = server()
    rng = random.Random(0)
    for turn in range(30):
        one.give(f"{turn}", voter=f"v{turn % 3}", created=now())
        one.judgements.mark(judgement(voter=f"v{turn % 3}", answer=f"{turn % 2}", right=bool(rng.getrandbits(1))))
        if turn % 4 == 1:
            one.votes.hide(f"{turn}", True, f"why {turn}")
        if turn % 8 == 5:
            one.votes.hide(f"{turn}", False, f"not so {turn}")
            one.judgements.unmark(judgement(voter=f"v{turn % 3}", answer=f"{turn % 2}"))
        if turn == 20:
            one.votes.forget("v1")
        one.snapshots.attempt()
        if turn % 5 == 4 and one.votes.rows(battles=[f"{turn}"]):
            one.votes.explain(f"{turn}", ["safer"], "said after the vote was saved")
    one.snapshots.attempt()
    contents = [(path.name, unpack(path.read_bytes())) for path in parts(tmp_path / "outside")]
    for _ in range(4):
        two = server(Folder(tmp_path / "empty"))
        for name, records in rng.sample(contents, len(contents)) + contents[:5]:
            two.snapshots.store.take(name, records)
        assert two.state() == one.state()
    assert any(row["note"] for row in two.votes.rows())
    assert {row["voter"] for row in one.votes.rows(voter="v1")} == {"v1"}, "who was deleted may vote again"


def test_who_is_deleted_is_deleted_outside_as_well_and_on_other_servers(server, tmp_path):
    one, two = server(), server()
    one.give("1", voter="me"), one.give("2", voter="you")
    one.judgements.mark(judgement(voter="me", question="my question"))
    one.snapshots.attempt()
    two.give("3", voter="me", prompt="of two"), two.snapshots.attempt()
    assert len(two.votes.rows()) == 3, "servers read each other's parts"
    assert one.votes.forget("me") == 1
    one.snapshots.attempt()
    two.snapshots.attempt()
    for one_more in (one, two, server()):
        assert [row["voter"] for row in one_more.votes.rows()] == ["you"]
        assert not one_more.judgements.rows()
    told = b"".join(path.read_bytes() for path in parts(tmp_path / "outside"))
    assert b"prompt 1" in told, "old parts hold the text"
    one.snapshots.compact()
    [part] = parts(tmp_path / "outside")
    for text in (b"prompt 1", b"my question", b"of two"):
        assert text not in part.read_bytes()
    assert b"prompt 2" in part.read_bytes()
    assert server().state()[:2] == two.state()[:2] == one.state()[:2]


def test_two_servers_write_beside_each_other(server, tmp_path):
    one, two = server(), server()
    for turn in range(4):
        one.give(f"one {turn}"), two.give(f"two {turn}")
        one.snapshots.attempt(), two.snapshots.attempt()
    one.snapshots.attempt()
    assert len(parts(tmp_path / "outside")) == 8
    assert one.state() == two.state() == server().state()
    two.give("while one writes all anew")
    one.snapshots.compact()
    two.snapshots.attempt()
    assert len(parts(tmp_path / "outside")) == 2
    assert server().state() == two.state()


def test_two_servers_on_one_database_lose_nothing_to_one_another(server, tmp_path):
    """Each saves the same outbox, and a vote comes between the writing of a part and the noting of it."""
    one, two = server(), Server(tmp_path / "0.db", Folder(tmp_path / "outside"))
    command = VoteStore(Connection(tmp_path / "0.db"))

    class Slow(Folder):
        def write(self, parts, instead_of=()):
            super().write(parts, instead_of)
            turn = len(list(self.path.iterdir()))
            if turn < 8:
                two.give(f"meanwhile {turn}")
                two.snapshots.attempt()
                command.take([vote(f"imported {turn}")])
                command.hide(f"meanwhile {turn}", True, "spam")

    one.give("first")
    one.snapshots.place = Slow(tmp_path / "outside")
    one.snapshots.attempt()
    assert not one.snapshots.store.unsaved()
    two.give("last"), command.forget("v")
    forgotten = now()
    while now() == forgotten:  # A deletion takes what was given in its own millisecond, too.
        pass
    two.give("after", created=now()), two.snapshots.attempt()
    one.snapshots.attempt()
    assert not one.snapshots._error and not two.snapshots._error
    assert server().state() == one.state() == two.state()
    assert [row["battle"] for row in one.votes.rows()] == ["after"], "what was deleted stays so"


def test_a_disk_that_is_wiped_again_and_again_loses_what_was_not_saved_and_no_more(server):
    saved, rng, lost = set(), random.Random(1), 0
    for turn in range(8):
        now = server()
        assert {row["battle"] for row in now.votes.rows()} == saved
        for number in range(rng.randrange(1, 6)):
            now.give(f"{turn} {number}")
            if rng.random() < 0.5:
                now.snapshots.attempt()
                saved = {row["battle"] for row in now.votes.rows()}
        lost += len(now.votes.rows()) - len(saved)
    assert lost, "some were given after the last snapshot"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no snapshot of this version"),
        (b"\xff\xfe", "no snapshot of this version"),
        (b'{"format": "realign-playground snapshot 9"}\n', "no snapshot of this version"),
        (b"[1]\n", "no snapshot of this version"),
        (pack([{"kind": "vote", "imported": False, "vote": vote("1")}])[:-9], "checksum"),
        (pack([{"kind": "novelty"}]), "record 1"),
        (pack([{"kind": "vote", "imported": False, "vote": vote("1", seed=2**70)}]), "record 1"),
        (pack([{"kind": "vote", "imported": False, "vote": vote("1", options_a=[])}]), "record 1"),
        (pack([{"kind": "vote", "imported": False, "vote": vote("1", reasons=["prettier"])}]), "record 1"),
        (pack([{"kind": "vote", "imported": False, "vote": vote("1", created="<b>")}]), "record 1"),
        (pack([{"kind": "vote", "imported": False, "vote": vote("1", note="x" * (5 << 20))}]), "record 1"),
        (pack([{"kind": "deletion", "what": "voter", "key": "v", "created": "9"}]), "record 1"),
        (pack([{"kind": "act", "act": "hide", "target": "1", "reason": 5, "created": "9"}]), "record 1"),
    ],
    ids=range(13),
)
def test_what_is_wrong_with_a_part_is_said_and_the_others_are_taken(server, tmp_path, content, words):
    one = server()
    one.give("good")
    one.snapshots.attempt()
    (tmp_path / "outside" / "part-0-damaged.jsonl").write_bytes(content)
    (tmp_path / "outside" / "README.md").write_text("Of the owner.")
    (tmp_path / "outside" / "part-1-link.jsonl").symlink_to("/etc/passwd")
    two = server()
    assert [row["battle"] for row in two.votes.rows()] == ["good"]
    assert "The part part-0-damaged.jsonl is skipped" in two.snapshots.said()
    assert words in two.snapshots.said()
    assert "README" not in two.snapshots.said()
    with pytest.raises(Damaged):
        unpack(content)


def test_a_part_that_is_too_large_is_not_read(server, tmp_path, monkeypatch):
    monkeypatch.setattr("playground.service.snapshots.LARGEST", 1000)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "part-large.jsonl").write_bytes(b"x" * 1001)
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("it was read"))
    assert "1,001 bytes; at most 1,000" in server().snapshots.said()


def test_a_database_that_was_saved_elsewhere_is_saved_anew(server, tmp_path):
    one = server()
    one.give("1")
    one.snapshots.attempt()
    one.snapshots.place = Folder(tmp_path / "new")
    one.snapshots.store.begin(one.snapshots.place.name)
    one.snapshots.attempt()
    assert server(Folder(tmp_path / "new")).state() == one.state()


def test_a_place_that_was_emptied_is_filled_again(server, tmp_path):
    one, other = server(), server()
    one.give("1")
    one.snapshots.attempt(), other.snapshots.attempt()
    for part in parts(tmp_path / "outside"):
        part.unlink()
    one.snapshots.attempt(), other.snapshots.attempt()
    assert server().state() == one.state()
    assert len(parts(tmp_path / "outside")) == 1, "by the first who saw it"


def test_many_votes_are_several_parts(server, tmp_path, monkeypatch):
    monkeypatch.setattr("playground.store.snapshots._FULL", 10_000)
    one = server()
    one.give(*map(str, range(60)))
    one.snapshots.attempt()
    assert len(parts(tmp_path / "outside")) > 3
    assert max(path.stat().st_size for path in parts(tmp_path / "outside")) < 12_000
    assert server().state() == one.state()
    one.snapshots.compact()
    assert server().state() == one.state()


def test_the_hub_holds_parts_in_a_private_data_set_and_its_failures_cost_nothing(server, hub, monkeypatch, caplog):
    one = server(Dataset("someone/votes"))
    assert hub.made["visibility"] == "private"
    one.give("1")
    hub.mishaps = ["refuse"]
    one.snapshots.attempt()
    assert "1 vote is not yet saved outside" in one.snapshots.said()
    assert "The last try failed: The data set hf://datasets/someone/votes cannot be written" in one.snapshots.said()
    hub.mishaps = ["lose"]  # it is there, but nobody knows
    one.give("2")
    one.snapshots.attempt()
    assert len(hub.files) == 1
    hub.mishaps = ["drop"]
    one.snapshots.attempt()
    monkeypatch.setattr(places, "_SECONDS", 0.2)
    hub.mishaps = ["hang:0.5"]
    one.snapshots.attempt()
    assert "2 votes are not yet saved outside" in one.snapshots.said()
    one.snapshots.attempt()
    assert one.snapshots.said().startswith("Everything is saved outside")
    assert len(hub.files) == 2, "each vote is in one part"
    hub.files["part-0.jsonl"] = b"foreign"
    two = server(Dataset("someone/votes"))
    assert two.state() == one.state()
    assert "part-0.jsonl is skipped" in two.snapshots.said()
    two.snapshots.compact()
    assert len(hub.files) == 2, "all in one part, beside the foreign one"
    assert hub.squashed, "the history does not keep what was deleted"
    assert server(Dataset("someone/votes")).state() == one.state()
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in caplog.text


def test_a_server_starts_without_the_hub_and_reads_the_votes_when_it_is_there(server, hub):
    one = server(Dataset("someone/votes", "arena"))
    one.give("1")
    one.snapshots.attempt()
    assert next(iter(hub.files)).startswith("arena/part-")
    hub.down = True
    two = server(Dataset("someone/votes", "arena"))
    assert "Earlier votes are not all here yet." in two.snapshots.said()
    two.give("2")
    hub.down = False
    two.snapshots.attempt()
    assert {row["battle"] for row in two.votes.rows()} == {"1", "2"}
    assert "Earlier" not in two.snapshots.said()


def test_the_thread_saves_when_there_is_much_when_asked_and_at_the_end(tmp_path):
    settings = Settings(snapshots=str(tmp_path / "outside"), snapshot_seconds=10_000)
    database = Connection(tmp_path / "x.db")
    snapshots = Snapshots(database, settings)
    snapshots.start()
    assert snapshots.said() == "Everything is saved outside; nothing saved since the start."
    with database.writing():
        VoteStore(database).insert(vote("1"), "arena")
    assert snapshots.said().startswith("1 vote is not yet saved outside;")
    write, failures = snapshots.place.write, [UserError("The folder is full.")]

    def fail_once(*parts):
        if failures:
            raise failures.pop()
        write(*parts)

    snapshots.place.write = fail_once
    snapshots.close()
    assert snapshots.said() == "Everything is saved outside; last saved less than a minute ago."
    assert len(parts(tmp_path / "outside")) == 1
    database.close()


def test_places_are_told_apart_and_bad_ones_refused_in_words(tmp_path):
    assert isinstance(place_of(str(tmp_path)), Folder)
    assert place_of("hf://datasets/some/votes/").name == "hf://datasets/some/votes"
    assert place_of("hf://datasets/some/votes/arena").folder == "arena"
    for bad in ("hf://datasets/votes", "hf://some/votes", "s3://bucket", "hf://datasets/a b/c", "hf://datasets/../x"):
        with pytest.raises(UserError, match="hf://datasets/OWNER/NAME"):
            place_of(bad)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be read"):
        Folder(tmp_path / "file").parts()


def test_a_token_is_in_no_sentence(monkeypatch):
    place = Dataset("someone/votes")

    def refuse(*_, **__):
        raise ValueError("Illegal header value b'Bearer hf_abcDEF\\n'")

    monkeypatch.setattr(place._api, "create_repo", refuse)
    with pytest.raises(UserError) as told:
        place.parts()
    assert "hf_abc" not in str(told.value)
    assert json.dumps(str(told.value))
