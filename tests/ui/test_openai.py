"""Other front doors: the endpoints under /v1, by the client that people use for them, and the tools of agents."""

import ast
import dataclasses
import json
import math
import socket
import threading
import time
from collections import Counter

import httpx
import openai
import pytest
from gradio_client import Client
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from playground.branch.branch import SHOWN
from playground.engine.runner import Runner
from playground.requests import LaneRequest
from playground.service import crowd as crowds
from playground.service.crowd import Limits
from playground.ui import endpoint, guard
from playground.ui.openai import asked, routes, told
from tests.browser import run_beside
from tests.endurance import call
from tests.ui.test_guard import serving, soon

FOX = [{"role": "user", "content": "the fox"}]


@pytest.fixture(scope="module")
def served(tiny_catalogue):
    with serving(tiny_catalogue, mcp=True) as server:
        yield server


@pytest.fixture
def client(served):
    with openai.OpenAI(base_url=f"{served[1]}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def chat(client, model, messages=FOX, **fields):
    return client.chat.completions.create(model=model, messages=messages, **{"max_tokens": 12, **fields})


def in_pieces(stream):
    """(the chunks, the text of each choice, the end of each choice) of a stream."""
    chunks, texts, ends = list(stream), {}, {}
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        written = choice.delta.content if hasattr(choice, "delta") else choice.text
        texts[choice.index] = texts.get(choice.index, "") + (written or "")
        if choice.finish_reason:
            ends[choice.index] = choice
    return chunks, texts, ends


def test_methods_and_models_are_listed(client, served):
    models = {model.id: model for model in client.models.list()}
    assert models["dera"].options["lambda_"] == 0.5 and models["dera"].description
    assert {"greedy", "rain", "reference", "quarter"} <= set(models) and "evaluator" not in models
    assert client.models.retrieve("dera:lambda_=0.3").id == "dera:lambda_=0.3"
    assert not any(models["dera"].info["meta"]["capabilities"].values()), "else Open WebUI sends tools"
    with pytest.raises(openai.NotFoundError, match="no method 'gpt-4o'"):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("model", "fields", "lane"),
    [
        ("greedy", {}, "greedy"),
        ("dera:lambda_=0.25", {"temperature": 0.8, "top_p": 0.9}, "dera:lambda_=0.25,temperature=0.8,top_p=0.9"),
        ("adapted", {}, "greedy:variant=adapted"),
        ("adapted", {"temperature": 1.5}, "sample:variant=adapted,temperature=1.5"),
        ("quarter", {"extra_body": {"method": "best_of_n", "options": {"n": 2}}}, "best_of_n:variant=quarter,n=2"),
    ],
)
def test_the_answer_is_that_of_compare(client, served, model, fields, lane):
    answer = chat(client, model, seed=7, **fields)
    with httpx.Client(base_url=served[1], timeout=60, verify=False) as plain:
        [same] = call(plain, "compare", "the fox", [lane], 7, 12)["lanes"]
    [choice] = answer.choices
    assert choice.playground["token_ids"] == same["token_ids"]
    assert choice.message.content == same["text"]
    streamed = in_pieces(chat(client, model, seed=7, stream=True, **fields))
    assert streamed[1] == {0: same["text"]}
    assert streamed[2][0].finish_reason == choice.finish_reason
    cost = {name: value for name, value in same["cost"].items() if name != "seconds"}
    assert answer.usage.model_extra.items() >= cost.items()
    assert answer.usage.completion_tokens == len(same["token_ids"])
    assert answer.usage.prompt_tokens == len(served[0].memory.encode("reference", "the fox", 12, "The prompt"))


