"""Lists in, lists out, in a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from app.web.layout import layout
from tests.browser.visit import WITH_AND_WITHOUT
from tests.support import ServerProcess


def predict(page: Page) -> None:
    page.get_by_role("button", name="Predict").click()


def answer(page: Page) -> Any:
    return json.loads(page.get_by_label("The answer, as JSON").text_content() or "")


def test_the_example_is_answered_as_it_stands(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/two")
    field = page.get_by_label("Input, as JSON")
    body = json.loads(field.input_value())
    assert body == {"left": [[0.5, 0.5, 0.5]], "right": [[1, 1]]}
    expect(field).to_have_accessible_description(
        'Expected: an object with "left": a list of rows, each a list of 3 numbers (float32); '
        '"right": a list of rows, each a list of 2 whole numbers (int32), '
        "with as many rows in each."
    )
    predict(page)
    expect(page.locator("#progress")).to_have_text("Done: 1 answer.")
    assert answer(page) == assorted.post("/api/two", json=body).json()["predictions"]


def test_the_api_s_problems_are_beside_the_field(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/two")
    field = page.get_by_label("Input, as JSON")
    field.fill('{"left": [[1, 2]], "right": [["x", 1]]}')
    predict(page)
    expect(page.locator("#progress")).to_have_text("No answer.")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(
        re.compile(
            r"left: wrong shape: .* shape \[any, 3\]; right\[0\]\[0\]: wrong type: expected whole"
        )
    )
    expect(page.locator("#answer")).to_be_hidden()


@WITH_AND_WITHOUT
def test_where_json_breaks_off(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/wide")
    field = page.get_by_label("Input, as JSON")
    field.fill("[[1, 2,\n 3 4]]")
    predict(page)
    expect(field).to_have_accessible_description(
        re.compile(r"this is not JSON: unexpected character.* at line 2, column 4$")
    )
    expect(field).to_have_value("[[1, 2,\n 3 4]]")
    field.fill("")
    predict(page)
    expect(field).to_have_accessible_description(re.compile("missing|an input is needed"))


def test_of_a_long_answer_the_first_part(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/wide")
    row = [[1, 2, 3]]
    whole = assorted.post("/api/wide", json=row).json()["predictions"]
    page.get_by_label("Input, as JSON").fill(json.dumps(row))
    predict(page)
    shown = page.get_by_label("The answer, as JSON")
    expect(shown).to_have_text(re.compile(r"^\["))
    assert len((shown.text_content() or "").splitlines()) == 100
    expect(page.get_by_text("These are the first 100 of ")).to_be_visible()
    with page.expect_download() as file:
        page.get_by_role("button", name="Download").click()
    assert file.value.suggested_filename == "wide.json"
    assert json.loads(Path(file.value.path()).read_text()) == whole
    # All of it can be scrolled to without a mouse.
    shown.focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('pre.json').scrollTop > 0")


def test_an_input_that_is_too_long_to_write_is_described(
    assorted: ServerProcess, page: Page
) -> None:
    page.goto(f"{assorted.url}/models/big")
    field = page.get_by_label("Input, as JSON")
    expect(field).to_be_empty()
    expect(field).to_have_accessible_description(
        "Expected: a list of rows, each nested lists of 16 × 16 × 3 numbers (float32)."
    )


def test_with_the_keyboard_only(assorted: ServerProcess, page: Page) -> None:
    page.goto(f"{assorted.url}/models/flags")
    page.locator("main").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("[[true, false], [true, true]]")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_have_text("Done: 2 answers.")


def test_without_a_script(assorted: ServerProcess, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{assorted.url}/models/two")
    body = json.loads(page.get_by_label("Input, as JSON").input_value())
    predict(page)
    assert answer(page) == assorted.post("/api/two", json=body).json()["predictions"]
    expect(page.get_by_role("button", name="Download")).to_have_count(0)
    page.get_by_label("Input, as JSON").fill('{"left": [[1, 2]]}')
    predict(page)
    expect(page.get_by_label("Input, as JSON")).to_have_accessible_description(
        re.compile("left: wrong shape.*right: missing|right: missing.*left: wrong shape")
    )
    context.close()


VALUES: list[Any] = [
    [],
    {},
    None,
    "é\n\"'</script>",
    [1, 2.5, -1e-9, True, None, "x"],
    list(range(200)),
    {"a": {"b": list(range(40))}, "long " * 20: [[0.25] * 30, [], [{"c": [1]}] * 12]},
    [["text " * 9] * 3] * 2,
]


def test_the_browser_lays_json_out_as_the_server_does(assorted: ServerProcess, page: Page) -> None:
    page.goto(assorted.url)
    laid = page.evaluate(
        """async (texts) => {
          const { layout, parse } = await import("/static/js/layout.js");
          return texts.map((text) => layout(parse(text)));
        }""",
        [json.dumps(value) for value in VALUES] + ["[9007199254740993, 1e30]"],
    )
    assert [json.loads(text) for text in laid[:-1]] == VALUES
    expected = [layout(value).replace("-1e-09", "-1e-9") for value in VALUES]
    assert laid == [*expected, "[9007199254740993, 1e+30]"]
