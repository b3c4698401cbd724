"""Pictures on their way: progress, problems, and what can be done meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.image_page import API, PAGE, choose, classify, file, row, rows, status
from tests.browser.visit import PHONE, check_on_a_phone
from tests.support import ServerProcess, padded_picture, picture, serving, shipped_models


@pytest.fixture
def throttle(page: Page) -> Callable[[int], None]:
    """Says how many bytes a second the page may upload; -1 takes the limit away."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")

    def limit(bytes_per_s: int) -> None:
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
        conditions["uploadThroughput"] = bytes_per_s
        session.send("Network.emulateNetworkConditions", conditions)

    return limit


def test_a_slow_upload_shows_its_progress_and_can_be_cancelled(
    page: Page, shipped: ServerProcess, throttle: Callable[[int], None]
) -> None:
    before = len(shipped.log())
    page.goto(PAGE)
    throttle(150_000)
    choose(page, *(file(f"{i}.jpg", padded_picture(900_000)) for i in range(5)))
    bar = page.get_by_role("progressbar", name="Sending 0.jpg")
    expect(bar).to_be_visible()
    seen = page.wait_for_function(
        "() => { const v = document.querySelector('progress')?.value; return v > 0 && v < 1 && v }"
    )
    assert 0 < seen.json_value() < 1
    expect(row(page, "0.jpg")).to_contain_text(re.compile(r"Sending, \d+ %"))
    expect(row(page, "4.jpg")).to_contain_text("Waiting")
    page.get_by_role("button", name="Cancel").focus()
    page.keyboard.press("Enter")
    expect(status(page)).to_have_text("Cancelled.")
    for i in range(5):
        expect(row(page, f"{i}.jpg")).to_contain_text("Cancelled")
    expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(page.get_by_role("button", name="Classify")).to_be_focused()
    # What was cancelled can be sent after all.
    throttle(-1)
    page.keyboard.press("Enter")
    expect(status(page)).to_have_text("5 pictures answered.")
    assert {line["level"] for line in shipped.lines(before)} == {"info"}


def test_one_of_those_under_way_is_removed(page: Page, throttle: Callable[[int], None]) -> None:
    page.goto(PAGE)
    throttle(150_000)
    choose(page, *(file(f"{i}.jpg", padded_picture(600_000)) for i in range(4)))
    expect(page.get_by_role("progressbar")).to_have_count(3)
    page.get_by_role("button", name="Remove 1.jpg").click()
    page.get_by_role("button", name="Remove 3.jpg").click()
    throttle(-1)
    expect(status(page)).to_have_text("2 pictures answered.")
    expect(rows(page)).to_have_count(2)


def test_the_server_goes_away_and_comes_back(
    page: Page, tmp_path: Path, throttle: Callable[[int], None]
) -> None:
    models = shipped_models(tmp_path / "models", "cats-dogs")
    with serving(models, tmp_path) as server:
        page.goto(server.url + PAGE)
        throttle(100_000)
        choose(page, file("pet.jpg", padded_picture(900_000)), file("small.jpg", picture()))
        expect(row(page, "pet.jpg")).to_contain_text(re.compile(r"Sending, [1-9]"))
        server.stop()
        pet = row(page, "pet.jpg")
        expect(pet).to_contain_text("The server cannot be reached")
        throttle(-1)
        again = pet.get_by_role("button", name="Try pet.jpg again")
        again.click()
        expect(pet).to_contain_text("The server cannot be reached")
        port = server.port
    with serving(models, tmp_path, port=port):
        again.click()
        expect(pet.locator(".verdict")).to_be_visible()
        expect(pet).to_be_focused()
        expect(status(page)).to_contain_text("pet.jpg: ")


def test_a_busy_server_says_when_to_try_again(page: Page) -> None:
    body = {"id": "1", "error": {"code": "overloaded", "message": "too busy", "details": []}}
    page.route(API, lambda r: r.fulfill(status=503, headers={"Retry-After": "7"}, json=body))
    page.goto(PAGE)
    choose(page, file("a.jpg", picture(1)), file("b.jpg", picture(2)))
    for name in ("a.jpg", "b.jpg"):
        expect(row(page, name)).to_contain_text("too busy. Try again in 7 seconds.")
    expect(status(page)).to_have_text("2 failed.")
    page.unroute(API)
    page.get_by_role("button", name="Try a.jpg again").click()
    expect(row(page, "a.jpg").locator(".verdict")).to_be_visible()
    expect(row(page, "b.jpg")).to_contain_text("too busy")
    # The button takes all that failed.
    classify(page)
    expect(row(page, "b.jpg").locator(".verdict")).to_be_visible()
    expect(page.get_by_role("button", name="Classify")).to_be_hidden()


def test_an_answer_that_is_none(page: Page) -> None:
    """Such as the page of a portal that stands before the network."""
    page.route(API, lambda route: route.fulfill(status=200, body="<h1>Log in</h1>"))
    page.goto(PAGE)
    choose(page, file("a.jpg", picture(1)))
    expect(row(page, "a.jpg")).to_contain_text("Try again.")


def test_a_file_that_is_gone_by_the_time_it_is_sent(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "gone.jpg"
    path.write_bytes(picture())
    page.route(API, lambda route: route.abort())
    page.goto(PAGE)
    page.get_by_label("Choose pictures").set_input_files(path)
    again = page.get_by_role("button", name="Try gone.jpg again")
    expect(again).to_be_visible()
    path.unlink()
    again.click()
    expect(row(page, "gone.jpg")).to_contain_text("choose it again")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_state_is_accessible_and_fits_a_phone(
    page: Page, scheme: Any, throttle: Callable[[int], None]
) -> None:
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")

    page.goto(PAGE)
    check_on_a_phone(page)
    long_name = "a_name_without_any_place_to_break_" * 3 + ".jpg"
    throttle(20_000)
    choose(
        page,
        file(long_name, picture()),
        file("slow.jpg", padded_picture(500_000)),
        file("notes.jpg", b"%PDF"),
        file("x.heic", b"x", "image/heic"),
    )
    expect(row(page, "slow.jpg")).to_contain_text("Sending, ")
    check_on_a_phone(page)
    throttle(-1)
    expect(page.locator(".verdict")).to_have_count(2)
    page.get_by_text("The answer as JSON").first.click()
    check_on_a_phone(page)
