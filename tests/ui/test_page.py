"""The page in a real browser, on the embedded model: run, watch, stop, reopen, look at tokens, and be attacked."""

import contextlib
import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import TimeoutError, expect

from playground.arena import Arena
from playground.decoders import DECODERS
from tests.store.test_exchange import beams
from tests.ui.conftest import PATIENCE, unfold
from tests.wire import Wire

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1> Repeat this."


@pytest.fixture
def page(tab, address):
    """A fresh page as it opens."""
    tab.goto(address)
    expect(tab.locator(".lane-controls")).to_have_count(2)
    return tab


_REST = """() => new Promise(rested => {
  let timer = setTimeout(rested, 600);
  new MutationObserver(() => { clearTimeout(timer); timer = setTimeout(rested, 600); })
    .observe(document.querySelector('#lane-row'), {childList: true, subtree: true});
})"""


def settle(page):
    """Wait until the lanes' controls are drawn for the last time: they are drawn again for each thing that changed, and
    Gradio loses an event of controls that are being replaced."""
    page.evaluate(_REST)


def open_lanes(page):
    """Unfold the controls of all lanes."""
    settle(page)
    folded = page.locator(".lane-controls > .label-wrap:not(.open)")
    while folded.count():
        unfold(folded.first)


def edges(page):
    """(left, top, right, bottom) of the controls and of the answer of each lane."""
    boxes = [[each.bounding_box() for each in page.locator(kind).all()] for kind in (".lane-controls", ".lane")]
    return [
        tuple((b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]) for b in both)
        for both in zip(*boxes, strict=False)
    ]


def are_cards(lanes):
    """Every answer begins where its own controls end, and is as wide."""
    for controls, answer in lanes:
        assert controls[0] == pytest.approx(answer[0], abs=1) and controls[2] == pytest.approx(answer[2], abs=1)
        assert answer[1] == pytest.approx(controls[3] - 1, abs=1)


def test_a_lane_is_one_card_also_beside_one_that_stands_open(page):
    assert not page.locator(".joined").count(), "the opening's answers are not those of the controls"
    set_length(page, 8)
    write(page, "How can I reduce stress?")
    finish(page)
    for opened in ((), (1,), (1, 0), (0,)):
        heads = page.locator(".lane-controls > .label-wrap")
        for lane in (0, 1):
            if (lane in opened) != ("open" in (heads.nth(lane).get_attribute("class") or "")):
                heads.nth(lane).click()
        expect(page.locator(".joined")).to_have_count(4)
        page.wait_for_timeout(300)
        lanes = edges(page)
        are_cards(lanes)
        if len(opened) == 1:
            shut = lanes[1 - opened[0]]
            assert shut[1][1] < lanes[opened[0]][1][1] - 100, "a folded lane's answer stays where it was"
        assert lanes[0][1][3] == pytest.approx(lanes[1][1][3], abs=1), "both end together"
    # The place of a lane that is added stays free.
    page.locator("#add-lane").click()
    expect(page.locator(".lane-controls")).to_have_count(3)
    expect(page.locator(".joined")).to_have_count(4)
    page.wait_for_timeout(300)
    are_cards(edges(page))
    # With another method the controls no longer tell of the answer below.
    page.locator(".lane-controls").nth(0).get_by_role("button", name="Remove").click()
    expect(page.locator(".lane-controls")).to_have_count(2)
    expect(page.locator(".joined")).to_have_count(0)
    assert page.locator(".lane").evaluate_all("cards => cards.every(card => !card.style.marginTop)")


def test_the_key_that_seals_battles_is_not_on_the_page(address, embedded):
    with urllib.request.urlopen(f"{address.rstrip('/')}/config") as answer:
        told = answer.read().decode()
    assert embedded.browser_key in told
    assert embedded.secret not in told


def write(page, prompt):
    page.locator("#prompt textarea").fill(prompt)
    page.locator("#run").click()


def begun(page, tokens=4):
    """Wait until the lanes are no longer those that the page opens with, and have so many tokens."""
    expect(page.locator(".opening")).to_be_hidden()
    page.wait_for_function(f"document.querySelectorAll('.lane .token').length > {tokens}")


def finish(page, lanes=2):
    expect(page.locator(".opening")).to_be_hidden()
    expect(page.locator(".lane")).to_have_count(lanes)
    expect(page.locator(".lane .state.done")).to_have_count(lanes)


def set_length(page, tokens):
    unfold(page.get_by_role("button", name="More settings"))
    page.locator("#length input[type=number]").fill(str(tokens))
    page.locator("#length input[type=number]").press("Tab")


def test_two_lanes_write_at_the_same_time_and_show_their_price(page):
    set_length(page, 48)
    write(page, "How can I reduce stress?")
    # Both have begun while neither has ended.
    page.wait_for_function(
        """() => { const lanes = [...document.querySelectorAll('.lane')];
        return lanes.length === 2 && lanes.every(l => l.querySelectorAll('.token').length > 2)
            && lanes.every(l => l.querySelector('.state.writing')); }"""
    )
    finish(page)
    for lane in page.locator(".lane").all():
        figures = [dd.inner_text() for dd in lane.locator("dd").all()]
        assert len(figures) == 4 and all(re.fullmatch(r"[\d.,]+", figure) for figure in figures), figures
        assert lane.locator(".text").inner_text().strip()
    assert "λ 1" in page.locator(".lane .options").nth(1).inner_text()


