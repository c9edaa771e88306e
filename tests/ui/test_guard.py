"""What stands before the page: hosts, origins, headers, tokens, unread runs, caps."""

import asyncio
import html
import socket
import threading
import time
from collections import defaultdict, deque
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import gradio as gr
import httpx
import pytest
from playwright.sync_api import expect

from playground.errors import UserError
from playground.service import Person, Playground
from playground.service import crowd as crowds
from playground.service.crowd import Crowd, Limits
from playground.settings import Settings
from playground.ui import guard, sessions
from playground.ui.page import serve
from playground.ui.sessions import person_of
from tests.browser import run_beside
from tests.endurance import Refused, call

ME, YOU = Person("here", "1"), Person("there", "2")


def soon(happens):
    """Whether something happens within a minute."""
    for _ in range(1200):
        if happens():
            return True
        time.sleep(0.05)
    return False


class Hub(BaseHTTPRequestHandler):
    """Another site, whose page shows in a frame what its query names."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        source = html.escape(unquote(urlsplit(self.path).query))
        self.wfile.write(f'<!doctype html><iframe src="{source}" style="width: 100%; height: 860px">'.encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def hub():
    """The port of another site: known under the name localhost only."""
    server = ThreadingHTTPServer(("0.0.0.0", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


@contextmanager
def serving(catalogue, **settings):
    """A server over the tiny model, and its address."""
    playground = Playground(Settings(catalogue=catalogue, database=":memory:", precision="fp32", **settings))
    page, address = serve(port=None, playground=playground, block=False)
    yield playground, address.rstrip("/")
    page.close()
    playground.close()


@pytest.fixture(scope="module")
def served(tiny_catalogue, hub):
    with serving(tiny_catalogue, hosts=("arena.example",), frames=(f"http://localhost:{hub}",)) as server:
        yield server


@pytest.fixture
def client(served):
    with httpx.Client(base_url=served[1], timeout=60) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "status"), [("evil.example", 421), ("", 421), ("arena.example", 200), ("10.0.0.7:80", 200)]
)
def test_only_known_hosts_are_served(client, host, status):
    answer = client.get("/config", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert "PLAYGROUND_HOSTS" in answer.text


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://192.168.0.9"])
def test_a_foreign_page_may_neither_read_nor_act(client, origin):
    headers = {"origin": origin, "host": "arena.example"}
    read = client.get("/config", headers=headers)
    assert "access-control-allow-origin" not in read.headers
    assert "access-control-allow-credentials" not in read.headers
    ask = client.options("/config", headers=headers | {"access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in ask.headers
    act = client.post("/gradio_api/call/methods", json={"data": []}, headers=headers)
    assert act.status_code == 403


def test_a_page_of_this_server_may_act(client):
    headers = {"origin": "https://arena.example", "host": "arena.example"}
    assert client.post("/gradio_api/call/methods", json={"data": []}, headers=headers).status_code == 200


def test_browsers_are_told_what_the_page_may_do_and_who_may_frame_it(client):
    told = client.get("/").headers
    assert told["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'self'" in told["content-security-policy"]
    assert "default-src 'self'" in told["content-security-policy"]


def test_the_page_travels_packed(client):
    answer = client.get("/", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) < len(answer.content) / 3


def test_a_forwarded_host_is_not_copied_into_the_page(client):
    assert "evil.example" not in client.get("/", headers={"x-forwarded-host": "evil.example"}).text


def test_agents_find_nothing_unless_they_are_to(client):
    assert client.get("/gradio_api/mcp/schema").status_code == 404


def test_a_run_that_nobody_reads_ends(served, client, monkeypatch):
    playground, _ = served
    monkeypatch.setattr(crowds, "UNREAD_SECONDS", 1.0)
    client.post("/gradio_api/call/compare", json={"data": ["the fox", ["best_of_n:n=32", "sample"], 0, 1500]})
    assert soon(lambda: playground.crowd.under_way)
    assert soon(lambda: not playground.crowd.under_way)


def test_a_run_that_is_read_goes_on(served, client, monkeypatch):
    monkeypatch.setattr(crowds, "UNREAD_SECONDS", 0.0)
    assert call(client, "compare", "the fox", ["best_of_n:n=8"], 0, 400)["status"] == "done"


def test_too_much_at_once_is_refused_at_once_and_others_are_served(served, client, monkeypatch):
    playground, _ = served
    monkeypatch.setattr(playground.crowd, "limits", Limits(lanes=1))
    with pytest.raises(Refused, match="2 more"):
        call(client, "compare", "the fox", ["greedy", "greedy"])
    assert call(client, "compare", "the fox", ["greedy"], 0, 4)["status"] == "done"


def test_caps_are_each_groups_own_and_free_again_after_the_run():
    crowd = Crowd(Limits(lanes=4, tokens=100))
    with crowd.enter(ME, 3, 10):
        with pytest.raises(UserError, match="3 lanes"), crowd.enter(ME._replace(session="9"), 2, 10):
            pass
        with pytest.raises(UserError, match="10 tokens"), crowd.enter(ME, 1, 91):
            pass
        with crowd.enter(YOU, 4, 100), crowd.enter(ME, 1, 1):
            pass
    with crowd.enter(ME, 4, 100):
        pass


def place(ticket):
    """How many runs are before this one; None if it may begin."""
    return next(ticket.places(), None)


def test_one_group_cannot_fill_the_room_and_the_line_counts_down():
    crowd, room = Crowd(Limits(at_once=4)), ExitStack()
    mine = [room.enter_context(crowd.enter(ME._replace(session=str(n)), 2, 1)) for n in range(5)]
    assert [place(ticket) for ticket in mine] == [None, None, 0, 1, 2]
    with crowd.enter(YOU, 3, 1) as yours, crowd.enter(Person("else", "3"), 2, 1) as theirs:
        assert (place(yours), place(theirs)) == (None, 0), "of all groups eight lanes run, and this comes before mine"
        counted = theirs.places()
        assert next(counted) == 0
        mine[0].stop()
        mine[3].stop()
        assert place(mine[4]) == 2, "who was stopped while waiting has left the line"
    assert place(mine[2]) is None, "room was made for the next"
    assert list(counted) == []
    room.close()
    assert not crowd.under_way


def test_one_address_leaves_room_in_the_line_and_is_not_in_anybodys_way():
    crowd = Crowd()
    with ExitStack() as room:
        for n in range(48):
            room.enter_context(crowd.enter(ME._replace(session=str(n)), 1, 1))
        with pytest.raises(UserError, match="48 lanes"):
            room.enter_context(crowd.enter(ME, 1, 1))
        assert crowd.under_way < crowd.limits.waiting
        assert place(room.enter_context(crowd.enter(YOU, 6, 1))) is None


def test_people_take_turns_in_the_line():
    crowd = Crowd(Limits(at_once=1))
    with ExitStack() as room:

        def asks(group, session):
            return room.enter_context(crowd.enter(Person(group, session), 1, 1))

        for group in ("one", "two"):
            asks(group, "running")
        hog = [asks("many", "hog") for _ in range(5)]
        neighbour, honest = asks("many", "neighbour"), asks("honest", "1")
        line = [place(ticket) for ticket in (hog[0], honest, neighbour, *hog[1:])]
        assert line == [0, 1, 2, 3, 4, 5, 6]


def test_the_line_has_an_end_and_nobody_waits_for_ever():
    crowd = Crowd(Limits(at_once=1, waiting=2))
    with crowd.enter(ME, 1, 1), crowd.enter(ME, 1, 1) as waiting, crowd.enter(ME, 1, 1):
        with pytest.raises(UserError, match="2 runs wait already"), crowd.enter(YOU, 1, 1):
            pass
        crowd.limits = Limits(at_once=1, patience=0)
        with pytest.raises(UserError, match="too busy to begin"):
            waiting.wait()


def test_who_waits_and_reads_no_longer_leaves_the_line(monkeypatch):
    monkeypatch.setattr(crowds, "UNREAD_SECONDS", 0.0)
    crowd = Crowd(Limits(at_once=1))
    crowd.unread_since = lambda session: 0.0 if session == "gone" else None
    with (
        crowd.enter(ME, 1, 1),
        crowd.enter(ME._replace(session="gone"), 1, 1) as gone,
        crowd.enter(ME, 1, 1) as next_one,
    ):
        gone.wait()
        assert gone.stopped and place(next_one) == 0


def test_what_takes_too_long_is_stopped():
    crowd = Crowd(Limits(seconds=0))
    with crowd.enter(ME, 1, 1) as ticket:
        assert soon(lambda: ticket.stopped)


def test_an_hours_count_is_each_groups_own():
    crowd = Crowd()
    for _ in range(3):
        crowd.count(ME, "battles", 3)
    with pytest.raises(UserError, match="within an hour"):
        crowd.count(ME, "battles", 3)
    crowd.count(YOU, "battles", 3)


def asked(address, *forwarded):
    scope = {"type": "http", "headers": [(b"x-forwarded-for", line.encode()) for line in forwarded]}
    from fastapi import Request

    return gr.Request(Request(scope | {"client": (address, 1)}), session_hash="s")


def test_people_are_told_apart_by_address_and_none_is_kept(tiny, monkeypatch):
    def group(*where):
        return person_of(tiny, asked(*where)).group

    assert group("1.2.3.4") == group("1.2.3.4", "9.9.9.9") != group("1.2.3.5"), "anybody can write that header"
    assert group("2001:db8::1") == group("2001:db8::2") != group("2001:db8:0:1::1")
    assert "1.2.3.4" not in group("1.2.3.4")
    monkeypatch.setattr(tiny, "settings", Settings(proxies=1))
    assert group("10.0.0.1", "6.6.6.6, 1.2.3.4") == group("10.0.0.2", "1.2.3.4") != group("10.0.0.1", "6.6.6.6")
    assert group("10.0.0.1", "6.6.6.6", "1.2.3.4") == group("10.0.0.2", "1.2.3.4"), "the proxy's own line is the last"


def test_an_invented_address_is_nobody_elses_from_this_machine_either(served, client, monkeypatch):
    crowd = served[0].crowd
    monkeypatch.setattr(crowd, "_done", defaultdict(deque))
    for number in range(3):
        client.post("/gradio_api/run/visitor", json={"data": []}, headers={"x-forwarded-for": f"9.9.9.{number}"})
    assert [len(times) for times in crowd._done.values()] == [3]


def test_training_and_the_owners_acts_need_the_token(served, client):
    playground, _ = served
    config = client.get("/config").json()
    names = {"start": "train-start", "stop": "train-stop", "hide": "owner-hide", "forget": "owner-delete"}
    ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
    values = {c["id"]: c["props"].get("value") for c in config["components"]}
    for name in names.values():
        [event] = [
            d
            for d in config["dependencies"]
            if [ids[name], "click"] in d["targets"] or (ids[name], "click") in map(tuple, d["targets"])
        ]
        body = {"data": [values.get(i) for i in event["inputs"]], "fn_index": event["id"], "session_hash": f"s{name}"}
        client.post("/gradio_api/queue/join", json=body).raise_for_status()
        told = client.get("/gradio_api/queue/data", params={"session_hash": f"s{name}"}).text
        assert "PLAYGROUND_OWNER_TOKEN" in told
    with pytest.raises(UserError, match="owner's token"):
        playground.check_owner("guess")
    playground.check_owner(playground.owner_token)


def test_every_start_makes_another_token(tiny, served):
    assert tiny.owner_token != served[0].owner_token
    assert len(tiny.owner_token) >= 32


def test_invented_visitors_are_refused_and_given_ones_play(client):
    with pytest.raises(Refused, match="not of this server"):
        call(client, "battle", "somebody", "")
    visitor = call(client, "visitor")
    battle = call(client, "battle", visitor, None)
    assert call(client, "vote", visitor, battle["battle"], "a")["choice"] == "a"
    with pytest.raises(Refused, match="must be a text"):
        call(client, "battle", visitor, {})


def test_an_endpoint_without_its_needed_arguments_says_what_it_takes(client):
    with pytest.raises(Refused, match="prompt, lanes, seed"):
        call(client, "compare")


NOTHING_IS_KEPT = """if (window !== window.top) for (const name of ['localStorage', 'sessionStorage'])
    Object.defineProperty(window, name, {
        configurable: true, get() { throw new DOMException('The operation is insecure.', 'SecurityError'); } })"""


@pytest.fixture
def framed(served, hub, chromium):
    """Opens the page in the frame of another site, in which nothing can be stored; errors in it fail the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.add_init_script(NOTHING_IS_KEPT)
    wrong = []
    context.on("weberror", lambda e: wrong.append(str(e.error)))

    def open_in(site):
        tab = context.new_page()
        told = ("error", "Blocked autofocusing")
        tab.on("console", lambda m: wrong.append(m.text) if m.type == told[0] and told[1] not in m.text else None)
        tab.set_default_timeout(60_000)
        tab.goto(f"http://{site}:{hub}/?{served[1]}")
        return tab, wrong

    yield open_in
    context.close()


