"""The page of a model that takes rows of a table: many rows, as a CSV."""

from __future__ import annotations

import csv
import io
import re

import pytest
from playwright.sync_api import JSHandle, Page, Route, expect

from tests.browser.table_page import (
    HEADER,
    ROW,
    downloaded,
    send_csv,
)
from tests.support import CAR, MILEAGE, ServerProcess


def test_a_csv_is_answered_and_comes_back(page: Page) -> None:
    page.goto("/models/mpg")
    asked: list[str] = []
    page.on("request", lambda r: asked.append(r.post_data or "") if "/api/" in r.url else None)
    # Semicolons, CRLF, quotes, blank lines, a mark and empty cells at the end, as people have them.
    header = ";".join(CAR)
    row = ";".join(f'"{v}"' if k == "year" else str(v) for k, v in CAR.items())
    text = "\ufeff" + header + ";\r\n\r\n" + (row + ";\r\n") * 449 + row + "\r\n"
    send_csv(page, text, "my cars.csv")
    expect(page.get_by_role("heading", name="450 rows answered")).to_be_visible()
    parts = [p for p in asked if p.startswith("cylinders;")]
    assert [part.count("3504") for part in parts] == [200, 200, 50]
    table = page.get_by_role("region", name="The first rows with their answers").get_by_role(
        "table"
    )
    expect(table.get_by_role("row")).to_have_count(11)
    expect(table.get_by_role("row").nth(1)).to_contain_text(MILEAGE)
    expect(table.get_by_role("columnheader").last).to_have_text("mpg")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download with answers").click()
    assert waiting.value.suggested_filename == "my cars-answers.csv"
    lines = waiting.value.path().read_bytes().decode().split("\r\n")
    assert lines[0] == "\ufeff" + header + ";;mpg"
    assert lines[1] == f"{row};;{MILEAGE}"
    assert lines[450] == f"{row};;{MILEAGE}"
    assert lines[451:] == [""]


def test_rows_are_cut_where_the_server_cuts_them(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/words")
    texts = ['one "quoted" word', "two\nlines", "a, comma; and\ttab", ' "start', "ends", "=1+1"]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["text"], *([t] for t in texts * 40)])
    send_csv(page, out.getvalue())
    expect(page.get_by_role("heading", name="240 rows answered")).to_be_visible()
    text = downloaded(page, page.get_by_role("link", name="Download with answers"))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[0] == ["text", "label", "probability"]
    assert [row[0] for row in rows[1:]] == texts * 40
    assert all(len(row) == 3 and 0 <= float(row[2]) <= 1 for row in rows[1:])


def test_the_template_is_a_csv_that_can_be_sent(page: Page) -> None:
    page.goto("/models/mpg")
    text = downloaded(page, page.get_by_role("link", name="Download a template"))
    assert text == f"{HEADER}\r\n{ROW}\r\n"
    send_csv(page, text)
    expect(page.get_by_role("heading", name="1 row answered")).to_be_visible()


def test_the_limit_is_that_of_the_page_with_that_of_the_api(page: Page, plain_page: Page) -> None:
    page.goto("/models/mpg")
    both = "up to 50 MB, which this page sends in parts (through the API 16 MB at once)."
    expect(page.locator("#csv-limits")).to_contain_text(both)
    plain_page.goto("/models/mpg")
    expect(plain_page.locator("#csv-limits")).to_contain_text("in UTF-8, up to 16 MB.")