def test_stop_ends_a_run_and_keeps_the_text(page):
    set_length(page, 512)
    write(page, "Write a long story about the sea.")
    begun(page, 8)
    page.locator("#stop").click()
    # Within a second or so; the bound here is loose, since no test may depend on the machine's speed.
    expect(page.locator(".lane .state.writing")).to_have_count(0, timeout=10_000)
    states = [s.inner_text() for s in page.locator(".lane .state").all()]
    assert "stopped" in states and set(states) <= {"stopped", "end of answer"}
    assert page.locator(".lane .token").count() > 8


def test_a_second_run_takes_the_place_of_the_first(page, embedded):
    def until_saved(prompt):
        for _ in range(600):
            if any(run["prompt"] == prompt for run in embedded.archive.recent(None)):
                return
            page.wait_for_timeout(100)
        raise AssertionError(f"{prompt} was not saved")

    set_length(page, 512)
    write(page, "Write a very long story.")
    begun(page)
    write(page, "Write a long letter.")
    until_saved("Write a very long story.")
    assert "stopped" in {run["status"] for run in embedded.archive.recent(None, "very long story")}
    page.wait_for_function("document.querySelectorAll('.lane .state.writing').length > 0")
    page.locator("#stop").click()
    expect(page.locator(".lane .state.writing")).to_have_count(0)
    until_saved("Write a long letter.")


def test_a_run_opens_again_by_its_address(page, address, embedded):
    set_length(page, 24)
    write(page, "Who wrote Frankenstein?")
    finish(page)
    page.wait_for_url(re.compile(r"\?run="))
    texts = [t.inner_text() for t in page.locator(".lane .text").all()]
    page.goto(page.url)
    finish(page)
    assert [t.inner_text() for t in page.locator(".lane .text").all()] == texts
    expect(page.locator("#prompt textarea")).to_have_value("Who wrote Frankenstein?")
    page.get_by_role("tab", name="History").click()
    link = page.locator("#history a").filter(has_text="Who wrote Frankenstein?").first
    link.click()
    finish(page)
    assert [t.inner_text() for t in page.locator(".lane .text").all()] == texts


def test_a_run_that_is_followed_gives_way_to_ones_own_and_to_stop(page, chromium, address):
    set_length(page, 2048)
    write(page, "Write a very long story about the sea.")
    page.wait_for_url(re.compile(r"\?run="))
    begun(page)
    context = chromium.new_context()
    other = context.new_page()
    other.goto(page.url)
    begun(other)
    other.locator("#stop").click()
    expect(other.locator(".lane .state.left").first).to_have_text("goes on elsewhere")
    expect(other.locator(".lane .state.writing")).to_have_count(0)
    begun(page, page.locator(".lane .token").count() + 4)
    other.reload()
    begun(other)
    set_length(other, 8)
    write(other, "Name three colours.")
    expect(other.locator(".lane .state.done")).to_have_count(2)
    own = [text.inner_text() for text in other.locator(".lane .text").all()]
    other.wait_for_timeout(1500)
    assert [text.inner_text() for text in other.locator(".lane .text").all()] == own, "the other run has not come back"
    expect(page.locator(".lane .state.writing").first).to_be_visible()
    context.close()
    # A branch beside lanes that still write would end them.
    token = page.locator(".lane").first.locator(".token").nth(2)
    token.click()
    page.locator(".lane").first.get_by_role("button", name=re.compile("^Use")).first.click()
    expect(page.get_by_text("This run is still going on")).to_be_visible()
    expect(page.locator(".lane .state.writing").first).to_be_visible()
    page.locator("#stop").click()


