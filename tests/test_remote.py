"""Laws of the protocol between runs and what writes their lanes, over both: the engine here, and replicas behind a wire
that pickles all that passes. Ray itself is proved by hand: python -m tests.replicas."""

import asyncio
import json
import pickle
import shutil
import sys
import threading

import pytest

from playground.decoders import DECODERS
from playground.errors import UserError
from playground.models.specs import read_catalogue
from playground.service import Continuation, Playground
from playground.service.remote import TRIES, Part, Prepared, Remote, RemoteLane, RemoteOrder, Replica, Update
from playground.settings import Settings
from tests.browser import run_beside
from tests.decoders.test_laws import BRANCHING
from tests.tiny import make_adapter, make_catalogue, make_value


class Died(Exception):
    """A replica is gone."""


class Wire:
    """A link to two replicas in this process, in turns. deaths: how many streams break, after so many updates each."""

    lost = (Died,)

    def __init__(self, settings: Settings):
        self.replicas = [
            Replica(settings, pickle.loads(pickle.dumps(read_catalogue(settings.catalogue))), pickle.loads)
        ]
        self.replicas.append(Replica(settings, read_catalogue(settings.catalogue), pickle.loads))
        self.deaths: list[int] = []
        self.begun = 0
        self.shared = 0
        self.stopped: list[str] = []

    def share(self, files):
        self.shared += 1
        return pickle.dumps(files)

    def check(self, order: RemoteOrder):
        return through(self.replicas[0].check(through(order)))

    def write(self, order: RemoteOrder):
        self.begun += 1
        alive = self.deaths.pop() if self.deaths else None
        for number, update in enumerate(self.replicas[self.begun % 2].write(through(order))):
            if number == alive:
                raise Died
            yield through(update)

    def stop(self, id: str) -> None:
        self.stopped.append(id)
        with pytest.raises(RuntimeError):  # Ray's own stop refuses to be called from a server's loop
            asyncio.get_running_loop()
        for replica in self.replicas:
            replica.stop(id)

    def close(self) -> None:
        for replica in self.replicas:
            replica.close()