def test_a_stream_comes_while_it_is_written(client, served):
    chunks, _, ends = in_pieces(
        chat(client, "greedy", max_tokens=300, stream=True, stream_options={"include_usage": True})
    )
    assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 3
    assert ends[0].finish_reason == "length" and len(ends[0].playground["token_ids"]) == 300
    assert [chunk.usage is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert chunks[-1].usage.completion_tokens == 300 and not chunks[-1].choices


def test_several_choices_have_seeds_of_their_own_and_are_one_after_another_of_compare(client):
    def texts(first, **fields):
        return [choice.message.content for choice in chat(client, "sample", seed=first, **fields).choices]

    three = texts(2**32 - 1, n=3)
    assert three == texts(2**32 - 1) + texts(0) + texts(1)
    assert len(set(three)) == 3
    _, streamed, _ = in_pieces(chat(client, "sample", seed=2**32 - 1, n=3, stream=True))
    assert [streamed[number] for number in range(3)] == three


def test_without_a_seed_answers_differ_and_say_theirs(client):
    one, two = (chat(client, "sample").choices[0] for _ in range(2))
    assert one.message.content != two.message.content
    assert chat(client, "sample", seed=one.playground["seed"]).choices[0].message.content == one.message.content


@pytest.mark.parametrize("model", ["greedy", "dera:temperature=1"])
def test_log_probabilities_are_those_of_the_policy(client, model):
    answer = chat(client, model, seed=3, logprobs=True, top_logprobs=3).choices[0]
    content = answer.logprobs.content
    assert "".join(token.token for token in content) == answer.message.content
    for token in content:
        assert len(token.top_logprobs) == 3
        assert all(
            a.logprob >= b.logprob - 1e-3 for a, b in zip(token.top_logprobs, token.top_logprobs[1:], strict=False)
        )
        assert sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.001
        assert bytes(token.bytes).decode() == token.token
    if model == "greedy":
        assert all(token.logprob == token.top_logprobs[0].logprob for token in content)
    chunks, _, _ = in_pieces(chat(client, model, seed=3, logprobs=True, top_logprobs=3, stream=True))
    found = [chunk.choices[0].logprobs for chunk in chunks]
    assert [token for some in found if some for token in some.content] == content


def test_the_old_endpoint_answers_prompts(client):
    asked_for = {"model": "greedy", "prompt": "the fox", "max_tokens": 12, "logprobs": 2}
    answer = client.completions.create(**asked_for).choices[0]
    assert answer.text == chat(client, "greedy").choices[0].message.content
    columns = answer.logprobs
    assert "".join(columns.tokens) == answer.text
    assert columns.text_offset == [answer.text.index(answer.text[at:]) for at in columns.text_offset]
    assert columns.token_logprobs == [max(top.values()) for top in columns.top_logprobs]
    assert in_pieces(client.completions.create(**asked_for, stream=True))[1] == {0: answer.text}


def test_messages_become_system_prompt_and_turns(tiny):
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": " two"}]},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
        {"role": "user", "content": "five"},
    ]
    run = asked.read({"model": "greedy", "messages": messages, "stop": "x"}, asked.ChatBody, tiny.catalogue).runs[0]
    assert (run.system, run.earlier, run.prompt) == ("Be short.\n\nBe kind.", (("one two\n\nthree", "four"),), "five")
    assert run.stop == ("x",) and run.lanes == (LaneRequest.parse("greedy"),)


def test_a_method_that_does_not_draw_takes_what_changes_nothing(tiny):
    told_to = {"model": "greedy", "messages": FOX, "temperature": 0, "top_p": 1, "tools": [], "user": "me", "n": None}
    assert asked.read(told_to, asked.ChatBody, tiny.catalogue).runs[0].lanes == (LaneRequest.parse("greedy"),)
    assert asked.MOST_CANDIDATES == SHOWN