def test_hostile_text_is_shown_as_text(page):
    set_length(page, 40)
    write(page, HOSTILE)
    finish(page)
    page.get_by_role("tab", name="History").click()
    expect(page.locator("#history .prompt").filter(has_text=HOSTILE).first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#board img, #board script, #history img, #history script").count() == 0


def test_a_hostile_address_is_an_error_in_words(tab, address):
    page = tab
    page.goto(address + "?run=<img src=x onerror=window.hacked=1>")
    expect(page.get_by_text("There is no run")).to_be_visible()
    assert page.evaluate("window.hacked") is None


def test_an_address_without_a_run_opens_as_ever(tab, address):
    tab.goto(address + "?run=")
    expect(tab.locator(".opening")).to_be_visible()
    expect(tab.locator(".lane")).to_have_count(2)


def test_an_empty_prompt_is_an_error_in_words_and_loses_nothing(page):
    set_length(page, 17)
    page.locator("#run").click()
    expect(page.get_by_text("The prompt is empty")).to_be_visible()
    expect(page.locator("#length input[type=number]")).to_have_value("17")


def test_no_dot_is_left_over_in_the_footer(page):
    expect(page.locator("footer")).to_contain_text("API")
    expect(page.locator("footer .divider:visible")).to_have_count(0)


def test_a_new_run_clears_the_errors_before_it(page):
    set_length(page, 4)
    page.locator("#run").click()
    close = page.locator(".toast-close.error")
    close.evaluate("button => button.addEventListener('click', () => { window.cleared = true; })")
    write(page, "Hi")
    assert page.evaluate("window.cleared"), "it did not just run out of time"
    expect(close).to_have_count(0)


def test_a_token_shows_its_candidates_under_both_models_by_click_and_by_key(page):
    set_length(page, 16)
    write(page, "What is the capital of France?")
    finish(page)
    dera = page.locator(".lane").nth(1)
    dera.locator(".token").nth(2).click()
    table = dera.locator(".look table")
    expect(table).to_be_visible()
    assert [th.inner_text() for th in table.locator("th").all()] == ["candidate", "reference", "aligned", "mixed", ""]
    assert table.locator("tbody tr").count() >= 5 and table.locator("tr.drawn").count() == 1
    assert "drift from the unaligned model" in table.locator("caption").inner_text()
    expect(table.locator("caption [title^='KL to reference']")).to_have_count(1)
    page.keyboard.press("Escape")
    greedy = page.locator(".lane").nth(0)
    greedy.locator(".text").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(greedy.locator(".look table")).to_be_visible()
    assert "Token 2" in greedy.locator(".look caption").inner_text()


def test_scrubbing_lambda_shows_where_the_text_would_have_turned(page, embedded):
    set_length(page, 24)
    write(page, "How do I make a fake credit card?")
    finish(page)
    dera = page.locator(".lane").nth(1)
    slider, says = dera.locator(".scrub input"), dera.locator(".scrub p")
    assert "written at this λ" in says.inner_text()
    expect(page.locator(".lane").nth(0).locator(".scrub")).to_be_hidden()
    slider.fill("0")
    page.wait_for_url(re.compile(r"\?run="))
    tokens = embedded.open_run(page.url.split("run=")[1])["lanes"][1]["detail"]["tokens"]
    winners = [[f["id"] for f in token["flips"] if f["lambda"] <= 0][-1] for token in tokens]
    turn = next((i for i, token in enumerate(tokens) if winners[i] != token["id"]), None)
    if turn is None:
        assert "writes the same text" in says.inner_text()
    else:
        assert f"differs from token {turn + 1} on:" in says.inner_text()
        expect(dera.locator(".token").nth(turn)).to_have_class(re.compile("turn"))


def test_lanes_are_added_duplicated_changed_and_removed_and_keep_their_options(page):
    lanes = page.locator(".lane-controls")
    open_lanes(page)
    lanes.nth(1).locator("input[type=number]").first.fill("2.5")
    lanes.nth(1).locator("input[type=number]").first.press("Tab")
    page.locator("#add-lane").click()
    expect(lanes).to_have_count(3)
    lanes.nth(1).get_by_role("button", name="Duplicate").click()
    expect(lanes).to_have_count(4)
    for at in (1, 2):
        expect(lanes.nth(at).locator("input[type=number]").first).to_have_value("2.5")
    lanes.nth(2).locator("input").first.click()
    page.get_by_role("option", name="Best of N").click()
    expect(lanes.nth(2).get_by_label("Scorer")).to_be_visible()
    unfold(lanes.nth(2).get_by_role("button", name="More options"))
    # DeRa's default temperature, 0, must not come along: N equal answers would be the result.
    expect(lanes.nth(2).get_by_label("number input for Temperature")).to_have_value("1")
    lanes.nth(3).locator("input").first.click()
    page.get_by_role("option", name="DeRa").click()
    expect(lanes.nth(3).locator("input[type=number]").first).to_have_value("0.5")
    lanes.nth(0).get_by_role("button", name="Remove").click()
    expect(lanes).to_have_count(3)
    set_length(page, 8)
    write(page, "Hello")
    finish(page, lanes=3)
    assert [t.inner_text() for t in page.locator(".lane h3").all()] == ["DeRa", "Best of N", "DeRa"]
    assert "λ 2.5" in page.locator(".lane .options").nth(0).inner_text()
    page.locator(".lane .candidates summary").click()
    expect(page.locator(".lane .candidates li")).to_have_count(4)
    expect(page.locator(".lane .candidates li.chosen")).to_have_count(1)


def test_examples_fill_the_prompt(page):
    page.get_by_role("button", name="How do I kill a Python process?").click()
    expect(page.locator("#prompt textarea")).to_have_value("How do I kill a Python process?")


def test_a_closed_page_ends_its_run_and_frees_its_memory(chromium, address, embedded):
    context = chromium.new_context()
    tab = context.new_page()
    tab.goto(address)
    expect(tab.locator(".lane-controls")).to_have_count(2)
    set_length(tab, 512)
    write(tab, "Tell me everything about whales.")
    begun(tab)
    running = list(embedded._running.values())
    assert running
    context.close()
    for run in running:
        run.wait(60)
    assert not embedded._running


def test_an_api_client_that_goes_away_ends_its_run(address, embedded):
    client = Client(address, verbose=False)
    client.submit("Tell me everything about whales.", ["sample"] * 6, 1, 2000, api_name="/compare")
    for _ in range(200):
        if running := [r for r in embedded._running.values() if r.request.max_new_tokens == 2000]:
            break
        time.sleep(0.1)
    client.close()
    for run in running:
        run.wait(60)
    assert "stopped" in {lane["status"] for lane in embedded.open_run(running[0].id)["lanes"]}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(chromium, address, scheme):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(address)
    expect(tab.locator(".lane-controls")).to_have_count(2)
    set_length(tab, 12)
    write(tab, "Name a colour.")
    finish(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.locator(".lane").nth(1).locator(".token").nth(1).click()
    expect(tab.locator(".look table")).to_be_visible()
    look = tab.locator(".lane").nth(1).locator(".look")
    assert look.evaluate("box => box.scrollWidth <= box.clientWidth"), "the candidates fit without scrolling"
    boxes = [tab.locator(".lane").nth(i).bounding_box() for i in range(2)]
    assert boxes[1]["y"] >= boxes[0]["y"] + boxes[0]["height"], "lanes stand below each other"
    assert tab.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    context.close()


def test_an_answer_goes_on_from_a_token_at_another_lambda(page):
    set_length(page, 16)
    write(page, "How do I make a fake credit card?")
    finish(page)
    mixed = page.locator(".lane").nth(1)
    before = mixed.locator(".token").all_text_contents()
    mixed.locator(".token").nth(3).click()
    mixed.locator(".go-on input").fill("0")
    mixed.locator(".go-on button").click()
    finish(page, 3)
    expect(page.locator(".lane").nth(2).locator(".forked")).to_contain_text("from token 4 of lane 2 at λ 0")
    old, new = (pieces(page, lane) for lane in (1, 2))
    assert old == before, "the lane it came from stands beside it"
    assert new[:3] == before[:3]
    assert new != before, "λ = 0 goes another way"
    expect(page.locator(".lane").nth(2).locator(".token.shared")).to_have_count(3)
    expect(page.locator(".lane").nth(2).locator(".token.forks")).to_have_text(new[3])
    expect(page.locator(".lane-controls")).to_have_count(3)
    # What the dial says would have been written is written, as another branch.
    mixed.locator(".scrub input").fill("0")
    turn = mixed.locator(".token").evaluate_all("all => all.findIndex(token => token.matches('.turn'))")
    mixed.get_by_role("button", name="Write it at λ = 0").click()
    finish(page, 4)
    expect(page.locator(".lane").nth(2).locator(".forked")).to_contain_text(f"from token {turn + 1} of lane 2 at λ 0")
    assert pieces(page, 1) == before


def pieces(page, lane):
    return page.locator(".lane").nth(lane).locator(".token").all_text_contents()


def take_instead(page, lane, at, candidate=1):
    """Open a token's candidates with the keyboard and take one of them, again with the keyboard. Returns its text."""
    token = page.locator(".lane").nth(lane).locator(".token").nth(at)
    token.focus()
    page.keyboard.press("Enter")
    look = page.locator(".lane").nth(lane).locator(".look")
    expect(look.locator("table")).to_be_visible()
    row = look.locator("tbody tr:not(.drawn)").nth(candidate - 1)
    wanted = row.locator("button").get_attribute("aria-label")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == wanted:
            break
    before = page.url
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "run=" in url and url != before)
    return re.search("“(.*)”", wanted)[1]


@pytest.mark.parametrize("lane", ["sample:temperature=0.7", "dera:lambda_=0.7"])
def test_another_word_is_taken_and_the_method_continues_beside(tab, address, embedded, lane):
    client = Client(address, verbose=False)
    run = client.predict(
        "Name a colour.", [lane, "greedy"], 7, 12, "Be brief.", [], [["Hi", "Hello"]], api_name="/compare"
    )
    page = tab  # left before it has opened, a page tells of connections that were cut
    page.goto(f"{address}?run={run['id']}")
    finish(page)
    old = run["lanes"][0]
    word = take_instead(page, 0, 3)
    finish(page, 3)
    new = embedded.open_run(page.url.split("run=")[1])
    told = {name: new[name] for name in ("prompt", "system", "seed", "max_new_tokens")}
    assert told == {"prompt": "Name a colour.", "system": "Be brief.", "seed": 7, "max_new_tokens": 12}
    assert [list(turn) for turn in new["earlier"]] == [["Hi", "Hello"]]
    again, beside, other = new["lanes"]
    assert again["token_ids"] == old["token_ids"], "the lane it came from stands beside it"
    assert [lane["detail"]["written_in"] for lane in (again, other)] == [run["id"]] * 2
    assert (beside["method"], beside["options"]) == (old["method"], old["options"])
    assert beside["token_ids"][:3] == old["token_ids"][:3]
    assert beside["token_ids"][3] != old["token_ids"][3]
    assert beside["begin"] == beside["token_ids"][:4]
    assert pieces(page, 1)[3].replace(" ", "·") == word
    expect(page.locator(".lane").nth(1).locator(".token.shared")).to_have_count(3)
    expect(page.locator(".lane").nth(1).locator(".forked")).to_contain_text(f"token 4 of lane 1 with “{word}”")
    expect(page.locator(".lane").nth(0).locator(".forked")).to_be_hidden()
    unfold(page.get_by_role("button", name="More settings"))
    expect(page.locator("#system textarea")).to_have_value("Be brief.")
    begins_with = page.locator(".lane-controls").nth(1).get_by_label("Begins with")
    expect(begins_with).to_have_value("".join(pieces(page, 1)[:4]))


def test_a_beginning_goes_along_when_lanes_are_changed_and_is_cleared(page, embedded):
    lanes, beginning = page.locator(".lane-controls"), "The sky is"
    open_lanes(page)
    unfold(lanes.nth(0).get_by_role("button", name="More options"))
    lanes.nth(0).get_by_label("Begins with").fill(beginning)
    lanes.nth(0).get_by_role("button", name="Duplicate").click()
    expect(lanes).to_have_count(3)
    lanes.nth(1).locator("input").first.click()
    page.get_by_role("option", name="Sampling").click()
    expect(lanes.nth(1).get_by_label("number input for Temperature")).to_be_visible()
    for at in (0, 1):
        expect(lanes.nth(at).get_by_label("Begins with")).to_have_value(beginning)
    lanes.nth(2).get_by_role("button", name="Remove").click()
    expect(lanes).to_have_count(2)
    set_length(page, 8)
    write(page, "Name a colour.")
    finish(page)
    assert all("".join(pieces(page, lane)).startswith(beginning) for lane in (0, 1))
    page.goto(page.url)
    finish(page)
    open_lanes(page)
    for at in (0, 1):
        expect(lanes.nth(at).get_by_label("Begins with")).to_have_value(beginning)
    lanes.nth(0).get_by_role("button", name="Clear the beginning").click()
    expect(lanes.nth(0).get_by_role("button", name="Clear the beginning")).to_be_hidden()
    expect(lanes.nth(1).get_by_label("Begins with")).to_have_value(beginning)
    before = page.url
    page.locator("#run").click()
    page.wait_for_url(lambda url: "run=" in url and url != before)
    finish(page)
    begins = [lane["begin"] for lane in embedded.open_run(page.url.split("run=")[1])["lanes"]]
    assert begins[0] == []
    assert begins[1]


def choose(page, field, text):
    """Type into a list that takes texts of one's own."""
    field.click()
    field.fill(text)
    field.press("Enter")
    field.press("Tab")


def test_a_mixture_is_typed_where_a_model_is_chosen_and_stays(page, embedded):
    lanes, mixture = page.locator(".lane-controls"), "0.25*reference+0.75*aligned"
    open_lanes(page)
    expect(lanes.nth(0).get_by_text("2*aligned - reference")).to_be_visible()
    lanes.nth(0).get_by_label("Model").click()
    expect(page.get_by_role("option", name="half: SmolLM2 135M, half careful")).to_be_visible()
    choose(page, lanes.nth(0).get_by_label("Model"), mixture)
    lanes.nth(0).get_by_role("button", name="Duplicate").click()
    expect(lanes).to_have_count(3)
    lanes.nth(1).locator("input").first.click()
    page.get_by_role("option", name="Best of N").click()
    scorer = lanes.nth(1).get_by_label("Scorer")
    expect(scorer).to_be_visible()
    choose(page, scorer, "implicit(tuned=told)")
    lanes.nth(2).get_by_role("button", name="Remove").click()
    expect(lanes).to_have_count(2)
    expect(lanes.nth(0).get_by_label("Model")).to_have_value(mixture)
    expect(scorer).to_have_value("implicit(tuned=told)")
    set_length(page, 8)
    write(page, "Name a colour.")
    finish(page)
    run = embedded.open_run(page.url.split("run=")[1])
    assert [lane["options"]["variant"] for lane in run["lanes"]] == [mixture, mixture]
    assert run["lanes"][1]["options"]["scorer"] == "implicit(tuned=told)"
    page.get_by_role("tab", name="History").click()
    page.locator("#history a").first.click()
    finish(page)
    expect(lanes.nth(0).get_by_label("Model")).to_have_value(mixture)
    expect(scorer).to_have_value("implicit(tuned=told)")


@pytest.mark.parametrize(
    ("text", "words"), [("0.5*reference+nobody", "There is no variant 'nobody'"), ("2*", "is no model and no mixture")]
)
def test_a_wrong_mixture_is_an_error_in_words(page, text, words):
    open_lanes(page)
    choose(page, page.locator(".lane-controls").nth(0).get_by_label("Model"), text)
    write(page, "Hi")
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.locator(".lane-controls").nth(0).get_by_label("Model")).to_have_value(text)


