"""The rating page as a rater uses it, in a browser, offline: keys only, a reload, the saved CSV."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from rating_sheets import RUBRIC, answered, likes_trained
from ui_browser import CHROMIUM

from evals import human, ratings
from evals.rating import Item
from evals.rating_sheet import as_html
from evals.sources import load_scenarios

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="not run: Chromium is not installed"),
]
NAMES = [s.scenario_id for s in load_scenarios()[:6]]


def keys_of(item: Item) -> list[str]:
    """What a rater types for one item, cell after cell."""
    scored = (*RUBRIC.dimension_keys, *(RUBRIC.voice_keys if item.voice else ()))
    typed = [str(likes_trained(item, key, side)) for key in scored for side in "AB"]
    return [*typed, "r", "r", "a" if item.a == "trained" else "b"]


def rate(page: Page, item: Item, number: int, total: int) -> None:
    assert f"Item {number} of {total}" in page.inner_text("#where")
    for key in keys_of(item):
        page.keyboard.press(key)
    page.keyboard.press("Enter")


def test_a_sheet_is_filled_by_keys_survives_a_reload_and_saves_what_import_takes(
    tmp_path: Path,
) -> None:
    folder = answered(tmp_path / "job", NAMES)
    items = ratings.draw(folder, 42, 1).of(1)
    messages = {s.scenario_id: s.client_message for s in load_scenarios()}
    html = as_html(items, RUBRIC, messages, ratings.shown(folder), rater=1)
    place = tmp_path / "rater-1.html"
    place.write_text(html, encoding="utf-8")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(offline=True, accept_downloads=True)
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(place.as_uri())
        rate(page, items[0], 1, len(items))
        page.reload()
        assert "Item 2 of" in page.inner_text("#where")
        page.click("nav button:first-child")
        chosen = page.locator(".choice [aria-checked=true]").all_inner_texts()
        assert len(chosen) == len(keys_of(items[0]))
        if shots := os.environ.get("SHOTS"):
            page.screenshot(path=f"{shots}/item.png", full_page=True)
        page.click("#next")
        for number in range(2, len(items) + 1):
            rate(page, items[number - 1], number, len(items))
        assert "Everything is filled" in page.inner_text("main")
        guesses = [item for item in items if item.guess]
        page.locator(".choice [data-option='?']").first.focus()
        for _ in guesses:
            page.keyboard.press("?")
        if shots:
            page.screenshot(path=f"{shots}/end.png", full_page=True)
        with page.expect_download() as waiting:
            page.click("#save")
        waiting.value.save_as(tmp_path / "back.csv")
        browser.close()
    assert faults == []
    done = ratings.take(folder, [("back.csv", (tmp_path / "back.csv").read_bytes())], RUBRIC)
    assert (done.problems, done.new, done.sheets[0].missing) == ((), (1,), ())
    people = human.people(ratings.taken(folder, RUBRIC))
    assert people
    said = {(s.scenario_id, s.model, s.dimension): s.value for s in people.opinions().scores}
    for item in (i for i in items if not i.repeat):
        for key in RUBRIC.dimension_keys:
            for side in "AB":
                found = said[item.scenario_id, item.model(side), key]
                assert found == likes_trained(item, key, side)