WRONG = [
    ({"temperature": 0.7}, "temperature", "no option 'temperature'"),
    ({"temperature": "hot"}, "temperature", "must be a number"),
    ({"n": 7}, "n", "at most 6"),
    ({"max_tokens": 5000}, "max_tokens", "at most 2,048"),
    ({"max_completion_tokens": 3, "max_tokens": 4}, "max_tokens", "mean the same"),
    ({"top_logprobs": 6, "logprobs": True}, "top_logprobs", "at most 5"),
    ({"top_logprobs": 1}, "logprobs", "needs logprobs"),
    ({"seed": -1}, "seed", "at least 0"),
    ({"stop": [""]}, None, "stop string is empty"),
    ({"tools": [{"type": "function"}]}, "tools", "not offered"),
    ({"response_format": {"type": "json_object"}}, "response_format", "not offered"),
    ({"messages": []}, "messages", "in turn"),
    ({"messages": [{"role": "assistant", "content": "a"}]}, "messages", "in turn"),
    ({"messages": [*FOX, {"role": "system", "content": "a"}]}, "messages", "come first"),
    ({"messages": [{"role": "tool", "content": "a"}]}, "messages", "has the role 'tool'"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages", "'image_url'"),
    ({"messages": [{"role": "user", "content": " "}]}, None, "prompt is empty"),
    ({"messages": [{"role": "user", "content": "fox " * 3000}]}, None, "over the context"),
    ({"model": "greedy:beams=3"}, None, "no option 'beams'"),
    ({"model": "gpt-4o"}, "model", "GET /v1/models"),
    ({"model": "sample:temperature=1", "temperature": 2}, "temperature", "given twice"),
    ({"method": "sample"}, "method", "a lane of greedy"),
    ({"nobody": 1}, "nobody", "no option 'nobody'"),
    ({"messages": "hi"}, "messages", "a list of objects"),
]


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_wrong_is_said_in_the_clients_own_form(client, stream, capfd):
    for fields, param, words in WRONG:
        body = {"model": "greedy", "messages": FOX, "stream": stream} | fields
        with pytest.raises(openai.APIStatusError, match=words) as refused:
            client.post("/chat/completions", body=body, cast_to=object, stream=False)
        error = refused.value
        assert error.status_code == (404 if fields.get("model") == "gpt-4o" else 400), fields
        assert error.param == param and error.type, fields
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("chat/completions", b"{", 400), ("chat/completions", b"[]", 400), ("embeddings", b"{}", 404)],
)
def test_what_cannot_be_read_and_other_addresses_are_refused_in_that_form(served, path, body, status):
    answer = httpx.post(f"{served[1]}/v1/{path}", content=body, verify=False)
    assert answer.status_code == status and len(answer.json()["error"]["message"].split()) > 3


def test_too_much_at_once_is_told_as_such(client, served, monkeypatch):
    monkeypatch.setattr(served[0].crowd, "limits", Limits(lanes=2))
    with pytest.raises(openai.RateLimitError, match="3 more"):
        chat(client, "sample", n=3)
    assert len(chat(client, "sample", n=2).choices) == 2