def pick(page, field, name):
    """Choose from a list. The lanes may be drawn anew between any two clicks, which closes what was open."""
    for _ in range(60):
        with contextlib.suppress(TimeoutError):
            field.click(timeout=2_000)
            page.get_by_role("option", name=name, exact=True).click(timeout=2_000)
            return
        page.keyboard.press("Escape")


def test_controls_that_are_used_while_they_are_drawn_anew_are_still_known(page):
    """What the server does not know is an error in the console."""
    fold = "document.querySelectorAll('.lane-controls > .label-wrap').forEach(head => head.click())"
    for count in (3, 4, 5):
        page.locator("#add-lane").click()
        for _ in range(20):
            page.evaluate(fold)
            page.wait_for_timeout(25)
        expect(page.locator(".lane-controls")).to_have_count(count)


def test_a_kept_lambda_is_a_model_that_every_lane_of_this_browser_can_choose(
    page, chromium, address, embedded, monkeypatch
):
    lanes, kept = page.locator(".lane-controls"), "0.3*reference+0.7*aligned"
    open_lanes(page)
    lanes.nth(1).locator("input[type=number]").first.fill("0.7")
    lanes.nth(1).locator("input[type=number]").first.press("Tab")
    set_length(page, 16)
    write(page, "How do I make a fake credit card?")
    finish(page)
    mixed = page.locator(".lane").nth(1)
    asked, schema = [], embedded.options_schema
    monkeypatch.setattr(embedded, "options_schema", lambda name: asked.append(name) or schema(name))
    mixed.get_by_role("button", name="Keep λ = 0.7 as a model").click()
    expect(page.get_by_text(f"{kept} is now in every list")).to_be_visible()
    settle(page)
    assert len(asked) == 2, "edits and models come in one drawing of the two lanes"
    field = lanes.nth(0).get_by_label("Model")
    pick(page, field, kept)
    expect(lanes.nth(1).locator("input[type=number]").first).to_have_value("0.7")
    # A fresh page of the same browser has it, too.
    page.goto(page.url)
    finish(page)
    expect(page.locator("#kept")).to_contain_text(kept)  # the controls are drawn a second time, with it
    open_lanes(page)
    pick(page, field, kept)
    expect(field).to_have_value(kept)
    before = page.url
    page.locator("#run").click()
    page.wait_for_url(lambda url: "run=" in url and url != before)
    finish(page)
    assert pieces(page, 0) == pieces(page, 1), "greedy over the mixture writes what DeRa writes"
    page.get_by_role("button", name="Keep λ = 0.7 as a model").click()
    expect(page.get_by_text("is in the list of models already")).to_be_visible()
    unfold(page.get_by_role("tab", name="λ sweep"))
    page.get_by_label("Aligned model").locator("visible=true").click()
    expect(page.get_by_role("option", name=kept)).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Compare").click()
    page.locator("#kept .token-remove").first.click()
    expect(page.locator("#kept")).to_be_hidden()
    settle(page)
    expect(field).to_have_value(kept)
    unfold(lanes.nth(1).get_by_role("button", name="More options"))
    lanes.nth(1).get_by_label("Aligned model").click()
    expect(page.get_by_role("option", name="half careful")).to_be_visible()
    expect(page.get_by_role("option", name=kept)).to_have_count(0)
    other = chromium.new_context()
    tab = other.new_page()
    tab.goto(address)
    expect(tab.locator(".lane-controls")).to_have_count(2)
    open_lanes(tab)
    tab.locator(".lane-controls").nth(0).get_by_label("Model").click()
    expect(tab.get_by_role("option", name="half careful")).to_be_visible()
    expect(tab.get_by_role("option", name=kept)).to_have_count(0)
    other.close()


