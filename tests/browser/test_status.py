"""The state of the whole, as ops see it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from app.web.status import number
from tests.replicas import Replicas
from tests.support import CAR, ROOT, serving

MARKUP = "<b>bold<b>"
UPDATE_MS = 15_000  # an update comes every two seconds, on a busy machine later


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("two")
    models = folder / "models"
    models.mkdir()
    (models / "mpg").symlink_to(ROOT / "models" / "mpg")
    (models / f"{MARKUP}.h5").write_text("no model")
    replicas = Replicas(models, folder)
    try:
        replicas.start_both()
        yield replicas
    finally:
        replicas.stop()


@pytest.fixture(scope="session")
def base_url(two: Replicas) -> str:
    return two.servers["app-1"].url


def _table(page: Page, replica: str) -> Locator:
    return page.get_by_role("table", name=f"The last minute of {replica}")


def _cell(page: Page, replica: str, column: str, model: str = "Miles per gallon") -> Locator:
    """Found as a reader of the table does: by the headers of its row and column."""
    table = _table(page, replica)
    headers = [h.split("\n")[0].split(" ")[0] for h in table.locator("thead th").all_inner_texts()]
    return table.get_by_role("row", name=model).get_by_role("cell").nth(headers.index(column) - 1)


def _updated(page: Page) -> None:
    """One more update has come."""
    live = page.locator("#live")
    before = live.inner_text()
    expect(live).not_to_have_text(before, timeout=UPDATE_MS)
    expect(live).to_contain_text("last at", timeout=UPDATE_MS)


def _ask(two: Replicas, times: int, name: str = "app-1") -> None:
    for _ in range(times):
        assert two.servers[name].post("/api/mpg", json=CAR).status_code == 200


# --- without requests, in this order --------------------------------------------------------------


def test_before_the_first_request(page: Page) -> None:
    page.goto("/status")
    expect(page.get_by_text("no request yet")).to_have_count(2)
    expect(_cell(page, "app-1", "Requests")).to_have_text("0")
    expect(_cell(page, "app-1", "p50")).to_have_text("–")


def test_script_and_server_write_the_same(page: Page, browser: Browser, base_url: str) -> None:
    plain = browser.new_context(java_script_enabled=False, base_url=base_url)
    unscripted = plain.new_page()
    unscripted.goto("/status")
    page.goto("/status")
    _updated(page)
    for replica in ("app-1", "app-2"):
        assert _table(page, replica).inner_text() == _table(unscripted, replica).inner_text()
    assert page.locator("#overall").inner_text() == unscripted.locator("#overall").inner_text()
    line = "svg polyline >> nth=1"
    assert page.locator(line).get_attribute("points") == unscripted.locator(line).get_attribute(
        "points"
    )
    values = [None, 0, 0.01, 0.05, 0.25, 3, 9.94, 9.95, 10.5, 1234.4, 7.86e6]
    script = (
        "async (v) => { const f = await import('/static/js/figures.js'); return v.map(f.number) }"
    )
    assert page.evaluate(script, values) == [number(value) for value in values]
    plain.close()


# --- at a glance ----------------------------------------------------------------------------------


def test_a_sentence_says_whether_all_is_well(page: Page) -> None:
    page.goto("/status")
    verdict = page.get_by_role("status")
    expect(verdict).to_have_text(f'2 replicas, 2 models: the model "{MARKUP}" failed to load')
    expect(page.get_by_role("heading", level=2, name="app-1 ready")).to_be_visible()
    expect(page.get_by_role("heading", level=2, name="app-2 ready")).to_be_visible()
    reason = page.get_by_text(f"{MARKUP}: this name cannot be part of an address")
    expect(reason).to_have_count(2)


def test_names_never_become_markup(page: Page) -> None:
    page.goto("/status")
    _updated(page)
    row = _table(page, "app-1").get_by_role("row", name=MARKUP)
    expect(row.get_by_role("rowheader")).to_contain_text(f"{MARKUP} failed")
    assert page.locator("main b").count() == 0


def test_the_table_reads_as_one(page: Page) -> None:
    page.goto("/status")
    table = _table(page, "app-2")
    expect(table.get_by_role("columnheader")).to_have_text(
        [
            "Model",
            "Requests a second",
            "Rows a second",
            "p50 ms",
            "p95 ms",
            "p99 ms",
            "Waiting requests",
            "Batch mean rows",
            "Errors in a minute",
            "Weights MB",
        ]
    )
    expect(table.get_by_role("rowheader")).to_have_count(2)
    expect(table.get_by_role("row", name="Miles per gallon").get_by_role("cell")).to_have_count(9)
    # The charts repeat what the table says.
    assert page.locator("svg:not([aria-hidden=true])").count() == 0
    table.get_by_role("link", name="Miles per gallon").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Miles per gallon")


def test_events_of_the_last_day(page: Page) -> None:
    page.goto("/status")
    rows = page.get_by_role("region", name="Events of the last day").get_by_role("row")
    expect(rows.filter(has_text="Server started")).to_have_count(2)
    expect(rows.filter(has_text="Model mpg ready after")).to_have_count(2)
    times = page.locator("#events time")
    moments = [t.get_attribute("datetime") or "" for t in times.all()]
    assert moments == sorted(moments, reverse=True)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", m) for m in moments)


def test_what_the_figures_mean(page: Page) -> None:
    page.goto("/status")
    meaning = page.get_by_text("half of the requests took at most p50")
    expect(meaning).to_be_hidden()
    page.get_by_text("What the figures mean").click()
    expect(meaning).to_be_visible()


# --- while it is open -----------------------------------------------------------------------------


def test_figures_move_under_load(page: Page, two: Replicas) -> None:
    page.goto("/status")
    line = _table(page, "app-1").get_by_role("row", name="Miles per gallon").locator("polyline")
    flat = line.get_attribute("points") or ""
    _ask(two, 40)
    two.servers["app-1"].post("/api/mpg", json={**CAR, "year": "x"})
    expect(_cell(page, "app-1", "Requests")).to_have_text(
        re.compile(r"^\s*0\.[1-9]|^\s*[1-9]"), timeout=UPDATE_MS
    )
    expect(_cell(page, "app-1", "p99")).not_to_have_text("–")
    expect(_cell(page, "app-1", "Batch")).to_have_text(re.compile(r"^\s*1\.\d"))
    expect(_cell(page, "app-1", "Errors")).to_contain_text("1 invalid input")
    # More, if pages of the tests before were left while they waited for an answer.
    expect(page.get_by_text(re.compile("(4[1-9]|5[0-9]) requests so far"))).to_be_visible()
    expect(line).not_to_have_attribute("points", flat, timeout=UPDATE_MS)
    expect(_cell(page, "app-2", "Requests")).to_have_text("0")


def test_updates_leave_focus_and_scrolling_alone_and_say_nothing(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 600})
    page.goto("/status")
    region = page.get_by_role("region", name="Models of app-1")
    region.focus()
    region.evaluate("(element) => { element.scrollLeft = 120 }")
    page.evaluate("scrollTo(0, 150)")
    page.evaluate(
        """() => {
          window.said = 0;
          const verdict = document.getElementById("overall");
          const watch = { childList: true, characterData: true, subtree: true };
          new MutationObserver(() => window.said++).observe(verdict, watch);
        }"""
    )
    for _ in range(2):
        _updated(page)
    expect(region).to_be_focused()
    assert region.evaluate("(element) => element.scrollLeft") == 120
    assert page.evaluate("scrollY") == 150
    assert page.evaluate("said") == 0


def test_a_link_keeps_its_focus(page: Page) -> None:
    page.goto("/status")
    link = _table(page, "app-2").get_by_role("link", name="Miles per gallon")
    link.focus()
    _updated(page)
    expect(link).to_be_focused()


def test_no_answer_is_said_and_the_figures_stay(page: Page) -> None:
    page.goto("/status")
    _updated(page)
    weights = _cell(page, "app-1", "Weights")
    before = weights.inner_text()

    def refuse(route: Route) -> None:
        route.abort()

    page.route("**/api/status", refuse)
    verdict = page.get_by_role("status")
    expect(verdict).to_contain_text("No answer since", timeout=UPDATE_MS)
    assert weights.inner_text() == before
    page.unroute("**/api/status", refuse)
    expect(verdict).to_contain_text("2 replicas", timeout=2 * UPDATE_MS)


def test_nonsense_is_no_answer(page: Page) -> None:
    page.goto("/status")
    page.route("**/api/status", lambda route: route.fulfill(status=200, body="<html>"))
    expect(page.get_by_role("status")).to_contain_text("No answer since", timeout=UPDATE_MS)


def test_it_asks_less_often_while_there_is_no_answer(page: Page) -> None:
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # else it goes on by itself
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.endswith("/api/status") else None)
    page.route("**/api/status", lambda route: route.abort())
    page.goto("/status")
    waits = [2, 4, 8, 16, 30, 30]
    for count, seconds in enumerate(waits, 1):
        page.clock.run_for(seconds * 1000 - 100)
        assert len(asked) == count - 1
        with page.expect_event("requestfailed"):
            page.clock.run_for(200)
        # The answer is dealt with before the clock goes on.
        page.evaluate(
            "new Promise((done) => { const c = new MessageChannel();"
            " c.port1.onmessage = done; c.port2.postMessage(0); })"
        )
        assert len(asked) == count


def test_a_hidden_page_asks_nothing_and_a_shown_one_at_once(page: Page) -> None:
    page.clock.install(time=0)
    page.clock.pause_at(1000)  # else it goes on by itself
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.url) if r.url.endswith("/api/status") else None)
    page.goto("/status")
    turn = """(hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(turn, True)
    page.clock.run_for(60_000)
    assert asked == []
    with page.expect_response("**/api/status"):
        page.evaluate(turn, False)


def test_a_replica_that_goes_away_is_shown_and_comes_back(page: Page, two: Replicas) -> None:
    page.goto("/status")
    _updated(page)
    two.servers["app-2"].process.send_signal(signal.SIGKILL)
    verdict = page.get_by_role("status")
    expect(verdict).to_contain_text("app-2 cannot be reached", timeout=UPDATE_MS)
    expect(page.get_by_role("heading", level=2, name="app-2 unreachable")).to_be_visible()
    expect(page.get_by_text("app-2 cannot be reached: connection refused")).to_be_visible()
    expect(_table(page, "app-2")).to_be_hidden()
    expect(_table(page, "app-1")).to_be_visible()
    two.start("app-2").await_ready()
    expect(_table(page, "app-2")).to_be_visible(timeout=UPDATE_MS)
    expect(page.get_by_role("heading", level=2, name="app-2 ready")).to_be_visible()
    expect(verdict).not_to_contain_text("cannot be reached")
    events = page.get_by_role("region", name="Events of the last day")
    expect(events.get_by_role("row", name="Server had ended without a stop")).to_have_count(1)


# --- other ways to look at it ---------------------------------------------------------------------


def test_without_javascript(browser: Browser, base_url: str, two: Replicas) -> None:
    _ask(two, 1)
    context = browser.new_context(java_script_enabled=False, base_url=base_url)
    page = context.new_page()
    page.goto("/status")
    expect(page.get_by_role("status")).to_contain_text("2 replicas, 2 models")
    expect(page.get_by_text("reload the page for new ones")).to_be_visible()
    expect(_cell(page, "app-1", "p50")).not_to_have_text("–")
    expect(page.locator("#events time").first).to_have_text(re.compile("UTC$"))
    assert page.locator("polyline").last.get_attribute("points")
    context.close()


def test_with_the_keyboard_only(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    page.goto("/status")
    region = page.get_by_role("region", name="Models of app-1")
    for _ in range(7):  # skip link, five links of the site, and here we are
        page.keyboard.press("Tab")
    expect(region).to_be_focused()
    assert region.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")
    page.get_by_text("What the figures mean").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("half of the requests took at most p50")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_small_screen(browser: Browser, base_url: str, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 375, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
        base_url=base_url,
    )
    page = context.new_page()
    page.goto("/status")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    region = page.get_by_role("region", name="Models of app-1")
    assert region.evaluate("(e) => e.scrollWidth > e.clientWidth")
    # The names of the models stay in sight.
    region.evaluate("(e) => { e.scrollLeft = e.scrollWidth }")
    expect(_cell(page, "app-1", "Weights")).to_be_in_viewport()
    expect(region.get_by_role("link", name="Miles per gallon")).to_be_in_viewport()
    context.close()


def test_a_server_without_models(page: Page, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with serving(tmp_path / "models", tmp_path, replica="alone") as server:
        page.goto(f"{server.url}/status")
        expect(page.get_by_role("status")).to_have_text("1 replica, 0 models: ready")
        expect(page.get_by_text("No model yet.")).to_be_visible()
        _updated(page)
        expect(page.get_by_text("No model yet.")).to_be_visible()
        expect(page.get_by_role("table")).to_have_count(1)  # that of events
