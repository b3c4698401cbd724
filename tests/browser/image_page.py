"""The parts of the page of a model that takes pictures."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, Request

PAGE = "/models/cats-dogs"
API = "**/api/cats-dogs"


def file(name: str, data: bytes, kind: str = "image/jpeg") -> Any:
    return {"name": name, "mimeType": kind, "buffer": data}


def choose(page: Page, *files: Any) -> None:
    page.get_by_label("Choose pictures").set_input_files(list(files))


def classify(page: Page) -> None:
    page.get_by_role("button", name="Classify").click()


def rows(page: Page) -> Locator:
    return page.locator(".pictures > li")


def row(page: Page, name: str) -> Locator:
    return rows(page).filter(has=page.get_by_text(name, exact=True))


def status(page: Page) -> Locator:
    return page.locator("form").get_by_role("status")


def sent(page: Page) -> list[Request]:
    """Fills with the pictures that the page sends from now on."""
    found: list[Request] = []
    page.on("request", lambda request: found.append(request) if request.method == "POST" else None)
    return found