def test_beams_that_are_dropped_are_named_and_values_below_zero_have_their_own_colour(page, tmp_path):
    saved = tmp_path / "beams.json"
    saved.write_bytes(beams())
    page.get_by_role("tab", name="History").click()
    page.locator("input[type=file]").first.set_input_files(saved)
    expect(page.locator(".lane")).to_have_count(1)
    tree = page.locator(".tree")
    expect(tree.locator("output")).to_have_text("4 / 4")
    expect(tree.locator(".key").get_by_text("dropped")).to_be_visible()
    tree.get_by_label("One step back").click()
    expect(tree.locator(".says")).to_have_text("Kept: 2 beams, “a”, “a”. The others are dropped.")
    expect(tree.locator(".outline button.dropped")).to_have_count(1)
    tree.get_by_label("One step back").click()
    expect(tree.locator(".outline button.dropped")).to_have_count(0)
    tree.get_by_label("First step").click()
    tree.get_by_label("One step forward").click()
    expect(tree.locator(".says")).to_have_text("After the prompt: 3 chunks.")
    token = page.locator(".lane .token")
    expect(token).to_have_class(re.compile("negative"))
    expect(page.locator(".lane .legend")).to_contain_text("implicit value: ≤ −2")
    page.locator(".lane .candidates summary").click()
    expect(page.locator(".lane .candidates li")).to_contain_text("p correct 0.4")


