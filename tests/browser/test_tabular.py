"""The page of a model that takes rows of a table."""

from __future__ import annotations

import json
import re

from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.table_page import (
    HEADER,
    ROW,
    answer,
    field,
    plot,
    problem,
    send_csv,
)
from tests.support import CAR, MILEAGE, ServerProcess
from tests.tables import NAMES

# --- one row


def test_the_page_opens_with_the_example_and_its_answer(page: Page) -> None:
    page.goto("/models/mpg")
    expect(field(page, "weight")).to_have_value("3504")
    expect(field(page, "origin")).to_have_value("1")
    expect(page.get_by_text("Curb weight (1755 to 4997 lb)")).to_be_visible()
    expect(answer(page)).to_contain_text(f"{MILEAGE} miles per gallon")
    expect(field(page, "weight")).to_have_attribute("inputmode", "decimal")
    expect(field(page, "year")).to_have_attribute("inputmode", "numeric")


def test_every_change_is_answered_and_read_out(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(MILEAGE)
    field(page, "weight").fill("2000")
    expect(answer(page)).not_to_contain_text(f"{MILEAGE} miles")
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
    expect(answer(page)).not_to_contain_text(f"{MILEAGE} miles")
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
    expect(chosen).to_contain_text(MILEAGE)
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
    expect(answer(page)).to_contain_text(MILEAGE)
    page.route("**/api/mpg", hold)
    with page.expect_request(lambda r: '"weight":4000' in (r.post_data or "")):
        field(page, "weight").fill("4000")
    # The page ends the request: there is nobody whom its answer could reach.
    with page.expect_event("requestfailed") as ended:
        field(page, "weight").fill("2000")
    assert ended.value == held[0].request
    expect(answer(page).locator(".reading-value")).to_contain_text("miles per gallon")
    expect(answer(page)).not_to_contain_text(f"{MILEAGE} miles")


def test_problems_are_told_once_a_field_is_left(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(MILEAGE)
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
    expect(answer(page)).to_contain_text(MILEAGE)
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
    expect(answer(page)).to_contain_text(f"{MILEAGE} miles per gallon")


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
    expect(answer(page)).to_contain_text(MILEAGE)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_focused()
    expect(page.get_by_role("status").first).to_have_text(f"mpg {MILEAGE} miles per gallon")


def test_a_server_that_cannot_be_reached(page: Page) -> None:
    page.goto("/models/mpg")
    expect(answer(page)).to_contain_text(MILEAGE)
    page.route("**/api/mpg", lambda route: route.abort())
    field(page, "weight").fill("2000")
    expect(answer(page).get_by_role("alert")).to_contain_text("The server cannot be reached")
    page.unroute("**/api/mpg")
    field(page, "weight").fill("3504")
    expect(answer(page)).to_contain_text(f"{MILEAGE} miles per gallon")


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


# --- no script, small screens


def test_a_row_without_javascript(plain_page: Page) -> None:
    plain_page.goto("/models/mpg")
    plain_page.get_by_role("button", name="Predict", exact=True).click()
    expect(answer(plain_page)).to_contain_text(f"{MILEAGE} miles per gallon")
    field(plain_page, "weight").fill("1")
    field(plain_page, "cylinders").fill("")
    plain_page.get_by_role("button", name="Predict", exact=True).click()
    expect(plain_page).to_have_title(re.compile("^Problem: "))
    expect(plain_page.get_by_role("alert")).to_contain_text(
        "No answer yet: 2 fields need a change."
    )
    expect(problem(plain_page, "cylinders")).to_have_text(
        "missing: expected a whole number from 3 to 8"
    )
    expect(problem(plain_page, "weight")).to_contain_text("out of range")
    expect(field(plain_page, "weight")).to_have_value("1")
    expect(field(plain_page, "cylinders")).to_be_focused()
    plain_page.get_by_role("alert").get_by_role("link", name="weight").click()
    expect(field(plain_page, "weight")).to_be_focused()
    plain_page.get_by_role("button", name="Fill in the example").click()
    expect(field(plain_page, "weight")).to_have_value("3504")
    plain_page.get_by_role("button", name="Clear").click()
    expect(field(plain_page, "weight")).to_have_value("")


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
    from app.web.models.answers.table_answer import number_for_people, plain_number

    page.goto("/models/mpg")
    values = [0, 1, -2.5, 1234567.891, 0.000123456, 1e-7, 123456.7, 1 / 3, 2e15, -9.99999999]
    script = """async (values) => {
      const { written } = await import("/static/js/readings.js");
      return values.map((v) => [written(v, null), written(v, 2)]);
    }"""
    found = page.evaluate(script, json.loads(json.dumps(values)))
    assert found == [[number_for_people(v, None), number_for_people(v, 2)] for v in values]
    assert plain_number(8.0) == "8"


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
