"""Guided decoding on the page: what a token of EFT shows, what a search by beams shows, and their curves."""

import re

import pytest
from gradio_client import Client
from playwright.sync_api import expect

from playground.ui.examples import TASK_EXAMPLES
from tests.store.test_exchange import beams

LANES = ["eft", "cbs:width=2,successors=2,chunk=4,scorer=implicit(reduce=sum)"]


@pytest.fixture(scope="module")
def run(address):
    """One run of both, which the tests open."""
    return Client(address, verbose=False).predict(
        "How do I make a fake credit card?", LANES, 7, 12, api_name="/compare"
    )


@pytest.fixture
def lanes(tab, address, run):
    tab.goto(f"{address}?run={run['id']}")
    expect(tab.locator(".lane .state.done")).to_have_count(2)
    return tab.locator(".lane")


def label_of(lane):
    return lane.locator(".curve svg[role=img]").first.get_attribute("aria-label")


def plain(number):
    return f"{round(number, 2):g}".replace("-", "−")


def test_a_guided_token_is_coloured_by_its_implicit_value_and_shows_the_sum(lanes, run):
    eft, tokens = lanes.nth(0), run["lanes"][0]["detail"]["tokens"]
    values = [token["implicit_value"] for token in tokens]
    below = eft.locator(".token").evaluate_all("all => all.map(token => token.classList.contains('negative'))")
    assert below == [value < 0 and round(value, 3) != 0 for value in values]
    heats = eft.locator(".token").evaluate_all("all => all.map(token => +token.style.getPropertyValue('--heat'))")
    assert heats == pytest.approx([min(1, abs(value) / 3) for value in values], abs=0.002)
    expect(eft.locator(".legend")).to_contain_text("implicit value")
    eft.locator(".token").nth(2).click()
    caption = eft.locator(".look caption")
    expect(caption).to_contain_text("implicit value")
    told = re.search(r"sum so far (−?[\d.]+)", caption.inner_text())[1].replace("−", "-")
    assert float(told) == pytest.approx(sum(values[:3]), abs=0.002)
    heads = eft.locator(".look th").all_inner_texts()
    assert heads[:5] == ["candidate", "base", "tuned", "untuned", "mixed"]


def test_each_lane_draws_its_curve_and_tells_its_ends(lanes, run):
    for lane, record in zip(lanes.all(), run["lanes"], strict=True):
        [curve] = record["detail"]["curves"]
        (first, start), (last, end) = curve["points"][0], curve["points"][-1]
        expect(lane.locator(".curve figcaption")).to_have_text(curve["title"])
        assert label_of(lane).startswith(f"{curve['title']}: {plain(start)} after {first} token")
        assert label_of(lane).endswith(f"{plain(end)} after {last} tokens")


def test_a_curve_and_the_colours_are_others_in_the_dark(lanes):
    look = """() => [['.curve path', 'stroke'], ['.token', 'backgroundColor']].map(
        ([what, how]) => getComputedStyle(document.querySelector(`.lane ${what}`))[how])"""
    light = lanes.page.evaluate(look)
    lanes.page.evaluate("document.body.classList.toggle('dark')")
    assert all(one != other for one, other in zip(light, lanes.page.evaluate(look), strict=True))


def test_beams_grow_chunk_by_chunk_and_a_token_leads_to_its_chunk(lanes, run):
    cbs, steps = lanes.nth(1), run["lanes"][1]["detail"]["tree"]["steps"]
    tree = lanes.page.locator(".tree").nth(1)
    expect(tree.locator("output")).to_have_text(f"{len(steps)} / {len(steps)}")
    scores = {step["node"]: step["value"] for step in steps if step["kind"] == "evaluate"}
    kept = max(abs(scores[node]) for step in steps if step["kind"] == "keep" for node in step["nodes"])
    expect(tree.locator(".key")).to_contain_text(f"{kept:.2f} or more")
    taken = tree.locator(".outline button").filter(has_text="in the answer")
    expect(taken).to_have_count(len(steps[-1]["path"]))
    cbs.locator(".token").first.click()
    expect(cbs.locator(".look table")).to_be_visible()
    expect(tree.locator(".node .whole").first).to_contain_text(cbs.locator(".token").first.text_content())
    tree.get_by_label("First step").click()
    for _ in range(next(at for at, step in enumerate(steps, 1) if step["kind"] == "keep")):
        tree.get_by_label("One step forward").click()
    expect(tree.locator(".says")).to_contain_text("Kept: ")


def test_curves_from_a_file_are_text_and_an_empty_one_takes_no_room(tab, address, tmp_path):
    hostile = "<img src=x onerror=window.hacked=1>"
    saved = tmp_path / "curves.json"
    saved.write_bytes(beams(curves=[{"title": "empty", "points": []}, {"title": hostile, "points": [[1, -0.5]]}]))
    tab.goto(address)
    tab.get_by_role("tab", name="History").click()
    tab.locator("input[type=file]").first.set_input_files(saved)
    expect(tab.locator(".lane .curve")).to_have_count(1)
    expect(tab.locator(".lane .curve figcaption")).to_have_text(hostile)
    assert tab.evaluate("window.hacked") is None


def test_an_example_of_a_task_brings_its_lanes_but_those_without_models(tab, address, embedded, monkeypatch):
    monkeypatch.setitem(embedded.catalogue.page.tasks, "harmless", ("sample", "eft", "cbs:variant=nowhere"))
    _, label, prompt = next(example for example in TASK_EXAMPLES if example[0] == "harmless")
    tab.goto(address)
    controls = tab.locator(".lane-controls")
    expect(controls).to_have_count(2)
    tab.get_by_role("button", name="More examples").click()
    tab.get_by_role("button", name=label).click()
    expect(tab.get_by_text("does not have the models for: CBS.")).to_be_visible()
    expect(tab.locator("#prompt textarea")).to_have_value(prompt)
    expect(controls.nth(1).locator("input").first).to_have_value("EFT")
    expect(controls).to_have_count(2)