def test_a_search_is_drawn_replayed_and_walked(tab, address):
    page = tab
    client = Client(address, verbose=False)
    lane = {"method": "rain", "options": {"scorer": "self_eval", "soft": True, "max_inner": 3, "candidates": 4}}
    run = client.predict("How do I make a fake credit card?", ["greedy", lane], 7, 8, api_name="/compare")
    page.goto(f"{address}?run={run['id']}")
    tree = page.locator(".tree").nth(1)
    steps = len(run["lanes"][1]["detail"]["tree"]["steps"])
    expect(tree.locator("output")).to_have_text(f"{steps} / {steps}")
    tree.get_by_label("First step").click()
    expect(tree.locator("output")).to_have_text(f"0 / {steps}")
    tree.get_by_label("One step forward").click()
    expect(tree.locator(".says")).to_have_text("A path is chosen: it ends at the prompt.")
    tree.get_by_label("One step forward").click()
    expect(tree.locator(".says")).to_contain_text("After the prompt: 4 candidates.")
    tree.get_by_label("Speed").select_option(label="16 ×")
    tree.get_by_role("button", name="Play").click()
    expect(tree.locator("output")).to_have_text(f"{steps} / {steps}")
    # A token of the answer leads to its node, whose question and verdicts can be read.
    page.locator(".lane").nth(1).locator(".token").first.click()
    expect(tree.locator(".node")).to_contain_text("The text up to here")
    selected = tree.locator(".outline [aria-selected=true]")
    expect(selected).to_have_count(1)
    expect(page.locator(".lane").nth(1).locator(".token[aria-pressed=true]")).to_have_count(1)
    before = selected.text_content()
    selected.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(selected).not_to_have_text(before)
    expect(tree.locator(".outline [tabindex='0']")).to_have_count(1)
    # Who steps on looks at the steps again.
    tree.get_by_label("One step back").click()
    expect(selected).to_have_count(0)
    expect(page.locator(".tree").nth(0)).to_be_hidden()


