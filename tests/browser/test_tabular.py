"""The page of a model that takes rows of a table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, JSHandle, Locator, Page, Route, expect

from tests.support import CAR, ServerProcess
from tests.tables import NAMES

ANSWER = "16.2"  # of the example, in miles per gallon
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


# --- one row


def test_the_page_opens_with_the_example_and_its_answer(page: Page) -> None:
    page.goto("/models/mpg")
    expect(field(page, "weight")).to_have_value("3504")
    expect(field(page, "origin")).to_have_value("1")
    expect(page.get_by_text("Curb weight (1755 to 4997 lb)")).to_be_visible()
    expect(answer(page)).to_contain_text(f"{ANSWER} miles per gallon")
    expect(field(page, "weight")).to_have_attribute("inputmode", "decimal")
    expect(field(page, "year")).to_have_attribute("inputmode", "numeric")


def test_every_change_is_answered_and_read_out(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(ANSWER)
    field(page, "weight").fill("2000")
    expect(answer(page)).not_to_contain_text(f"{ANSWER} miles")
    shown = answer(page).locator(".reading-value").inner_text()
    number = shown.split()[0]
    expect(page.get_by_role("status").first).to_have_text(f"mpg {number} miles per gallon")
    field(page, "origin").select_option("Japan")
    expect(answer(page).locator(".reading-value")).not_to_contain_text(number)


def test_slider_and_number_stay_in_step(page: Page) -> None:
    page.goto("/models/mpg")
    slider = page.get_by_role("slider", name="weight", exact=True)
    expect(slider).to_have_attribute("aria-valuetext", "3504 lb")
    slider.focus()
    page.keyboard.press("End")
    expect(field(page, "weight")).to_have_value("4997")
    expect(slider).to_have_attribute("aria-valuetext", "4997 lb")
    page.keyboard.press("ArrowLeft")
    value = field(page, "weight").input_value()
    assert int(value) % 20 == 0
    assert 4900 < int(value) < 4997
    expect(answer(page)).not_to_contain_text(f"{ANSWER} miles")
    field(page, "weight").fill("1755")
    expect(slider).to_have_js_property("value", "1755")
    whole = page.get_by_role("slider", name="cylinders", exact=True)
    whole.focus()
    page.keyboard.press("ArrowLeft")
    expect(field(page, "cylinders")).to_have_value("7")


def test_the_plot_is_of_the_field_that_somebody_works_on(page: Page) -> None:
    page.goto("/models/mpg")
    expect(plot(page)).to_have_accessible_name(re.compile(r"^mpg over cylinders\. From .* at 3 to"))
    field(page, "weight").focus()
    name = re.compile(r"^mpg over weight\. From \d+\.\d at 1755 lb to \d+\.\d at 4997 lb\.$")
    expect(plot(page)).to_have_accessible_name(name)
    expect(answer(page)).to_contain_text("How mpg changes with weight")
    field(page, "origin").focus()
    chosen = answer(page).get_by_role("listitem").filter(has_text="USA (chosen)")
    expect(chosen).to_contain_text(ANSWER)
    expect(answer(page).get_by_role("listitem")).to_have_count(3)


def test_the_curve_is_asked_for_once_along_its_field(page: Page) -> None:
    curves = []

    def count(route: Route) -> None:
        rows = route.request.post_data_json
        if isinstance(rows, list):
            curves.append(rows)
        route.continue_()

    page.route("**/api/mpg", count)
    page.goto("/models/mpg")
    field(page, "weight").focus()
    expect(plot(page)).to_have_accessible_name(re.compile("over weight"))
    before = page.locator(".curve-mark").get_attribute("cx")
    asked = len(curves)
    field(page, "weight").fill("2000")
    expect(page.locator(".curve-mark")).not_to_have_attribute("cx", before or "")
    assert len(curves) == asked
    rows = curves[-1]
    assert len(rows) == 33
    assert (rows[0]["weight"], rows[-1]["weight"]) == (1755, 4997)
    assert {row["year"] for row in rows} == {70}
    field(page, "year").focus()
    expect(plot(page)).to_have_accessible_name(re.compile("over year"))
    assert [row["year"] for row in curves[-1]] == list(range(70, 83))


def test_an_old_answer_never_overwrites_a_newer_one(page: Page) -> None:
    """The first change is not answered before the second is made."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        row = route.request.post_data_json
        if isinstance(row, dict) and row["weight"] == 4000:
            held.append(route)
        else:
            route.continue_()

    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(ANSWER)
    page.route("**/api/mpg", hold)
    with page.expect_request(lambda r: '"weight":4000' in (r.post_data or "")):
        field(page, "weight").fill("4000")
    # The page ends the request: there is nobody whom its answer could reach.
    with page.expect_event("requestfailed") as ended:
        field(page, "weight").fill("2000")
    assert ended.value == held[0].request
    expect(answer(page).locator(".reading-value")).to_contain_text("miles per gallon")
    expect(answer(page)).not_to_contain_text(f"{ANSWER} miles")


