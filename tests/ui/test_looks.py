"""Every tab at both sizes, in light and dark: nothing overlaps or scrolls sideways, colours can be told apart, no
serious fault of accessibility, and the keyboard reaches everything and shows where it is."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.ui.test_opening import SIZES

TABS = ("Compare", "Ask", "λ sweep", "Arena", "Train", "Owner", "History", "About")
GRADIOS = {
    # An empty plot is a div with a label and no role.
    "aria-prohibited-attr": ".empty",
    # A table is scrolled by arrow keys from a cell, which axe does not see.
    "scrollable-region-focusable": ".virtual-table-viewport",
}
"""Faults in what Gradio itself draws: rule of axe → where."""
SERIOUS = ("serious", "critical")
TABS_PRESSED = 80
"""How often Tab is pressed on each tab at most: more than any has places to stop at."""


@pytest.fixture
def page(tab, address, embedded):
    """A page of the owner's, who sees every tab."""
    tab.emulate_media(color_scheme="light", reduced_motion="reduce")
    tab.add_init_script(path=Path(__file__).parent / "looks.js")
    tab.goto(f"{address}?token={embedded.owner_token}")
    tab.wait_for_url(lambda url: "token" not in url)
    expect(tab.locator(".lane-controls")).to_have_count(2)
    return tab


def go_to(page, name):
    """Open a tab; on a phone most are in the list at the end of the row."""
    tab = page.get_by_role("tab", name=name, exact=True).locator("visible=true")
    if not tab.count():
        page.locator(".overflow-menu > button").locator("visible=true").click()
        tab = page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True)
    tab.click()
    page.wait_for_timeout(200)  # a plot or a table may come later; what is checked holds with and without it


def faults_of_axe(page, **options):
    """Serious faults that are ours, in words."""
    for fault in Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]:
        for node in fault["nodes"]:
            [place, *_] = node["target"]
            # What has been replaced since, as an empty plot by a full one, is no fault of the page.
            theirs = "([place, gradios]) => document.querySelector(place)?.matches(gradios) ?? true"
            if fault["impact"] in SERIOUS and not page.evaluate(theirs, [place, GRADIOS.get(fault["id"], ":not(*)")]):
                yield f"{fault['id']}: {place}: {node['failureSummary']}"


@pytest.mark.parametrize("size", SIZES, ids=["desktop", "phone"])
def test_every_tab_can_be_read_and_used_in_light_and_dark(page, size):
    page.set_viewport_size(dict(zip(("width", "height"), size, strict=True)))
    page.locator(".lane-controls > .label-wrap").first.click()
    faults = []
    for name in TABS:
        go_to(page, name)
        found = [*page.evaluate("looks.overlapping()"), *page.evaluate("looks.faint()"), *faults_of_axe(page)]
        if page.evaluate("document.documentElement.scrollWidth") > size[0]:
            found.append("it scrolls sideways")
        page.evaluate("document.body.classList.add('dark')")
        found += page.evaluate("looks.faint()")
        found += faults_of_axe(page, runOnly=["color-contrast"])
        page.evaluate("document.body.classList.remove('dark')")
        faults += [f"{name}: {fault}" for fault in found]
    assert not faults, "\n".join(faults)


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page):
    unseen = []
    for name in TABS:
        go_to(page, name)
        reached = set()
        for _ in range(TABS_PRESSED):
            page.keyboard.press("Tab")
            stop = page.evaluate("looks.focused()")
            if stop is None or stop["what"] in reached:
                break
            reached.add(stop["what"])
            if not stop["seen"]:
                unseen.append(f"{name}: {stop['what']}")
    assert not unseen, "\n".join(unseen)
