"""Pictures from a camera."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserType, expect

from tests.browser.image_page import PAGE, file, row, rows
from tests.support import picture

CAMERA = "--use-fake-device-for-media-stream"
ALLOW = "--use-fake-ui-for-media-stream"


@pytest.fixture
def with_flags(
    browser_type: BrowserType, browser_type_launch_args: dict[str, Any]
) -> Iterator[Any]:
    """Starts a browser with more flags. It has the camera's API where the flags give it one."""
    browsers: list[Browser] = []

    def start(*flags: str) -> Browser:
        args = [*browser_type_launch_args["args"], *flags]
        browsers.append(browser_type.launch(**{**browser_type_launch_args, "args": args}))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()


def test_the_camera_takes_a_picture_and_goes_off(with_flags: Any, base_url: str) -> None:
    page = with_flags(CAMERA, ALLOW).new_page(base_url=base_url)
    page.goto(PAGE)
    page.evaluate(
        """() => {
          const devices = navigator.mediaDevices;
          const open = devices.getUserMedia.bind(devices);
          devices.getUserMedia = async (...args) => (window.stream = await open(...args));
        }"""
    )
    alive = "stream.getTracks().some((track) => track.readyState === 'live')"
    opener = page.get_by_role("button", name="Use the camera")
    opener.click()
    take = page.get_by_role("button", name="Take picture")
    expect(take).to_be_focused()
    assert page.evaluate(alive) is True
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(opener).to_be_focused()
    assert page.evaluate(alive) is False
    opener.click()
    expect(take).to_be_focused()
    page.keyboard.press("Enter")
    expect(row(page, "camera.jpg").locator("img")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate(alive) is False
    expect(row(page, "camera.jpg").locator(".verdict")).to_be_visible()


def test_a_camera_that_is_refused_or_missing(with_flags: Any, base_url: str) -> None:
    page = with_flags(CAMERA, f"{ALLOW}=deny").new_page(base_url=base_url)
    page.goto(PAGE)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_text("does not let this page use the camera")).to_be_visible()
    page = with_flags(ALLOW).new_page(base_url=base_url)
    page.goto(PAGE)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_text("No camera was found")).to_be_visible()
    # Where there is no API, there is no button.
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.reload()
    expect(page.locator(".drop.enhanced")).to_be_visible()
    expect(page.get_by_role("button", name="Use the camera")).to_have_count(0)


def test_phones_open_their_camera_app(browser: Browser, base_url: str) -> None:
    context = browser.new_context(base_url=base_url, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.on("filechooser", lambda _: None)
    page.add_init_script("HTMLInputElement.prototype.capture ??= ''")  # desktop browsers lack it
    page.goto(PAGE)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Use the camera").click()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(file("photo.jpg", picture()))
    expect(rows(page)).to_have_count(1)
    context.close()