def test_problems_are_told_once_a_field_is_left(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(ANSWER)
    weight = field(page, "weight")
    weight.fill("3")
    expect(answer(page)).to_contain_text("No answer yet: 1 field needs a change.")
    expect(problem(page, "weight")).to_be_empty()
    weight.blur()
    told = "out of range: expected a number from 1755 to 4997 (lb)"
    expect(problem(page, "weight")).to_have_text(told)
    expect(weight).to_have_accessible_description(re.compile(re.escape(told)))
    # What is told already changes at once.
    weight.fill("3500")
    expect(problem(page, "weight")).to_be_empty()
    expect(answer(page)).to_contain_text("miles per gallon")
    weight.blur()
    weight.fill("3")
    expect(answer(page)).to_contain_text("No answer yet")
    expect(problem(page, "weight")).to_be_empty()


def test_the_button_shows_all_problems_and_leads_to_the_first(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(ANSWER)
    field(page, "weight").fill("1")
    field(page, "year").fill("70.5")
    field(page, "acceleration").fill("")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(problem(page, "weight")).to_contain_text("out of range")
    expect(problem(page, "acceleration")).to_have_text(
        "missing: expected a number from 8 to 23.7 (s)"
    )
    expect(problem(page, "year")).to_have_text("wrong type: expected a whole number from 70 to 82")
    expect(field(page, "weight")).to_be_focused()
    expect(field(page, "weight")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("status").first).to_have_text("No answer yet: 3 fields need a change.")


def test_clear_and_fill_in_the_example(page: Page) -> None:
    page.goto("/models/mpg")
    page.get_by_role("button", name="Clear").click()
    expect(field(page, "weight")).to_have_value("")
    expect(field(page, "cylinders")).to_be_focused()
    expect(answer(page)).to_have_text(re.compile("Fill in the fields to see the answer"))
    expect(plot(page)).to_have_count(0)
    page.get_by_role("button", name="Fill in the example").click()
    expect(field(page, "weight")).to_have_value("3504")
    expect(answer(page)).to_contain_text(f"{ANSWER} miles per gallon")


def test_all_of_it_with_the_keyboard(page: Page) -> None:
    page.goto("/models/mpg?empty")
    field(page, "cylinders").focus()
    for name, value in CAR.items():
        expect(field(page, name)).to_be_focused()
        if name == "origin":
            page.keyboard.type("USA")
            break
        page.keyboard.type(str(value))
        page.keyboard.press("Tab")
        expect(page.get_by_role("slider", name=name, exact=True)).to_be_focused()
        page.keyboard.press("Tab")
    expect(answer(page)).to_contain_text(ANSWER)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_focused()
    expect(page.get_by_role("status").first).to_have_text(f"mpg {ANSWER} miles per gallon")


def test_a_server_that_cannot_be_reached(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(ANSWER)
    page.route("**/api/mpg", lambda route: route.abort())
    field(page, "weight").fill("2000")
    expect(answer(page).get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.unroute("**/api/mpg")
    field(page, "weight").fill("3504")
    expect(answer(page)).to_contain_text(f"{ANSWER} miles per gallon")


# --- other cards


def test_labels_with_their_probabilities(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/classes")
    expect(answer(page).locator(".reading-value")).to_have_text(re.compile("small"))
    first = answer(page).get_by_role("listitem").first
    expect(first).to_contain_text(re.compile(r"small\s+61\.3 %"))
    expect(plot(page)).to_have_accessible_name(
        re.compile(r"the probability of “small” over length\. From .* % at -2 cm to .* % at 2 cm")
    )
    field(page, "length").fill("-2")
    expect(answer(page).locator(".reading-value")).to_have_text(re.compile("large"))
    expect(plot(page)).to_have_accessible_name(re.compile("“large”"))


def test_several_labels_or_none(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/switches")
    expect(answer(page)).to_contain_text("none of the labels")
    field(page, "b").fill("2")
    expect(answer(page).locator(".reading-value")).to_have_text(re.compile("on, off"))


def test_several_numbers(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/several")
    expect(answer(page)).to_contain_text("Fill in the fields")
    field(page, "b").fill("0")
    numbers = answer(page).get_by_role("listitem")
    expect(numbers).to_have_text([re.compile("1.50 m"), re.compile("0.75 m"), re.compile("0.50 m")])


def test_texts(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/words")
    field(page, "text").fill("a good day, <b>really</b>")
    expect(answer(page)).to_contain_text("mood")
    expect(answer(page).get_by_role("listitem").first).to_contain_text("%")


def test_columns_of_any_name(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/names")
    expect(answer(page).locator(".reading-value")).to_have_text(re.compile("45"))
    for name in NAMES:
        field(page, name).fill("10")
    expect(answer(page).locator(".reading-value")).to_have_text(re.compile("100"))


def test_a_model_without_a_card(tables: ServerProcess, page: Page) -> None:
    page.goto(f"{tables.url}/models/bare")
    expect(page.get_by_role("button", name="Fill in the example")).to_have_count(0)
    for i in range(24):
        field(page, f"x{i}").fill("10000.5")
    expect(answer(page).locator(".reading-value")).to_have_text(re.compile("240,012"))


# --- a CSV


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
    expect(table.get_by_role("row").nth(1)).to_contain_text(ANSWER)
    expect(table.get_by_role("columnheader").last).to_have_text("mpg")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download with answers").click()
    assert waiting.value.suggested_filename == "my cars-answers.csv"
    lines = waiting.value.path().read_bytes().decode().split("\r\n")
    assert lines[0] == "\ufeff" + header + ";;mpg"
    assert lines[1] == f"{row};;{ANSWER}"
    assert lines[450] == f"{row};;{ANSWER}"
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


def test_the_limit_is_that_of_the_page_with_that_of_the_api(page: Page, plain: Page) -> None:
    page.goto("/models/mpg")
    both = "up to 50 MB, which this page sends in parts (through the API 16 MB at once)."
    expect(page.locator("#csv-limits")).to_contain_text(both)
    plain.goto("/models/mpg")
    expect(plain.locator("#csv-limits")).to_contain_text("in UTF-8, up to 16 MB.")


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
        (b"\x89PNG\r\n\x1a\n\xff\xd8", "This is no CSV text in UTF-8"),
        (f"{HEADER},weight\n{ROW},1", "names 'weight' twice"),
    ],
)
def test_files_that_are_no_such_table(page: Page, text: str | bytes, told: str) -> None:
    page.goto("/models/mpg")
    send_csv(page, text)
    expect(page.locator("#csv-result").get_by_role("alert")).to_contain_text(told)


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


# --- no script, small screens


@pytest.fixture
def plain(browser: Browser, base_url: str) -> Iterator[Page]:
    """A page of a browser that runs no scripts."""
    with browser.new_context(java_script_enabled=False, base_url=base_url) as context:
        context.set_default_timeout(20_000)
        yield context.new_page()


def test_a_row_without_javascript(plain: Page) -> None:
    plain.goto("/models/mpg")
    plain.get_by_role("button", name="Predict", exact=True).click()
    expect(answer(plain)).to_contain_text(f"{ANSWER} miles per gallon")
    field(plain, "weight").fill("1")
    field(plain, "cylinders").fill("")
    plain.get_by_role("button", name="Predict", exact=True).click()
    expect(plain).to_have_title(re.compile("^Problem: "))
    expect(plain.get_by_role("alert")).to_contain_text("No answer yet: 2 fields need a change.")
    expect(problem(plain, "cylinders")).to_have_text("missing: expected a whole number from 3 to 8")
    expect(problem(plain, "weight")).to_contain_text("out of range")
    expect(field(plain, "weight")).to_have_value("1")
    expect(field(plain, "cylinders")).to_be_focused()
    plain.get_by_role("alert").get_by_role("link", name="weight").click()
    expect(field(plain, "weight")).to_be_focused()
    plain.get_by_role("button", name="Fill in the example").click()
    expect(field(plain, "weight")).to_have_value("3504")
    plain.get_by_role("button", name="Clear").click()
    expect(field(plain, "weight")).to_have_value("")


def test_a_csv_without_javascript(plain: Page) -> None:
    plain.goto("/models/mpg")
    send_csv(plain, "\n".join([HEADER, *[ROW] * 12]))
    plain.get_by_role("button", name="Predict all rows").click()
    plain.get_by_role("link", name="12 rows answered: see below").click()
    expect(plain.get_by_text("The first 10 of 12 rows.")).to_be_in_viewport()
    expect(plain.get_by_role("row")).to_have_count(11)
    expect(plain.get_by_role("row").last).to_contain_text(ANSWER)
    send_csv(plain, "\n".join([HEADER, ROW, ROW]))
    button = plain.get_by_role("button", name="Predict and download")
    text = downloaded(plain, button)
    assert text == f"{HEADER},mpg\r\n" + f"{ROW},{ANSWER}\r\n" * 2
    send_csv(plain, "\n".join([HEADER, "", ROW, ROW.replace("3504", "1")]))
    plain.get_by_role("button", name="Predict all rows").click()
    expect(plain.get_by_role("alert")).to_contain_text("line 4: weight: out of range, found 1")


def test_nothing_overflows_on_a_small_screen(page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 700})
    page.emulate_media(reduced_motion="reduce")  # no scrolling amid the measuring
    page.goto("/models/mpg")
    send_csv(page, "\n".join([HEADER, *[ROW] * 12]))
    expect(page.get_by_role("heading", name="12 rows answered")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    box = page.get_by_role("region", name="The first rows with their answers")
    assert box.evaluate("e => e.scrollWidth > e.clientWidth")
    box.focus()
    page.keyboard.press("End")
    # The answer stays in sight, and does not lie over the field in focus.
    for name in CAR:
        field(page, name).focus()
        expect(answer(page)).to_be_in_viewport(ratio=0.9)
        lower = field(page, name).bounding_box()
        upper = answer(page).bounding_box()
        assert lower is not None
        assert upper is not None
        assert lower["y"] + lower["height"] <= upper["y"]


def test_server_and_script_write_numbers_alike(page: Page) -> None:
    from app.web.table_answer import plain, written

    page.goto("/models/mpg")
    values = [0, 1, -2.5, 1234567.891, 0.000123456, 1e-7, 123456.7, 1 / 3, 2e15, -9.99999999]
    script = """async (values) => {
      const { written } = await import("/static/js/tabular_answer.js");
      return values.map((v) => [written(v, null), written(v, 2)]);
    }"""
    found = page.evaluate(script, json.loads(json.dumps(values)))
    assert found == [[written(v, None), written(v, 2)] for v in values]
    assert plain(8.0) == "8"


def test_no_file_chosen(page: Page) -> None:
    """The browser says so itself: the field is required."""
    page.goto("/models/mpg")
    page.get_by_role("button", name="Predict all rows").click()
    expect(page.get_by_label("CSV file")).to_be_focused()
    assert page.get_by_label("CSV file").evaluate("e => e.validity.valueMissing")


def test_the_page_keeps_its_place_after_a_problem_from_the_server(
    browser: Browser, base_url: str
) -> None:
    """A page that the server has answered with problems, opened by a browser with scripts."""
    with browser.new_context(base_url=base_url) as context:
        page = context.new_page()
        page.route("**/js/tabular.js", lambda route: route.abort())
        page.goto("/models/mpg")
        page.unroute("**/js/tabular.js")
        field(page, "weight").fill("1")
        page.get_by_role("button", name="Predict", exact=True).click()
        expect(problem(page, "weight")).to_contain_text("out of range")
        page.get_by_role("slider", name="weight", exact=True).focus()
        page.keyboard.press("End")
        expect(problem(page, "weight")).to_be_empty()
        expect(answer(page)).to_contain_text("miles per gallon")
        expect(page.get_by_role("alert")).to_have_count(0)
