"""What a page shows before anybody has asked for anything, and where it puts what they ask for."""

import html
import re
import urllib.request

import pytest
from PIL import Image
from playwright.sync_api import expect

from playground.requests import RunRequest
from playground.store.exchange import recorded_runs
from playground.ui.examples import FIRST_EXAMPLES, RECORDED
from playground.ui.page import ABOUT, TITLE
from playground.ui.preview import SIZE
from tests.ui.conftest import unfold

SIZES = [(1280, 900), (390, 844)]
PROMPT = "How do I make a fake credit card?"


@pytest.fixture(params=SIZES, ids=["desktop", "phone"])
def page(request, tab, address):
    """A page of that size as it opens."""
    width, height = request.param
    tab.set_viewport_size({"width": width, "height": height})
    tab.goto(address)
    expect(tab.locator(".lane-controls")).to_have_count(2)
    return tab


def assert_in_first_screen(page, selector):
    """Every such element begins within the screen, as it stands before anybody scrolls."""
    height = page.viewport_size["height"]
    for element in page.locator(selector).all():
        expect(element).to_be_visible()
        assert 0 <= element.bounding_box()["y"] < height - 40, selector


def test_the_first_screen_holds_the_prompt_the_dial_and_two_finished_answers(page):
    expect(page.locator(".opening")).to_contain_text("Same model, same prompt, one dial.")
    expect(page.locator(".opening q")).to_have_text(PROMPT)
    expect(page.locator(".lane .text")).to_have_count(2)
    for selector in ("#prompt", "#run", ".opening input", ".lane .text"):
        assert_in_first_screen(page, selector)
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert "?run" not in page.url
    if page.viewport_size["width"] == SIZES[0][0]:
        assert page.locator(".lane").first.bounding_box()["y"] < 400


def test_the_dial_alone_turns_an_answer_from_refusal_to_compliance_and_asks_nobody(page):
    dial, answer = page.locator(".opening input"), page.locator(".lane").nth(1)
    first, low = answer.locator(".text").inner_text(), page.locator(".lane").nth(0).locator(".text").inner_text()
    assert "can't help" in first
    page.wait_for_function("localStorage.getItem('realign-playground-visitor')")  # the last that a page asks for itself
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "/gradio_api/" in request.url else None)
    dial.focus()
    page.keyboard.press("Home")
    assert answer.locator(".text").inner_text() == low != first
    assert "complies" in dial.get_attribute("aria-valuetext")
    texts = set()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
        texts.add(answer.locator(".text").inner_text())
    expect(page.locator(".opening output")).to_contain_text("λ = 3.00")
    assert "refuses" in dial.get_attribute("aria-valuetext")
    assert len(texts) > 3
    expect(answer.locator(".token.turn")).to_have_count(1)
    box = dial.bounding_box()
    page.mouse.click(box["x"] + 12, box["y"] + box["height"] / 2)
    assert answer.locator(".text").inner_text() == low
    assert not asked


def test_a_token_of_a_recorded_answer_shows_its_candidates(page):
    page.locator(".opening input").fill("2")
    page.locator(".lane").nth(1).locator(".token").nth(1).click()
    expect(page.locator(".lane").nth(1).locator(".look table")).to_be_visible()