def through(thing):
    """As it comes out at the other end of a wire."""
    return pickle.loads(pickle.dumps(thing))


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A service whose lanes replicas write; its own models are not loaded."""
    folder = tmp_path_factory.mktemp("far")
    catalogue = make_catalogue(folder)
    settings = Settings(catalogue, folder / "cache", ":memory:", precision="fp32", kv_megabytes=32)
    playground = Playground(settings)
    playground.backend = Remote(playground.memory, Wire(settings))
    yield playground
    playground.close()


@pytest.fixture(scope="module")
def near(far):
    """The same with the engine of this process."""
    playground = Playground(far.settings)
    yield playground
    playground.close()


def lane_of(method: str) -> str:
    options = ",".join(f"{name}={value}" for name, value in BRANCHING.get(method, {}).items())
    return f"{method}:{options}" if options else method


def without_seconds(run) -> list[dict]:
    """The lanes as JSON has them, without what depends on the clock."""
    lanes = json.loads(json.dumps(run["lanes"]))
    for lane in lanes:
        del lane["cost"]["seconds"]
    return lanes


@pytest.mark.parametrize("method", DECODERS)
def test_replicas_give_the_record_that_the_engine_here_gives(far, near, request_of, method):
    asked = request_of(lane_of(method), seed=5, max_new_tokens=9)
    there, here = far.compare(asked), near.compare(asked)
    assert here["status"] == "done"
    assert without_seconds(there) == without_seconds(here)
    assert without_seconds(far.open_run(there["id"])) == without_seconds(there)
    assert not far.memory.are_ready("reference"), "nothing is loaded on the near side"


def test_a_branch_goes_on_from_known_tokens(far, near, request_of):
    [whole] = near.compare(request_of("sample", seed=4, max_new_tokens=12))["lanes"]
    again = request_of("sample", seed=4, max_new_tokens=12)
    [lane] = again.lanes
    lane = lane.model_copy(update={"begin": tuple(whole["token_ids"][:5])})
    again = again.model_copy(update={"lanes": (lane,)})
    runs = [service.start(again, continuation=Continuation(((whole, "x"),), 0, 5)) for service in (far, near)]
    for run in runs:
        run.wait(60)
    there, here = (without_seconds(run.result()) for run in runs)
    assert there == here
    assert there[1]["detail"]["fork"] == {"lane": 0, "at": 5}


@pytest.mark.parametrize("after", [0, 1])
def test_a_lane_of_a_replica_that_died_is_written_again(far, near, request_of, after):
    asked = request_of("sample", seed=6, max_new_tokens=40)
    link, before = far.backend.link, far.backend.link.begun
    link.deaths = [after]
    there = far.compare(asked)
    assert link.begun == before + 2
    assert without_seconds(there) == without_seconds(near.compare(asked))


def test_what_was_shown_stays_until_the_new_lane_is_as_far():
    def update(first: int, count: int, last: bool = False) -> Update:
        tokens = [{"id": number} for number in range(first, count)]
        record = {"cost": {"generated_tokens": count}, "detail": {"tokens": tokens}, "status": "writing", "error": None}
        return Update(record, first, last)

    class Script:
        lost = (Died,)
        streams = [[update(0, 2), update(2, 4)], [update(0, 1), update(1, 3), update(3, 5), update(0, 6, last=True)]]

        def write(self, order):
            yield from self.streams.pop(0)
            if self.streams:
                raise Died

    shown, over = [], threading.Event()
    lane = RemoteLane(RemoteOrder("id", None, {}), Prepared(update(0, 0).record, 3), Script())
    lane.begin(lambda: shown.append([token["id"] for token in lane.result()["detail"]["tokens"]]), over.set)
    assert over.wait(60)
    assert shown == [list(range(count)) for count in (2, 4, 4, 4, 5)]
    assert len(lane.result()["detail"]["tokens"]) == 6


def test_a_lane_that_kills_every_replica_fails_in_words(far, request_of):
    far.backend.link.deaths = [1] * TRIES
    [lane] = far.compare(request_of("sample", max_new_tokens=50))["lanes"]
    assert lane["status"] == "failed"
    assert "replicas died" in lane["error"]


def test_a_stopped_lane_keeps_what_it_has_also_if_its_replica_dies(far, request_of):
    for deaths in ([], [2]):
        far.backend.link.deaths = deaths
        run = far.start(request_of("sample", max_new_tokens=1500))
        for _ in run.watch(lambda: 0.01):
            if run.result()["lanes"][0]["token_ids"]:
                run.stop()
        [lane] = far.open_run(run.id)["lanes"]
        assert lane["status"] in ("stopped", "done")
        assert len(lane["detail"]["tokens"]) == len(lane["token_ids"]) >= 1


def test_a_run_is_stopped_from_a_loop_and_not_at_all_once_it_is_over(far, request_of):
    async def stop(run):
        run.stop()

    run = far.start(request_of("sample", max_new_tokens=1500))
    run_beside(stop(run))
    run.wait(60)
    assert run.status in ("stopped", "done")
    run = far.start(request_of("greedy", max_new_tokens=4))
    run.wait(60)
    run.stop()
    assert run.lanes[0]._order.id not in far.backend.link.stopped


def test_what_cannot_be_written_is_refused_before_it_begins(far, near, request_of):
    for asked in (
        request_of("greedy", prompt="q!z?" * 1000),
        request_of("greedy:variant=nobody"),
        request_of("greedy:begin=999"),
    ):
        said = []
        for service in (far, near):
            with pytest.raises(UserError) as refused:
                service.start(asked)
            said.append(str(refused.value))
        assert said[0] == said[1]
    assert not far._running


def test_what_fails_inside_a_method_is_the_same_sentence(far, near, request_of):
    lanes = [
        service.compare(request_of("cbs:scorer=value_harmless(model=reference)"))["lanes"][0] for service in (far, near)
    ]
    assert [lane["status"] for lane in lanes] == ["failed", "failed"]
    assert lanes[0]["error"] == lanes[1]["error"]


def test_new_weights_reach_replicas_by_their_digest_once(far, near, request_of):
    """An adapter that was trained after the replicas began, in a folder that they do not have."""
    root = far.settings.adapters
    make_adapter(root / "fresh", far.settings.catalogue.parent / "tiny", seed=11)
    shared = far.backend.link.shared
    asked = request_of("greedy:variant=fresh", max_new_tokens=12)
    there = far.compare(asked)
    assert without_seconds(there) == without_seconds(near.compare(asked))
    assert "adapter" in there["lanes"][0]["models"]["fresh"]
    assert without_seconds(far.compare(asked)) == without_seconds(there)
    assert far.backend.link.shared == shared + 1
    read = {replica.local.catalogue.variant("fresh").adapter for replica in far.backend.link.replicas}
    assert root / "fresh" not in read, "they read what was sent"
    (root / "fresh" / "note.json").write_text("{}")
    far.compare(asked)
    assert far.backend.link.shared == shared + 2
    shutil.copy(
        make_adapter(root.parent / "other", far.settings.catalogue.parent / "tiny", seed=12)
        / "adapter_model.safetensors",
        root / "fresh",
    )
    with pytest.raises(UserError, match="were changed after replicas had read them"):
        far.start(asked)


def test_a_digest_is_that_of_names_and_contents(far, tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        make_value(tmp_path / name, seed)
    one, same, other = (far.backend._part(tmp_path / name) for name in ("one", "same", "other"))
    assert isinstance(one, Part)
    assert one.digest == same.digest != other.digest


def test_an_unknown_engine_and_a_bad_number_of_replicas_are_refused(monkeypatch):
    for name, value in (("ENGINE", "vllm"), ("REPLICAS", "0"), ("REPLICAS", "3-2"), ("REPLICAS", "many")):
        with monkeypatch.context() as patch:
            patch.setenv(f"PLAYGROUND_{name}", value)
            with pytest.raises(UserError, match=f"PLAYGROUND_{name} is '{value}'; it must be"):
                Settings()
    monkeypatch.setenv("PLAYGROUND_REPLICAS", "1-8")
    assert Settings().replicas == (1, 8)


def test_without_ray_the_page_says_what_to_install(far, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "playground.service.replicas", raising=False)
    playground = Playground(Settings(catalogue=far.settings.catalogue, database=":memory:", engine="ray"))
    with pytest.raises(UserError, match="package ray is not installed; install it: pip install -r requirements-ray"):
        playground.replicate()
    playground.close()