def test_a_run_is_saved_as_a_file_and_opened_again(page, tmp_path):
    set_length(page, 8)
    write(page, "Name a colour.")
    finish(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this run as a file").click()
    saved = tmp_path / "run.json"
    download.value.save_as(saved)
    texts = page.locator(".lane .text").all_text_contents()
    page.get_by_role("tab", name="History").click()
    broken = tmp_path / "broken.json"
    broken.write_text(saved.read_text()[:200])
    page.locator("input[type=file]").first.set_input_files(broken)
    expect(page.get_by_text("not a saved run")).to_be_visible()
    with page.expect_navigation():  # to its own address: here it is the same run
        page.locator("input[type=file]").first.set_input_files(saved)
    expect(page.locator(".lane")).to_have_count(2)
    expect(page.locator(".lane .text").first).to_have_text(texts[0])


def test_a_battle_is_blind_until_the_vote_and_counts_once(page, embedded):
    page.get_by_role("tab", name="Arena").click()
    page.locator("#battle-prompt textarea").fill("Name a colour.")
    page.locator("#new-battle").click()
    expect(page.locator("#vote-a")).to_be_enabled(timeout=180_000)
    expect(page.locator(".stage .side")).to_have_count(2)
    shown = page.locator("#stage").inner_html()
    for name in ("greedy", "best_of_n", "dera", "aligned", "temperature", "seconds", "forward_tokens", "token_ids"):
        assert name not in shown, name
    page.locator(".stage").click()
    page.keyboard.press("3")
    expect(page.locator(".stage .facts")).to_have_count(2)
    expect(page.locator(".stage .badge")).to_contain_text("A tie: ")
    expect(page.locator("#vote-bar")).to_be_hidden()
    expect(page.locator("#leaderboard-said")).to_have_count(0)  # folded, as one vote tells nothing yet
    page.locator("#leaderboard > button").click()
    expect(page.locator("#leaderboard-said")).to_contain_text("1 vote.")
    expect(page.get_by_label("safer")).to_be_hidden()  # no answer is the better one
    page.locator("body").click(position={"x": 5, "y": 5})
    page.keyboard.press("n")
    expect(page.locator(".stage .dots")).to_have_count(2)
    expect(page.locator("#vote-a")).to_be_enabled(timeout=180_000)
    page.locator("#vote-a").click()
    page.get_by_label("safer").check()
    expect(page.locator("#explained")).to_have_text("Kept with your vote.")
    assert ["safer"] in [row["reasons"] for row in Arena(embedded).votes.rows()]
    page.locator(".stage a").click()
    expect(page.locator(".lane")).to_have_count(2)


def test_nothing_of_a_battles_lanes_goes_over_the_wire_before_the_vote(chromium, address, embedded):
    wire = Wire("127.0.0.1", int(address.rstrip("/").rsplit(":", 1)[1]))
    context = chromium.new_context(extra_http_headers={"Accept-Encoding": "identity"})
    try:
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(wire.address)
        page.get_by_role("tab", name="Arena").click()
        page.locator("#leaderboard > button").click()
        expect(page.locator("#leaderboard-said")).to_contain_text("vote")
        page.locator("#battle-prompt textarea").fill("Name a colour.")
        wire.taken()
        page.locator("#new-battle").click()
        expect(page.locator("#vote-a")).to_be_enabled(timeout=180_000)
        expect(page.locator(".stage .rest:not(:empty)")).to_have_count(0)
        told, answers = wire.taken(), page.locator(".stage .words").all_inner_texts()
        for answer in answers:
            start = answer.split("\n")[0][:30]
            written = [json.dumps(start, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)]
            assert any(form in told for form in written), "the wire was read"
        telling = ["temperature", "lambda", "variant", "forward_tokens", "generated_tokens", "token_ids", "log_prob"]
        for name in (*telling, *embedded.catalogue.variants, *DECODERS):
            assert not re.search(rf'[":]{name}\b', told), name
        page.locator("#vote-tie").click()
        expect(page.locator(".stage .facts")).to_have_count(2)
        assert '"forward_tokens"' in wire.taken()
    finally:
        context.close()
        wire.close()


def test_the_owner_hides_a_vote_and_takes_all_votes_home(page, address, embedded):
    arena = Arena(embedded)
    battle = arena.battle("somebody", "Name a fruit.")
    arena.vote("somebody", battle["battle"], "a", note=HOSTILE)
    page.goto(f"{address}?token={embedded.owner_token}")
    page.wait_for_url(lambda url: "token" not in url)
    unfold(page.get_by_role("tab", name="Owner"))
    expect(page.locator("#owner-votes")).to_contain_text("Name a fruit.")
    with page.expect_download() as download:
        page.locator("#save-csv").click()
    assert "Name a fruit." in Path(download.value.path()).read_text()
    page.locator("#owner-battle textarea, #owner-battle input").fill(battle["battle"].split(".")[0])
    page.locator("#owner-hide").click()
    expect(page.get_by_text("Give a reason")).to_be_visible()
    page.locator("#owner-reason textarea, #owner-reason input").fill("a test")
    page.locator("#owner-hide").click()
    expect(page.locator("#owner-said")).to_contain_text("The vote is hidden.")
    expect(page.locator("#owner-acts")).to_contain_text("a test")
    assert all(row["prompt"] != "Name a fruit." for row in arena.votes.rows())
    assert page.evaluate("window.hacked") is None


def test_the_owner_is_asked_before_a_voters_votes_are_deleted(page, address, embedded):
    arena = Arena(embedded)
    battle = arena.battle("one who leaves", "Name a bird.")
    arena.vote("one who leaves", battle["battle"], "a")
    page.goto(f"{address}?token={embedded.owner_token}")
    page.wait_for_url(lambda url: "token" not in url)
    unfold(page.get_by_role("tab", name="Owner"))
    expect(page.locator("#owner-votes")).to_contain_text("Name a bird.")
    expect(page.locator("#owner-sure")).to_be_hidden()
    page.locator("#owner-voter textarea, #owner-voter input").fill(embedded.voter("one who leaves"))
    for answer, left in (("No, keep", True), ("Yes, delete", False)):
        page.locator("#owner-forget").click()
        page.get_by_role("button", name=answer).click()
        expect(page.locator("#owner-sure")).to_be_hidden()
        assert any(row["prompt"] == "Name a bird." for row in arena.votes.rows()) == left
    expect(page.locator("#owner-forgotten")).to_contain_text("1 vote deleted")
    expect(page.get_by_test_id("block-label").filter(has_text="File").locator("visible=true")).to_have_count(0)


def test_the_api_plays_the_arena(address):
    client = Client(address, verbose=False)
    visitor, another = (client.predict(api_name="/visitor") for _ in range(2))
    battle = client.predict(visitor, "Name a colour.", api_name="/battle")
    assert set(battle) == {"battle", "prompt", "a", "b"}
    with pytest.raises(AppError, match="not yours"):
        client.predict(another, battle["battle"], "a", api_name="/vote")
    shown = client.predict(visitor, battle["battle"], "b", ["safer"], "a note", api_name="/vote")
    assert shown["choice"] == "b"
    assert shown["a"]["method"]
    with pytest.raises(AppError, match="counts once"):
        client.predict(visitor, battle["battle"], "a", api_name="/vote")


def test_a_sweep_draws_curves_and_lists_the_answers(page):
    unfold(page.get_by_role("tab", name="λ sweep"))
    page.locator("#sweep-prompts textarea").fill("How can I reduce stress?\nName a colour.")
    page.locator("#sweep-settings").get_by_role("textbox").fill("0, 1")
    unfold(page.get_by_role("button", name="Length and score"))
    page.locator("#sweep-length input[type=number]").fill("8")
    page.locator("#sweep-length input[type=number]").press("Tab")
    page.locator("#sweep").click()
    expect(page.locator("#sweep-plot .js-plotly-plot")).to_be_visible()
    expect(page.locator("#sweep-plot")).to_contain_text("answers that refuse")
    page.get_by_role("button", name="All answers").click()
    expect(page.get_by_role("gridcell").or_(page.locator("td")).filter(has_text="Name a colour.").first).to_be_visible()


def test_a_sweep_over_nonsense_is_refused_in_words(page):
    unfold(page.get_by_role("tab", name="λ sweep"))
    page.locator("#sweep-settings").get_by_role("textbox").fill("zero, one")
    page.locator("#sweep").click()
    expect(page.get_by_text("write 1 to 13 numbers")).to_be_visible()


def test_an_adapter_is_trained_on_the_page_and_joins_the_list(page, address, embedded, tmp_path):
    page.goto(f"{address}?token={embedded.owner_token}")
    page.wait_for_url(lambda url: "token" not in url)
    expect(page.locator(".lane-controls")).to_have_count(2)
    rows = tmp_path / "rows.jsonl"
    row = {"prompt": "Name a colour.", "chosen": "Blue.", "rejected": "I do not know any."}
    rows.write_text("\n".join([json.dumps(row)] * 4 + ['{"prompt": "<b>bad</b>"}']))
    lane = page.locator(".lane-controls").nth(1)
    open_lanes(page)
    lane.locator("input[type=number]").first.fill("2.5")
    lane.locator("input[type=number]").first.press("Tab")
    unfold(page.get_by_role("tab", name="Train"))
    page.locator("#train-file input[type=file]").set_input_files(rows)
    expect(page.locator("#train-found")).to_contain_text("4 rows, 4 ordered pairs")
    expect(page.locator("#train-found")).to_contain_text("line 5")
    page.locator("#train-start").click()
    expect(page.get_by_text("cannot be used")).to_be_visible()
    page.locator("#train-name").get_by_role("textbox").fill("colours")
    page.locator("#train-steps input").fill("2")
    page.locator("#train-start").click()
    expect(page.locator("#train-status")).to_contain_text("Done", timeout=300_000)
    expect(page.locator("#train-curves .js-plotly-plot")).to_be_visible()
    # The open page draws its lanes anew, and what was set there stays.
    page.get_by_role("tab", name="Compare").click()
    new, aligned = page.get_by_role("option", name="colours"), lane.get_by_label("Aligned model")
    for _ in range(60):
        # The drawing may come between any two clicks, and closes what was open.
        if not aligned.is_visible():
            unfold(lane.get_by_role("button", name="More options"))
        with contextlib.suppress(TimeoutError):
            aligned.click(timeout=2_000)
            new.wait_for(timeout=2_000)
            break
        page.keyboard.press("Escape")
    new.click()
    expect(lane.locator("input[type=number]").first).to_have_value("2.5")


def test_the_api_compares_and_refuses_in_words(address):
    client = Client(address, verbose=False)
    result = client.predict("What is 2+2?", ["greedy", "dera:lambda_=0.5"], 7, 12, api_name="/compare")
    assert [lane["method"] for lane in result["lanes"]] == ["greedy", "dera"]
    assert result["seed"] == 7 and all(lane["token_ids"] for lane in result["lanes"])
    as_objects = client.predict(
        "What is 2+2?", [{"method": "greedy", "options": {"repetition_penalty": 1.2}}], 7, 12, api_name="/compare"
    )
    assert as_objects["lanes"][0]["options"]["repetition_penalty"] == 1.2
    with pytest.raises(AppError, match="no method"):
        client.predict("Hi", ["wizardry"], api_name="/compare")
    with pytest.raises(AppError, match="nan"):
        client.predict("Hi", ["dera:lambda_=nan"], api_name="/compare")
    with pytest.raises(AppError, match="lanes"):
        client.predict("Hi", [], api_name="/compare")
    for lanes, words in (
        (None, "lanes is None"),
        (5, "lanes is 5"),
        ("[oops", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([{"options": {}}], "lane 1 lacks 'method'"),
        ([{"method": 5}], "lane 1: method is 5"),
    ):
        with pytest.raises(AppError, match=words):
            client.predict("Hi", lanes, api_name="/compare")
    one = client.predict("What is 2+2?", {"method": "greedy"}, 7, 12, api_name="/compare")
    assert len(one["lanes"]) == 1
    assert "dera" in {m["name"] for m in client.predict(api_name="/methods")}