def test_in_the_frame_of_a_known_site_that_stores_nothing_one_compares_and_votes(framed, served, monkeypatch):
    crowd = served[0].crowd
    monkeypatch.setattr(crowd, "limits", Limits(at_once=1))
    tab, wrong = framed("localhost")
    page = tab.frame_locator("iframe")
    expect.set_options(timeout=60_000)
    expect(page.locator(".lane-controls")).to_have_count(2)
    page.locator("#prompt textarea").fill("the fox")
    with crowd.enter(ME, 1, 1), crowd.enter(YOU, 1, 1):
        with crowd.enter(Person("else", "3"), 1, 1):
            page.locator("#run").click()
            expect(page.locator(".queued")).to_have_text("1 run is before yours; it begins by itself.")
        expect(page.locator(".queued")).to_have_text("Your run is the next one; it begins by itself.")
    expect(page.locator(".lane .state.done")).to_have_count(2)
    page.locator("#theme").click()
    before = served[0].database.db["votes"].count  # other tests vote, too
    page.get_by_role("tab", name="Arena").click()
    page.locator("#new-battle").click()
    page.locator("#vote-a").click()
    expect(page.locator(".stage .won")).to_have_count(1)
    page.locator("#new-battle").click()
    expect(page.locator("#vote-b")).to_be_enabled()
    page.locator("#vote-b").click()
    page.locator("#leaderboard > button").click()
    expect(page.locator("#leaderboard-said")).to_contain_text(f"{before + 2} votes")
    votes = served[0].database.db.query("select voter from battles order by rowid desc limit 2")
    assert len({row["voter"] for row in votes}) == 1, "one visitor for the length of the page"
    link = page.get_by_role("link", name="Open in its own tab")
    with tab.context.expect_page() as opened:
        link.click()
    assert "run=" in opened.value.url and opened.value.url.startswith(served[1])
    expect(opened.value.get_by_role("link", name="Open in its own tab")).to_be_hidden()
    assert not wrong