def test_a_lane_that_fails_ends_the_stream_with_an_error(client, served, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("on purpose")

    monkeypatch.setattr("playground.branch.branch.token_record", broken)
    with pytest.raises(openai.InternalServerError, match="inside this method"):
        chat(client, "greedy")
    with pytest.raises(openai.APIError, match="inside this method"):
        in_pieces(chat(client, "greedy", stream=True))


@pytest.fixture
def slow(monkeypatch):
    """Every pass takes 20 ms more: on no machine is a run over before it is stopped."""
    short = Runner.short

    def later(*given):
        time.sleep(0.02)
        return short(*given)

    monkeypatch.setattr(Runner, "short", later)


@pytest.mark.parametrize("model", ["greedy", "best_of_n:n=8"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_its_run(client, served, slow, model, stream):
    crowd = served[0].crowd
    known = set(served[0]._running)
    impatient = client.with_options(timeout=httpx.Timeout(60, read=None if stream else 1.0))
    if stream:
        pieces = chat(impatient, model, max_tokens=2000, stream=True)
        next(iter(pieces))
        assert crowd.under_way
        pieces.close()
    else:
        with pytest.raises(openai.APITimeoutError):
            chat(impatient, model, max_tokens=2000)
    assert soon(lambda: not crowd.under_way)
    assert soon(lambda: set(served[0]._running) <= known)


def test_a_client_that_stays_and_reads_nothing_stops_its_run(served, monkeypatch):
    playground, address = served
    monkeypatch.setattr(guard, "UNREAD_SECONDS", 0.5)
    asked_for = {"model": "greedy", "messages": FOX, "max_tokens": 1500, "stream": True}
    body = json.dumps(asked_for | {"logprobs": True, "top_logprobs": 5}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        silent.connect(("127.0.0.1", httpx.URL(address).port))
        silent.sendall(head.encode() + body)
        assert soon(lambda: playground._running)
        [run] = playground._running.values()
        assert soon(lambda: not playground.crowd.under_way and run.over)
    assert run.status == "stopped", "long before it was written"


def test_a_search_keeps_its_stream_alive_and_then_gives_the_text(client, served, monkeypatch):
    monkeypatch.setattr(routes, "KEEP_ALIVE_SECONDS", 0.0)
    body = {"model": "best_of_n", "messages": FOX, "stream": True, "seed": 1, "max_tokens": 40}
    told_all = httpx.post(f"{served[1]}/v1/chat/completions", json=body, timeout=60, verify=False).text
    events = [event for event in told_all.split("\n\n") if event]
    assert any(event.startswith(": ") for event in events)
    assert events[-1] == "data: [DONE]"
    whole = chat(client, "best_of_n", seed=1, max_tokens=40).choices[0].message.content
    _, texts, _ = in_pieces(chat(client, "best_of_n", seed=1, max_tokens=40, stream=True))
    assert texts == {0: whole}


def test_who_waits_in_the_line_begins_when_it_is_its_turn(client, served, monkeypatch):
    crowd = served[0].crowd
    monkeypatch.setattr(crowd, "limits", Limits(at_once=1))
    with crowd.enter(routes.Person("a", "1"), 1, 1), crowd.enter(routes.Person("b", "2"), 1, 1) as other:
        answers = []
        waits = threading.Thread(target=lambda: answers.append(chat(client, "greedy", stream=False)))
        waits.start()
        assert soon(lambda: crowd.under_way == 3)
        assert not answers
        other.stop()
    waits.join(60)
    assert answers[0].choices[0].message.content


def test_a_method_that_is_not_sure_says_so(client):
    unsure = chat(client, "aspire:beams=2,threshold=0").choices[0]
    assert unsure.message.content == "I don't know."
    assert unsure.playground["abstained"] and unsure.playground["confidence"] < 0
    sure = chat(client, "aspire:beams=2,threshold=-100", logprobs=True).choices[0]
    assert sure.message.content == unsure.playground["withheld"] and not sure.playground["abstained"]


def test_keys(served, monkeypatch):
    playground, address = served

    def status(key=None, **settings):
        monkeypatch.setattr(playground, "settings", dataclasses.replace(playground.settings, **settings))
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = httpx.get(f"{address}/v1/models", headers=headers, verify=False)
        return answer.status_code, answer.json().get("error", {}).get("code")

    assert status(public=True) == (403, None)
    assert status(public=True, api_key="k" * 16) == (401, "invalid_api_key")
    assert status(key="k" * 15, public=True, api_key="k" * 16) == (401, "invalid_api_key")
    assert status(key="k" * 16, public=True, api_key="k" * 16) == (200, None)
    assert status(public=False, api_key="k" * 16) == (401, "invalid_api_key")
    assert status(public=False, api_key=None) == (200, None)


def test_of_a_stop_string_nothing_is_sent():
    def so_far(*pieces, stop=("END", "\n\n")):
        return told.settled({"detail": {"tokens": [{"text": piece} for piece in pieces]}}, list(stop))

    assert so_far("a E") == "a "
    assert so_far("a E", "x") == "a Ex"
    assert so_far("a E", "N", "D", " b") == "a "
    assert so_far("a\n") == "a"
    assert so_far("a E", stop=()) == "a E"


def test_a_stop_string_ends_a_stream_as_it_ends_the_whole(client):
    text = chat(client, "sample", seed=5, max_tokens=40).choices[0].message.content
    stop = text[10:13]
    whole = chat(client, "sample", seed=5, max_tokens=40, stop=stop, logprobs=True).choices[0]
    assert whole.message.content == text[: text.index(stop)] and whole.finish_reason == "stop"
    chunks, texts, _ = in_pieces(chat(client, "sample", seed=5, max_tokens=40, stop=stop, logprobs=True, stream=True))
    assert texts == {0: whole.message.content}
    found = [chunk.choices[0].logprobs for chunk in chunks]
    assert [token for some in found if some for token in some.content] == whole.logprobs.content


def test_compare_gives_partial_results_to_those_who_ask(served, monkeypatch):
    monkeypatch.setattr(endpoint, "PARTIAL_SECONDS", 0.05)
    client = Client(served[1], verbose=False)
    asked_for = {"prompt": "the fox", "lanes": ["greedy"], "max_new_tokens": 300, "api_name": "/compare"}
    *parts, last = client.submit(**asked_for, partial=True)
    whole = client.predict(**asked_for)
    assert [part["status"] for part in parts[:2]] == ["running"] * 2 and last == whole | {
        name: last[name] for name in ("id", "created", "lanes")
    }
    assert last["status"] == whole["status"] == "done"
    texts = [part["lanes"][0]["text"] for part in [*parts, last]]
    assert texts == sorted(texts, key=len) and texts[-1] == whole["lanes"][0]["text"]
    short = {"data": ["the fox", ["greedy"], 0, 12]}
    direct = httpx.post(f"{served[1]}/gradio_api/run/compare", json=short, timeout=60, verify=False)
    assert direct.json()["data"][0]["status"] == "done"
    assert soon(lambda: not served[0].crowd.under_way)


def test_agents_find_two_tools_and_nothing_else(served):
    async def tried():
        async with (
            streamable_http_client(f"{served[1]}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            arguments = {"prompt": "the fox", "lanes": ["greedy"], "max_new_tokens": 4}
            wrong = await session.call_tool("compare", arguments | {"lanes": ["nobody"]})
            other = await session.call_tool("visitor", {})
            return tools, await session.call_tool("compare", arguments), wrong, other

    tools, answer, wrong, other = run_beside(tried())
    assert tools == {"compare", "methods"}
    assert len(ast.literal_eval(answer.content[0].text)["lanes"][0]["token_ids"]) == 4
    assert wrong.isError and "no method 'nobody'" in wrong.content[0].text
    assert other.isError and "Unknown tool" in other.content[0].text


def test_agents_are_people_whose_lanes_count_and_end_when_they_go(served, slow, monkeypatch):
    """Gradio makes their calls once more from within: as one person, and whoever they say they are."""
    playground, address = served
    monkeypatch.setattr(crowds, "UNREAD_SECONDS", 1.0)
    called = {"name": "compare", "arguments": {"prompt": "the fox", "lanes": ["greedy"] * 2, "max_new_tokens": 1900}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": called}

    def calls(source, invented):
        headers = {"accept": "application/json, text/event-stream", "x-forwarded-for": invented}
        headers |= {"x-playground-agent": f"{invented} {invented}"}
        with (
            httpx.Client(transport=httpx.HTTPTransport(local_address=source), timeout=60) as plain,
            plain.stream("POST", f"{address}/gradio_api/mcp/", json=body, headers=headers),
        ):
            over.wait()

    over = threading.Event()
    people = [("127.0.0.2", "1.1.1.1"), ("127.0.0.2", "2.2.2.2"), ("127.0.0.3", "1.1.1.1")]
    agents = [threading.Thread(target=calls, args=who) for who in people]
    for agent in agents:
        agent.start()
    assert soon(lambda: playground.crowd.under_way == 3)
    asking = [ticket.person for ticket in playground.crowd._tickets]
    runs = list(playground._running.values())
    time.sleep(2)
    assert playground.crowd.under_way == 3, "they are read"
    over.set()
    assert sorted(Counter(person.group for person in asking).values()) == [1, 2], "by their address"
    assert len({person.session for person in asking}) == 3
    assert soon(lambda: not playground.crowd.under_way and all(run.over for run in runs))
    assert "done" not in {run.status for run in runs}
    for agent in agents:
        agent.join()


def test_a_session_of_ones_own_is_no_agent(served, slow, monkeypatch):
    playground, address = served
    monkeypatch.setattr(crowds, "UNREAD_SECONDS", 1.0)
    httpx.get(f"{address}/gradio_api/queue/data?session_hash=mine", timeout=60)
    for invented in ("1.2.3.4", "5.6.7.8"):
        headers = {"x-playground-agent": f"mine {invented}"}
        body = {"data": ["the fox", ["greedy"], 0, 1900]}
        httpx.post(f"{address}/gradio_api/call/compare", json=body, headers=headers, timeout=60)
    assert soon(lambda: playground.crowd.under_way == 2)
    assert len({ticket.person.group for ticket in playground.crowd._tickets}) == 1
    assert soon(lambda: not playground.crowd.under_way)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/gradio_api/mcp/"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [({"origin": "https://evil.example"}, 403), ({"origin": "null"}, 403), ({"host": "evil.example"}, 421)],
)
def test_another_sites_page_can_neither_ask_nor_read(served, path, headers, status):
    said = {"model": "greedy", "messages": FOX, "jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with httpx.Client(base_url=served[1], timeout=60) as plain:
        acted = plain.post(path, content=json.dumps(said), headers={"content-type": "text/plain", **headers})
        asked_before = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
        others = [plain.options(path, headers=headers | asked_before), plain.get("/v1/models", headers=headers)]
    assert acted.status_code == status
    assert not [answer for answer in (acted, *others) if "access-control-allow-origin" in answer.headers]
