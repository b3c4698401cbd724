"""The programs on the pages, taken from there and run."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright._impl._driver import compute_driver_executable
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.visit import WITH_AND_WITHOUT
from tests.support import ServerProcess, picture

NODE = compute_driver_executable()[0]
LANGUAGES = ["curl", "Python", "JavaScript"]


def codes(page: Page, url: str, language: str) -> list[str]:
    """What a person sees after choosing the language."""
    page.goto(url)
    page.get_by_role("radio", name=language).check()
    return page.locator("#code pre:visible").all_inner_texts()


def run(code: str, language: str, folder: Path) -> str:
    """What the program prints."""
    if language == "curl":
        command = ["bash", "-c", code]
    else:
        file = folder / ("ask.py" if language == "Python" else "ask.mjs")
        file.write_text(code, encoding="utf-8")
        command = [sys.executable if language == "Python" else NODE, str(file)]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def predictions(printed: str, language: str) -> Any:
    if language == "curl":
        return json.loads(printed)["predictions"]
    return ast.literal_eval(printed) if language == "Python" else json.loads(printed)


def answered(server: ServerProcess, model: str) -> Any:
    """The answer to the first example of a model."""
    body = server.get(f"/api/models/{model}/example").json()
    return server.post(f"/api/{model}", json=body).json()["predictions"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_picture(shipped: ServerProcess, page: Page, language: str, tmp_path: Path) -> None:
    (tmp_path / "picture.jpg").write_bytes(picture(4))
    code, *others = codes(page, f"{shipped.url}/models/cats-dogs", language)
    found = predictions(run(code, language, tmp_path), language)
    assert found == shipped.post("/api/cats-dogs", content=picture(4)).json()["predictions"]
    assert len(others) == (language == "curl")
    for example in others:
        assert predictions(run(example, language, tmp_path), language) == answered(
            shipped, "cats-dogs"
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_row(shipped: ServerProcess, page: Page, language: str, tmp_path: Path) -> None:
    (code,) = codes(page, f"{shipped.url}/models/mpg", language)
    assert predictions(run(code, language, tmp_path), language) == answered(shipped, "mpg")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_row_with_awkward_names(
    assorted: ServerProcess, page: Page, language: str, tmp_path: Path
) -> None:
    (code,) = codes(page, f"{assorted.url}/models/awkward.rows_1", language)
    found = predictions(run(code, language, tmp_path), language)
    row = {"driver's age": 44, 'Größe "XL" \\ $HOME `id`': 1.75, "色": 1}
    assert found == assorted.post("/api/awkward.rows_1", json=row).json()["predictions"]
    assert "l'été" in found[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("model", ["wide", "two", "flags", "big"])
def test_lists(
    assorted: ServerProcess, page: Page, model: str, language: str, tmp_path: Path
) -> None:
    body = {
        "wide": [[0.5] * 3],
        "two": {"left": [[0.5] * 3], "right": [[1, 1]]},
        "flags": [[False, False]],
        "big": [[[[0.5] * 3] * 16] * 16],
    }[model]
    (code,) = codes(page, f"{assorted.url}/models/{model}", language)
    if model == "big" and language == "curl":
        expect(page.get_by_text("Sends input.json from the current folder.")).to_be_visible()
        (tmp_path / "input.json").write_text(json.dumps(body))
    found = predictions(run(code, language, tmp_path), language)
    assert found == assorted.post(f"/api/{model}", json=body).json()["predictions"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text(assorted: ServerProcess, page: Page, language: str, tmp_path: Path) -> None:
    code, *others = codes(page, f"{assorted.url}/models/writer", language)
    (text,) = predictions(run(code, language, tmp_path), language)
    assert text["seed"] == "w1 it's \" w2"
    assert len(re.findall(r"w\d+|[.,]", text["generated"])) == 50
    if language != "curl":
        assert others == []
        return
    printed = run(others[0], language, tmp_path)
    assert printed.count("event: word\n") == 50
    end = printed.rpartition("data: ")[2]
    assert json.loads(end)["predictions"][0]["seed"] == text["seed"]


def test_in_the_console_of_a_browser(assorted: ServerProcess, page: Page) -> None:
    (code,) = codes(page, f"{assorted.url}/models/two", "JavaScript")
    with page.expect_console_message() as printed:
        page.evaluate(f"(async () => {{ {code} }})()")
    assert set(json.loads(printed.value.text)[0]) == {"sum", "seen"}


def test_an_error_is_printed(assorted: ServerProcess, page: Page, tmp_path: Path) -> None:
    for language in ("Python", "JavaScript"):
        (code,) = codes(page, f"{assorted.url}/models/wide", language)
        printed = run(code.replace("0.5", '"x"', 1), language, tmp_path)
        assert "wrong type" in printed


def test_copy(assorted: ServerProcess, context: BrowserContext, page: Page) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    (code,) = codes(page, f"{assorted.url}/models/awkward.rows_1", "Python")
    button = page.get_by_role("button", name="Copy the Python code")
    button.click()
    expect(page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()") == code
    expect(button).to_be_visible()  # once it has said so


@WITH_AND_WITHOUT
def test_languages_are_chosen_with_the_keyboard(
    assorted: ServerProcess, page: Page, script: bool
) -> None:
    page.goto(f"{assorted.url}/models/wide")
    page.get_by_role("button", name="Predict").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name="curl")).to_be_focused()
    expect(page.locator("#code pre:visible")).to_contain_text("curl http://")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Python")).to_be_checked()
    expect(page.locator("#code pre:visible")).to_contain_text("import requests")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#code pre:visible")).to_contain_text("await fetch")
    count = 1 if script else 0
    expect(page.get_by_role("button", name=re.compile("^Copy the"))).to_have_count(count)


def test_behind_a_proxy_the_address_is_the_one_that_people_see(assorted: ServerProcess) -> None:
    headers = {"Host": "models.example", "X-Forwarded-Proto": "https"}
    response = assorted.post("/models/wide", headers=headers, data={"body": "[[1, 2, 3]]"})
    assert "curl https://models.example/api/wide" in response.text
    assert "curl -k" in response.text
    assert "curl -k" not in assorted.get("/models/wide").text