def test_another_site_cannot_frame_the_page(framed):
    tab, wrong = framed("127.0.0.2")
    tab.wait_for_timeout(500)
    assert "frame-ancestors" in "".join(wrong)
    assert tab.frames[1].url.startswith("chrome-error:")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("call/methods", b'{"data": [NaN]}', 400),
        ("call/methods", b'{"data": [1e999]}', 400),
        ("call/methods", rb'{"data": "\ud800"}', 400),
        ("call/methods", b"\xff\xfe", 400),
        ("queue/join", b"[" * 100_000, 400),
        ("queue/join", b"[]", 400),
        ("component_server", b'{"session_hash": "h", "component_id": -1, "fn_name": "x", "data": 1}', 400),
        ("component_server", b'{"session_hash": "h", "component_id": [], "fn_name": 1, "data": {}}', 400),
        ("call/nobody", b'{"data": []}', 400),
        ("call/v2/compare", b'{"nobody": 1}', 400),
        ("run/battle", b'{"data": []}', 422),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(client, capfd, path, body, status):
    answer = client.post(f"/gradio_api/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert len(answer.text.split()) > 2
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["/svelte/" + "a" * 9000, "/gradio_api/heartbeat/%00", "/gradio_api/file=%0a"])
def test_an_address_that_cannot_be_looked_up_is_refused_in_words(client, capfd, path):
    answer = client.get(path)
    assert answer.status_code == 400 and len(answer.text.split()) > 3
    assert "Traceback" not in capfd.readouterr().err