def test_a_dropped_file_is_sent_at_once(page: Page) -> None:
    page.goto("/models/mpg")

    def dragged(files: int) -> JSHandle:
        return page.evaluate_handle(
            """([text, files]) => {
              const transfer = new DataTransfer();
              for (let i = 0; i < files; i += 1) transfer.items.add(new File([text], `${i}.csv`));
              return transfer;
            }""",
            [f"{HEADER}\n{ROW}\n", files],
        )

    box = page.locator(".csv-drop")
    box.dispatch_event("drop", {"dataTransfer": dragged(2)})
    expect(page.get_by_role("alert")).to_have_text("Drop one CSV file at a time.")
    transfer = dragged(1)
    box.dispatch_event("dragover", {"dataTransfer": transfer})
    expect(box).to_have_class(re.compile("over"))
    box.dispatch_event("drop", {"dataTransfer": transfer})
    expect(page.get_by_role("heading", name="1 row answered")).to_be_visible()
    expect(box).not_to_have_class(re.compile("over"))


def test_problems_name_the_line_of_the_file(page: Page) -> None:
    page.goto("/models/mpg")
    bad = ROW.replace("3504", "99999")
    lines = [HEADER, "", *[ROW] * 250, bad, *[ROW] * 100, bad.replace("70", "x"), ROW]
    send_csv(page, "\n".join(lines))
    alert = page.locator("#csv-result").get_by_role("alert")
    expect(alert).to_contain_text("The file has 3 problems. No row was answered")
    expect(alert.get_by_role("listitem")).to_have_text(
        [
            "line 253: weight: out of range, found 99999; expected a number from 1755 to 4997 (lb)",
            "line 354: weight: out of range, found 99999; expected a number from 1755 to 4997 (lb)",
            "line 354: year: wrong type, found x; expected a whole number from 70 to 82",
        ]
    )


def test_the_first_hundred_problems(page: Page) -> None:
    page.goto("/models/mpg")
    send_csv(page, "\n".join([HEADER, *[ROW.replace("3504", "1")] * 300]))
    alert = page.locator("#csv-result").get_by_role("alert")
    expect(alert).to_contain_text("The file has 100 problems or more")
    expect(alert.get_by_role("listitem")).to_have_count(100)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the CSV has no rows"),
        (HEADER + "\n\n", "the CSV has no rows"),
        ("1,2\n3,4\n", "names no field of this model: expected a line of field names (cylinders,"),
        (HEADER.replace("weight", "mass") + "\n" + ROW, "column weight: missing"),
        (HEADER.replace("weight", "mass") + "\n" + ROW, "column mass: unexpected"),
        (f'{HEADER}\n{ROW}\n"8,1,1', "Line 3: a quotation mark is opened and not closed"),
        (f'{HEADER}\n{ROW}\n"8"8,1,1', "Line 3: there is text after a closing quotation mark"),
        (b"\x89PNG\r\n\x1a\n\xff\xd8", "This is not a CSV file in UTF-8"),
        (f"{HEADER},weight\n{ROW},1", "names 'weight' twice"),
    ],
)
def test_files_that_are_no_such_table(page: Page, text: str | bytes, told: str) -> None:
    page.goto("/models/mpg")
    send_csv(page, text)
    expect(page.locator("#csv-result").get_by_role("alert")).to_contain_text(told)


def test_other_columns_are_kept_where_that_is_asked_for(page: Page) -> None:
    page.goto("/models/mpg")
    text = f"id,{HEADER},\nx,{ROW},\ny,{ROW},z\n"
    told = page.locator("#csv-result").get_by_role("alert")
    send_csv(page, text)
    expect(told).to_contain_text("column id: unexpected")
    page.get_by_role("link", name="Keep them beside the answers").click()
    page.wait_for_url("**/models/mpg?extra=keep*")
    send_csv(page, text)
    found = downloaded(page, page.get_by_role("link", name="Download with answers"))
    assert found == f"id,{HEADER},,mpg\r\nx,{ROW},,{MILEAGE}\r\ny,{ROW},z,{MILEAGE}\r\n"
    page.get_by_role("link", name="Report them as mistakes").click()
    page.wait_for_url("**/models/mpg*")
    page.wait_for_load_state()
    send_csv(page, text.replace("id,", ",", 1))
    expect(told).to_contain_text("column 1, without a name: unexpected, found x")