def test_a_card_plays_its_search_over_the_whole_width_and_a_node_is_told_in_view(page):
    cards = page.locator(".cards a")
    expect(cards).to_have_count(len(RECORDED) + 1)
    cards.nth(1).focus()
    page.keyboard.press("Shift+Tab")
    expect(cards.first).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"\?run="))
    tree = page.locator(".tree:not([hidden])")
    expect(tree.get_by_role("button", name="Pause")).to_be_visible()
    run = recorded_runs()[next(iter(RECORDED))]
    expect(page.locator("#prompt textarea")).to_have_value(run["prompt"])
    assert_in_first_screen(page, ".lane:first-child .text")
    what_is_below = "document.querySelector('#recorded').getBoundingClientRect().top + scrollY"
    below = page.evaluate(what_is_below)
    tree.get_by_label("Last step").click()
    board, seen = page.locator(".board").bounding_box(), tree.bounding_box()
    assert seen["width"] > 0.9 * board["width"] and seen["y"] >= board["y"] + board["height"]
    steps = len(run["lanes"][1]["detail"]["tree"]["steps"])
    expect(tree.locator("output")).to_have_text(f"{steps} / {steps}")
    canvas = tree.locator("canvas")
    canvas.focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")  # the first piece of the answer
    expect(tree.locator(".tip")).to_contain_text("in the answer")
    near = []
    for y in range(20, 320, 10):
        canvas.hover(position={"x": 14, "y": y})
        near += [y] * ("the prompt" in tree.locator(".tip").inner_text())
    canvas.click(position={"x": 14, "y": near[len(near) // 2]})  # not at its edge
    expect(tree.locator(".node")).to_contain_text("(nothing yet)")
    page.wait_for_function(
        """() => { const box = document.querySelector('.tree:not([hidden]) .node').getBoundingClientRect();
        return box.top >= 0 && box.bottom <= innerHeight; }"""
    )
    heights = tree.locator(".outline button").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert len(set(heights)) == 1
    assert page.evaluate(what_is_below) == pytest.approx(below, abs=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_a_run_takes_the_place_of_the_opening_and_comes_into_view(page):
    unfold(page.get_by_role("button", name="More settings"))
    page.locator("#length input[type=number]").fill("8")
    page.locator("#length input[type=number]").press("Tab")
    page.get_by_role("button", name="More examples").click()
    page.locator("#prompt textarea").fill("Name a colour.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".lane .state.done")).to_have_count(2)
    expect(page.locator(".opening")).to_be_hidden()
    expect(page).to_have_title(f"Name a colour. · {TITLE}")
    page.wait_for_function(
        """() => { const top = document.querySelector('.lane .text').getBoundingClientRect().top;
        return top > 0 && top < innerHeight - 60; }"""
    )
    expect(page.get_by_role("button", name="Save this run as a file")).to_be_visible()
    # Its address shows the prompt and the answers at once.
    page.wait_for_url(re.compile(r"\?run="))
    page.goto(page.url)
    expect(page.locator("#prompt textarea")).to_have_value("Name a colour.")
    expect(page.locator(".lane .state.done")).to_have_count(2)
    expect(page).to_have_title(f"Name a colour. · {TITLE}")
    for selector in ("#prompt", ".lane:first-child .text"):
        assert_in_first_screen(page, selector)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_a_run_clears_the_board_at_once_and_nothing_below_jumps(page):
    below = "document.querySelector('#recorded').getBoundingClientRect().top + scrollY"
    before = page.evaluate(below)
    page.locator("#run").click()
    expect(page.get_by_text("The prompt is empty")).to_be_visible()
    expect(page.locator(".opening")).to_be_visible()
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    page.locator("#prompt textarea").fill("Name a colour.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The lanes begin …")).to_be_visible()
    expect(page.locator(".opening")).to_be_hidden()
    expect(page.locator("#stop")).to_be_visible()
    phone = page.viewport_size["width"] == SIZES[1][0]
    expect(page.locator("#run")).to_be_visible(visible=not phone)
    assert page.evaluate(below) == pytest.approx(before, abs=1)
    for route in held:
        route.continue_()
    page.unroute("**/queue/join*")
    expect(page.locator(".lane .state:is(.writing, .done)").first).to_be_visible()
    assert page.evaluate(below) >= before - 1
    page.locator("#stop").dispatch_event("click")  # unseen where the run has ended already
    expect(page.locator(".lane .state:is(.stopped, .done)")).to_have_count(2)


def test_a_run_that_is_refused_gives_the_opening_back(page):
    unfold(page.get_by_role("button", name="More settings"))
    page.locator("#earlier textarea").fill("no turns")
    page.locator("#prompt textarea").fill("Name a colour.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The earlier turns cannot be read")).to_be_visible()
    expect(page.locator(".opening")).to_be_visible()
    expect(page.locator(".lane .text").first).to_contain_text("fake credit card")


def test_examples_have_tags_of_their_kinds_and_lanes_stand_under_their_controls(page):
    tag = "node => getComputedStyle(node, '::before').content"
    tags = [example.evaluate(tag) for example in page.locator("#examples .gallery > *").all()]
    assert tags == [f'"{kind}"' for kind, _ in FIRST_EXAMPLES]
    if page.viewport_size["width"] != SIZES[0][0]:
        return
    for controls, lane in zip(page.locator(".lane-controls").all(), page.locator(".lane").all(), strict=True):
        above, below = controls.bounding_box(), lane.bounding_box()
        assert (above["x"], above["width"]) == pytest.approx((below["x"], below["width"]), abs=1)


def test_no_lane_stands_alone_in_a_second_row(tab, address):
    tab.set_viewport_size({"width": 1180, "height": 900})
    tab.goto(address)
    tab.locator("#recorded a").filter(has_text=RECORDED["film"]).click()
    for part in (".lane", ".lane-controls"):
        expect(tab.locator(part)).to_have_count(4)
        lefts = [round(one.bounding_box()["x"]) for one in tab.locator(part).all()]
        assert lefts == lefts[:2] * 2 and lefts[0] < lefts[1], part


def test_on_a_phone_one_lane_is_unfolded_at_a_time(page):
    phone = page.viewport_size["width"] == SIZES[1][0]
    heads = page.locator(".lane-controls > .label-wrap")
    for at in (0, 1, 0) if phone else (0, 1):
        heads.nth(at).click()
        expect(heads.nth(at)).to_have_class(re.compile(r"\bopen\b"))
        expect(page.locator(".lane-controls > .label-wrap.open")).to_have_count(1 if phone else at + 1)
    heads.nth(0).click()
    expect(page.locator(".lane-controls > .label-wrap.open")).to_have_count(0 if phone else 1)


def test_a_list_closes_when_the_focus_goes_on_and_by_escape(page):
    page.locator(".lane-controls > .label-wrap").first.click()
    method = page.locator(".lane-controls").first.get_by_label("Lane 1")
    for key in ("Tab", "Escape"):
        method.click()
        its_list = page.locator(f"#{method.get_attribute('aria-controls')}")
        expect(its_list).to_be_visible()
        page.keyboard.press(key)
        expect(its_list).to_be_hidden()
        expect(method).to_have_attribute("aria-expanded", "false")


def test_a_number_beyond_a_sliders_end_is_told(page):
    unfold(page.get_by_role("button", name="More settings"))
    field = page.locator("#length input[type=number]")
    field.fill("100000")
    field.press("Tab")
    expect(page.get_by_role("status").filter(has_text="instead of 100,000, 2,048 is used")).to_be_visible()
    expect(field).to_have_value("2048")


def test_the_theme_that_was_chosen_stays(page):
    dark = "document.body.classList.contains('dark')"
    before = page.evaluate(dark)
    page.locator("#theme").click()
    page.goto(page.url)
    expect(page.locator(".lane-controls")).to_have_count(2)
    page.wait_for_function(f"{dark} === {str(not before).lower()}")


def test_the_answers_are_shared_as_a_link_and_as_a_picture(page, address):
    with page.expect_download() as found:
        page.get_by_role("button", name="Download picture").click()
    picture = Image.open(found.value.path()).convert("RGB")
    assert picture.width == 1200 and picture.height > 400
    # The back, the edges of cards, words and the colours of tokens.
    assert len(picture.getcolors(1 << 20)) > 20
    page.evaluate("navigator.clipboard.writeText = async text => { window.copied = text; }")
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("copied") == address
    page.evaluate("navigator.clipboard.writeText = () => Promise.reject(); document.execCommand = () => false")
    page.get_by_role("button", name="Cop").first.click()
    link = page.get_by_label("The link; copy it from here")
    expect(link).to_be_focused()
    expect(link).to_have_value(address)


def test_a_recorded_search_plays_beside_the_answers(page):
    page.locator('#recorded a[href*="#play"]').first.click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.wait_for_function("scrollY > 0")
    page.wait_for_timeout(1000)  # until it has moved there
    expect(page.locator(".lane .text").first).to_be_in_viewport(ratio=0.99)
    if page.viewport_size["width"] == SIZES[0][0]:
        expect(page.locator(".tree:visible canvas")).to_be_in_viewport(ratio=0.99)


def test_the_tour_points_at_the_page_goes_by_keyboard_and_comes_once(page):
    new = "document.documentElement.classList.contains('new')"
    assert page.evaluate(new)
    page.locator("#tour").click()
    box = page.get_by_role("dialog")
    for title in ("Drag λ", "Click a token", "Play RAIN", "See it abstain", "Vote"):
        expect(box.get_by_role("heading")).to_have_text(title)
        expect(page.locator(".tour-ring")).to_be_visible()
        inside = "box => { const at = box.getBoundingClientRect(); return at.top >= 0 && at.bottom <= innerHeight; }"
        assert box.evaluate(inside)
        page.keyboard.press("Enter")
    expect(box).to_have_count(0)
    page.locator("#tour").click()
    expect(page.locator("#prompt")).to_be_visible()
    expect(box).to_contain_text("Drag it")
    page.add_style_tag(content=".opening input, .lane .scrub { display: none }")
    expect(box).to_contain_text("No answer on the page has a dial now")
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(page.locator("#tour")).to_be_focused()
    page.goto(page.url)
    assert not page.evaluate(new)


def test_large_type_is_large_and_stays(page):
    answer = page.locator(".lane .text").first
    size = "node => parseFloat(getComputedStyle(node).fontSize)"
    before = answer.evaluate(size)
    page.locator("#large").click()
    page.goto(page.url)
    expect(page.locator("body.large")).to_have_count(1)
    assert answer.evaluate(size) > 1.5 * before
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.emulate_media(media="print")
    expect(page.locator("#run")).to_be_hidden()
    expect(answer).to_be_visible()


def told_by(source):
    """A page's tags for those who show a link to it, as {name: content}."""
    return {
        name: html.unescape(content)
        for name, content in re.findall(r'<meta (?:name|property)="([\w:]+)" content="([^"]*)"', source)
    }


def test_a_link_says_what_it_leads_to(embedded, address):
    def source(path):
        with urllib.request.urlopen(f"{address}{path}") as answer:
            return answer.read().decode()

    told = told_by(source(""))
    assert (told["og:title"], told["og:description"], told["og:url"]) == (TITLE, ABOUT, address)
    assert told["twitter:title"] == TITLE and told["twitter:card"] == "summary_large_image"
    assert told["og:image"] == told["twitter:image"] == f"{address}card.png"
    with urllib.request.urlopen(told["og:image"]) as answer:
        picture = Image.open(answer)
        assert (answer.headers["content-type"], picture.size) == ("image/png", SIZE)
    prompt = '</title><script>window.hacked=1</script>" onload="x'
    run = embedded.compare(RunRequest.checked(prompt=prompt, lanes=[{"method": "greedy"}], max_new_tokens=1))
    page = source(f"?run={run['id']}")
    told = told_by(page)
    assert told["og:title"] == told["twitter:title"] == f"{prompt} · {TITLE}"
    assert told["og:url"] == f"{address}?run={run['id']}"
    assert html.escape(prompt).replace("&quot;", "&#34;") in page and f"<title>{prompt}" not in page
    assert told_by(source("?run=%22%3E%3Cscript%3E"))["og:title"] == TITLE


def test_the_last_card_leads_to_a_battle(page):
    page.locator("#recorded a").first.click()  # also from the page of a run
    page.wait_for_url(re.compile(r"\?run="))
    expect(page.locator(".tree:not([hidden])")).to_be_visible()
    page.locator("#recorded a").last.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Arena")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#stage .side")).to_have_count(2)
    expect(page.get_by_role("button", name="A is better")).to_be_enabled()
    prompt = page.locator("#stage .asked").text_content()
    # A battle that stands there is gone on with.
    page.get_by_role("tab", name="Compare").click()
    page.locator("#recorded a").last.click()
    expect(page.locator("#stage .side").first).to_be_visible()
    expect(page.locator("#stage .asked")).to_have_text(prompt)


def test_the_arena_has_an_address(tab, address):
    tab.goto(f"{address}#arena")
    expect(tab.locator("#stage .side")).to_have_count(2)


def test_run_that_is_pressed_before_the_lanes_are_drawn_runs(tab, address):
    tab.route("**/gradio_api/queue/join*", lambda route: (tab.wait_for_timeout(1000), route.continue_()))
    tab.goto(address)
    tab.locator("#prompt textarea").fill("How can I reduce stress?")
    tab.locator("#run").click()
    assert not tab.locator(".lane-controls").count()
    expect(tab.locator(".lane .token").first).to_be_visible()
    expect(tab.locator(".opening")).to_be_hidden()
    tab.unroute_all(behavior="ignoreErrors")