def test_a_visitor_of_a_wrong_kind_asks_for_nothing_that_breaks(served, client, capfd):
    [ask] = [d for d in client.get("/config").json()["dependencies"] if d["api_name"] == "ask_2"]
    body = {"data": [2**63, "%s%n", None, -8.0, 0.25, 10, "answers"], "fn_index": ask["id"], "session_hash": "odd"}
    client.post("/gradio_api/queue/join", json=body).raise_for_status()
    client.get("/gradio_api/queue/data", params={"session_hash": "odd"})
    assert "Traceback" not in capfd.readouterr().err


def test_too_large_a_body_and_a_file_without_a_name_are_refused(client, capfd, monkeypatch):
    monkeypatch.setattr(guard, "LARGEST_BODY", 100)
    assert client.post("/gradio_api/call/methods", content=b"[" * 101).status_code == 400
    assert client.post("/gradio_api/upload", files={"files": ("", b"x")}).status_code == 400
    as_files = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/gradio_api/call/methods", content=b"[" * 101, headers=as_files).status_code == 400
    assert "Traceback" not in capfd.readouterr().err


def test_a_body_that_does_not_come_is_not_waited_for(client, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) as slow:
        slow.sendall(b"POST /gradio_api/call/methods HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_what_one_address_may_upload_is_limited_in_all(served, client, monkeypatch):
    monkeypatch.setattr(served[0].crowd, "_done", defaultdict(deque))

    def upload(*files):
        return client.post("/gradio_api/upload", files=[("files", ("a.json", file)) for file in files])

    monkeypatch.setattr(sessions, "UPLOADED_MIB_AN_HOUR", 3)
    assert upload(b"one").status_code == 200
    monkeypatch.setattr(guard, "LARGEST_UPLOAD", 1000)
    assert upload(b"a" * 500, b"b" * 500).status_code == 413, "together they are too large"
    endless = client.post("/gradio_api/upload", content=iter([b"x"]), headers={"content-type": "multipart/form-data"})
    assert endless.status_code == 413 and "Content-Length" in endless.text
    monkeypatch.setattr(guard, "LARGEST_UPLOAD", 16 << 20)
    assert upload(b"a" * (1 << 20)).status_code == 200
    refused = upload(b"one")
    assert refused.status_code == 413 and "3 MiB of files" in refused.text


@pytest.mark.parametrize("path", ["call/compare/nobody", "queue/data?session_hash=nobody", "queue/data?session_hash="])
def test_a_stream_of_nobody_ends_in_words(client, capfd, path):
    told = client.get(f"/gradio_api/{path}").text
    assert "404" in told or "session_not_found" in told
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("value", [{}, -1, "<b>"])
def test_every_event_answers_in_words_to_values_of_a_wrong_kind(client, capfd, value):
    for event in client.get("/config").json()["dependencies"]:
        session = f"wrong-{event['id']}-{value}"
        body = {"data": [value] * len(event["inputs"]), "fn_index": event["id"], "session_hash": session}
        client.post("/gradio_api/queue/join", json=body | {"event_data": value}).raise_for_status()
        told = client.get("/gradio_api/queue/data", params={"session_hash": session}).text
        assert '"error":null' not in told, event["api_name"]
        assert "Traceback" not in capfd.readouterr().err, event["api_name"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/gradio_api/queue/data"])
def test_a_stream_whose_reader_takes_nothing_ends(monkeypatch, path):
    monkeypatch.setattr(guard, "UNREAD_SECONDS", 0.01)
    ended = []

    async def app(scope, receive, send):
        try:
            kind = (b"content-type", b"text/event-stream; charset=utf-8")
            await send({"type": "http.response.start", "status": 200, "headers": [kind]})
            await send({"type": "http.response.body", "body": b"data", "more_body": True})
        finally:
            ended.append(True)

    async def never(message):
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"session_hash=me"}
    stands = guard.Guard(app, None, "localhost")
    run_beside(stands(scope | {"headers": [(b"host", b"localhost")]}, None, never))
    assert ended and stands.unread_since("me") is not None
