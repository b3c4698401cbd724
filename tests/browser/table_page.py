"""The parts of the page of a model that takes rows of a table."""

from __future__ import annotations

from playwright.sync_api import Locator, Page

from tests.support import CAR

HEADER = ",".join(CAR)
ROW = ",".join(map(str, CAR.values()))


def answer(page: Page) -> Locator:
    return page.get_by_role("region", name="The answer")


def field(page: Page, name: str) -> Locator:
    return page.get_by_label(name, exact=True).and_(page.locator(":not([type=range])"))


def problem(page: Page, name: str) -> Locator:
    return page.locator(f".field:has(label:text-is('{name}')) .problem")


def plot(page: Page) -> Locator:
    return answer(page).get_by_role("img")


def send_csv(page: Page, text: str | bytes, name: str = "cars.csv") -> None:
    data = text.encode() if isinstance(text, str) else text
    page.get_by_label("CSV file").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": data}
    )


def downloaded(page: Page, link: Locator) -> str:
    with page.expect_download() as waiting:
        link.click()
    return waiting.value.path().read_bytes().decode()