def test_decimal_commas_are_told_once(page: Page) -> None:
    page.goto("/models/mpg")
    row = ROW.replace("3504", '"3504,5"')
    send_csv(page, "\n".join([HEADER, *[row] * 300]))
    told = page.locator("#csv-result").get_by_role("alert")
    expect(told).to_contain_text("column weight: decimal commas, found 3504,5")
    expect(told).not_to_contain_text("line")


def test_progress_and_cancel(page: Page) -> None:
    held: list[Route] = []

    def second(route: Route) -> None:
        if (route.request.post_data or "").startswith(HEADER) and held:
            return  # never answered
        if (route.request.post_data or "").startswith(HEADER):
            held.append(route)
        route.continue_()

    page.route("**/api/mpg", second)
    page.goto("/models/mpg")
    send_csv(page, "\n".join([HEADER, *[ROW] * 1000]))
    result = page.locator("#csv-result")
    expect(result).to_contain_text("200 of 1,000 rows")
    bar = page.get_by_role("progressbar", name="Rows answered")
    expect(bar).to_have_js_property("value", 200)
    cancel = page.get_by_role("button", name="Cancel")
    cancel.focus()
    page.keyboard.press("Enter")
    expect(result).to_contain_text("Cancelled at 200 of 1,000 rows. Nothing was kept.")
    send = page.get_by_role("button", name="Predict all rows")
    expect(send).to_be_focused()
    page.unroute("**/api/mpg")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1,000 rows answered")).to_be_visible()


def test_a_part_that_the_server_is_too_busy_for_is_sent_again(page: Page) -> None:
    error = {"id": "1", "error": {"code": "too_many_requests", "message": "slow", "details": []}}
    refused: list[Route] = []

    def busy(route: Route) -> None:
        if (route.request.post_data or "").startswith(HEADER) and not refused:
            refused.append(route)
            route.fulfill(status=429, json=error)
        else:
            route.continue_()

    page.route("**/api/mpg", busy)
    page.goto("/models/mpg")
    send_csv(page, f"{HEADER}\n{ROW}\n")
    expect(page.get_by_role("heading", name="1 row answered")).to_be_visible()
    assert refused


def test_a_server_that_fails_amid_a_csv(page: Page) -> None:
    error = {"id": "abc", "error": {"code": "internal", "message": "it failed", "details": []}}

    def fail(route: Route) -> None:
        if (route.request.post_data or "").startswith(HEADER):
            route.fulfill(status=500, json=error)
        else:
            route.continue_()

    page.route("**/api/mpg", fail)
    page.goto("/models/mpg")
    send_csv(page, f"{HEADER}\n{ROW}\n")
    alert = page.locator("#csv-result").get_by_role("alert")
    expect(alert).to_contain_text("it failed")
    expect(alert).to_contain_text("Request abc")


def test_a_csv_without_javascript(plain_page: Page) -> None:
    plain_page.goto("/models/mpg")
    send_csv(plain_page, "\n".join([HEADER, *[ROW] * 12]))
    plain_page.get_by_role("button", name="Predict all rows").click()
    plain_page.get_by_role("link", name="12 rows answered: see below").click()
    expect(plain_page.get_by_text("The first 10 of 12 rows.")).to_be_in_viewport()
    expect(plain_page.get_by_role("row")).to_have_count(11)
    expect(plain_page.get_by_role("row").last).to_contain_text(MILEAGE)
    send_csv(plain_page, "\n".join([HEADER, ROW, ROW]))
    button = plain_page.get_by_role("button", name="Predict and download")
    text = downloaded(plain_page, button)
    assert text == f"{HEADER},mpg\r\n" + f"{ROW},{MILEAGE}\r\n" * 2
    send_csv(plain_page, "\n".join([HEADER, "", ROW, ROW.replace("3504", "1")]))
    plain_page.get_by_role("button", name="Predict all rows").click()
    expect(plain_page.get_by_role("alert")).to_contain_text("line 4: weight: out of range, found 1")
