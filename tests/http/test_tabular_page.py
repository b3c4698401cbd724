"""The page of a tabular model as a browser without scripts uses it: forms that are posted."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Mapping
from urllib.parse import unquote

import httpx
import pytest

from tests.support import CAR, MILEAGE, ServerProcess
from tests.tables import NAMES

PAGE = "/models/mpg"
HEADER = ",".join(CAR)
ROW = ",".join(map(str, CAR.values()))


def row(values: Mapping[str, object]) -> dict[str, str]:
    """The form's fields: their names are numbered."""
    return {f"field{i}": str(value) for i, value in enumerate(values.values())}


def text_of(answer: httpx.Response) -> str:
    """What the page says, without its tags."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", "", answer.text)))


def problems_of(answer: httpx.Response) -> dict[int, str]:
    """What stands beside which field."""
    found = re.findall(r'<p class="problem" id="field(\d+)-problem">([^<]+)</p>', answer.text)
    return {int(i): html.unescape(text) for i, text in found}


def upload(server: ServerProcess, path: str, data: str | bytes, **form: str) -> httpx.Response:
    return server.post(path, files={"file": ("cars.csv", data, "text/csv")}, data=form)


def test_the_page_opens_with_the_example_or_empty(shipped: ServerProcess) -> None:
    page = shipped.get(PAGE)
    assert page.status_code == 200
    assert re.search(r'<input [^>]*data-name="weight"[^>]* value="3504"', page.text)
    assert re.search(r'<option selected value="1">USA</option>', page.text)
    empty = shipped.get(f"{PAGE}?empty=1")
    assert re.search(r'<input [^>]*data-name="weight"[^>]* value=""', empty.text)
    assert "<option selected" not in empty.text


def test_no_style_and_no_script_in_the_page(shipped: ServerProcess) -> None:
    for page in (shipped.get(PAGE), shipped.post(PAGE, data=row(CAR))):
        assert " style=" not in page.text
        assert not re.search(r"<script(?![^>]* src=)", page.text)


def test_a_row(shipped: ServerProcess) -> None:
    page = shipped.post(PAGE, data=row(CAR))
    assert page.status_code == 200
    assert f"{MILEAGE} miles per gallon" in text_of(page)
    assert problems_of(page) == {}
    # What was typed stays, rather than the example.
    heavy = shipped.post(PAGE, data=row(CAR | {"weight": " 4.5e3 "}))
    assert heavy.status_code == 200
    assert 'value=" 4.5e3 "' in heavy.text


def test_all_problems_beside_their_fields(shipped: ServerProcess) -> None:
    page = shipped.post(
        PAGE, data=row(CAR | {"cylinders": "", "weight": "1", "year": "70.5", "origin": "4"})
    )
    assert page.status_code == 422
    assert problems_of(page) == {
        0: "missing: expected a whole number from 3 to 8",
        3: "out of range: expected a number from 1755 to 4997 (lb)",
        5: "wrong type: expected a whole number from 70 to 82",
        6: "not one of the choices: expected one of 1 (USA), 2 (Europe), 3 (Japan)",
    }
    assert "No answer yet: 4 fields need a change." in text_of(page)
    assert re.findall(r'autofocus[^>]* id="(\w+)"', page.text) == ["field0"]
    assert "<title>Problem: " in page.text


@pytest.mark.parametrize("typed", ["nan", "1e999", "1_0", "0x10", "abc", "<b>", "3504,5"])
def test_what_is_no_number(shipped: ServerProcess, typed: str) -> None:
    page = shipped.post(PAGE, data=row(CAR | {"weight": typed}))
    assert page.status_code == 422
    point = ", with a decimal point: 3504.5" if "," in typed else ""
    assert problems_of(page) == {3: f"wrong type: expected a number from 1755 to 4997 (lb){point}"}


def test_nothing_at_all(shipped: ServerProcess) -> None:
    page = shipped.post(PAGE)
    assert page.status_code == 422
    assert len(problems_of(page)) == 7
    assert "3504" not in re.findall(r' value="([^"]*)"', page.text)


def test_columns_of_any_name(tables: ServerProcess) -> None:
    page = tables.post("/models/names", data=row(dict.fromkeys(NAMES, 2)))
    assert page.status_code == 200
    assert "value 20" in text_of(page)
    wrong = tables.post("/models/names", data=row(dict.fromkeys(NAMES, 2)) | {"field3": "x"})
    assert problems_of(wrong) == {3: "wrong type: expected a number"}


def test_the_template(shipped: ServerProcess, tables: ServerProcess) -> None:
    def template(page: httpx.Response) -> str:
        found = re.search(r'href="data:text/csv;charset=utf-8,([^"]*)"', page.text)
        assert found
        return unquote(html.unescape(found[1]))

    assert template(shipped.get(PAGE)) == f"{HEADER}\r\n{ROW}\r\n"
    # Spreadsheets know UTF-8 by the mark.
    names = template(tables.get("/models/names"))
    assert names.startswith("\ufeff")
    assert next(csv.reader(io.StringIO(names.removeprefix("\ufeff")))) == NAMES
    assert template(tables.get("/models/words")) == "text\r\n"


@pytest.mark.parametrize(
    ("path", "values", "said"),
    [
        ("classes", {"length": 1, "colour": "green"}, "small small 61.3 % middle 22.5 %"),
        ("switches", {"a": 1, "b": -3}, "none of the labels off 26.9 % on 11.9 %"),
        ("switches", {"a": 1, "b": 2}, "on, off"),
        ("several", {"a": 1.5, "b": 0}, "size 1.50 m0.75 m0.50 m"),
        ("bare", {f"x{i}": 10000.5 for i in range(24)}, "value 240,012"),
        ("words", {"text": "a good day"}, "mood"),
    ],
)
def test_all_kinds_of_answers(
    tables: ServerProcess, path: str, values: Mapping[str, object], said: str
) -> None:
    page = tables.post(f"/models/{path}", data=row(values))
    assert page.status_code == 200
    assert said in text_of(page)


def test_a_csv(shipped: ServerProcess) -> None:
    page = upload(shipped, PAGE, "\n".join([HEADER, *[ROW] * 12]))
    assert page.status_code == 200
    assert "The first 10 of 12 rows." in text_of(page)
    assert page.text.count(f'<td class="answered">{MILEAGE}</td>') == 10
    assert re.findall(r'<th scope="col"[^>]*>([^<]*)</th>', page.text) == [*CAR, "mpg"]


def test_a_csv_to_keep(shipped: ServerProcess) -> None:
    order = list(reversed(CAR))
    data = ";".join(order) + "\n" + ";".join(str(CAR[name]) for name in order) + "\n"
    answer = upload(shipped, f"{PAGE}?download", "\ufeff" + data)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.headers["Content-Disposition"] == "attachment; filename=mpg-answers.csv"
    header, line = data.split()
    assert answer.content.decode() == f"{header};mpg\r\n{line};{MILEAGE}\r\n"


def test_answers_of_other_kinds_in_a_csv(tables: ServerProcess) -> None:
    def told(path: str, data: str) -> list[list[str]]:
        answer = upload(tables, f"/models/{path}?download", data)
        assert answer.status_code == 200
        return list(csv.reader(io.StringIO(answer.text)))

    assert told("classes", "length,colour\n1,green\n") == [
        ["length", "colour", "label", "probability"],
        ["1", "green", "small", "0.612942"],
    ]
    assert told("several", "a,b\n1.5,0\n") == [
        ["a", "b", "size 1", "size 2", "size 3"],
        ["1.5", "0", "1.50", "0.75", "0.50"],
    ]
    assert told("switches", "a,b\n1,2\n")[0] == ["a", "b", "label", "probability", "labels"]
    assert told("switches", "a,b\n1,2\n")[1][4] == "on; off"
    # A cell stays as it was, whatever a spreadsheet would make of it.
    assert told("words", 'text\n"=1+1, ""x"""\n')[1][0] == '=1+1, "x"'


def test_problems_of_a_csv_name_the_line(shipped: ServerProcess) -> None:
    bad = ROW.replace("3504", "1")
    page = upload(shipped, PAGE, "\n".join([HEADER, "", ROW, bad, ROW, bad]))
    assert page.status_code == 422
    said = text_of(page)
    assert "the input has 2 problems" in said
    for line in (4, 6):
        told = f"line {line}: weight: out of range, found 1; expected a number from 1755 to 4997"
        assert told in said
    one = upload(shipped, f"{PAGE}?download", f"{HEADER}\n{bad}")
    assert one.status_code == 422
    assert "line 2: weight: out of range, found 1, expected" in text_of(one)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("", "the CSV has no rows"),
        (HEADER, "the CSV has no rows"),
        ("a,b\n1,2", "names no field of this model"),
        (f"{HEADER.replace('year', 'jahr')}\n{ROW}", "column year: missing"),
        (f"{HEADER.replace('year', 'jahr')}\n{ROW}", "column jahr: unexpected"),
        (b"\xff\xd8\xff", "not UTF-8"),
    ],
)
def test_files_that_are_no_such_table(shipped: ServerProcess, data: str | bytes, said: str) -> None:
    page = upload(shipped, PAGE, data)
    assert page.status_code == 422
    assert said in text_of(page)


def test_other_columns_are_kept_where_that_is_asked_for(shipped: ServerProcess) -> None:
    """Also where the first row has no value for them."""
    sent = f"id,{HEADER},\n,{ROW},x\n7,{ROW},\n"
    page = upload(shipped, f"{PAGE}?download", sent)
    assert page.status_code == 422
    for said in ("column id: unexpected", "column 9, without a name: unexpected", "?extra=keep"):
        assert said in text_of(page)
    kept = upload(shipped, f"{PAGE}?download&extra=keep", sent)
    assert kept.text == f"id,{HEADER},,mpg\r\n,{ROW},x,{MILEAGE}\r\n7,{ROW},,{MILEAGE}\r\n"
    shown = upload(shipped, f"{PAGE}?table&extra=keep", sent)
    assert "<td>7</td>" in shown.text
    # The page keeps asking so.
    for page in (shown, shipped.get(f"{PAGE}?extra=keep")):
        assert 'action="?table&amp;extra=keep"' in page.text
    assert 'action="?table"' in shipped.get(PAGE).text


def test_other_columns_in_the_api(shipped: ServerProcess) -> None:
    headers = {"Content-Type": "text/csv"}
    sent = f"id,{HEADER}\n7,{ROW}\n8,{ROW}\n"
    answer = shipped.post("/api/mpg", content=sent, headers=headers)
    assert answer.status_code == 422
    assert [d["field"] for d in answer.json()["error"]["details"]] == ["column id"]
    for body in ({"content": sent, "headers": headers}, {"files": {"file": ("a.csv", sent)}}):
        kept = shipped.post("/api/mpg?extra=keep", **body)
        assert len(kept.json()["predictions"]) == 2
    for value in ("", "drop", "Keep"):
        wrong = shipped.post("/api/mpg", content=sent, headers=headers, params={"extra": value})
        assert wrong.status_code == 422
        assert wrong.json()["error"]["message"].startswith("extra: no such value, expected 'keep'")
    # Names of JSON are no columns.
    row = {**CAR, "id": 7}
    assert shipped.post("/api/mpg?extra=keep", json=row).status_code == 422


def test_a_column_without_a_name_or_a_value(shipped: ServerProcess) -> None:
    """As spreadsheets leave behind a column that was emptied."""
    page = upload(shipped, f"{PAGE}?download", f"{HEADER},\n{ROW},\n")
    assert page.text == f"{HEADER},mpg\r\n{ROW},{MILEAGE}\r\n"


def test_no_file(shipped: ServerProcess) -> None:
    page = shipped.post(PAGE, files={"other": ("", b"")})
    assert page.status_code == 422
    assert "expected one CSV" in text_of(page)


def test_a_form_has_a_limit_on_fields_and_on_bytes(shipped: ServerProcess) -> None:
    fields = row(CAR)
    most = fields | {f"other{i}": "" for i in range(1000 - len(fields))}
    assert shipped.post(PAGE, data=most).status_code == 200
    refused = shipped.post(PAGE, data=most | {"more": ""})
    assert refused.status_code == 422
    assert "the form has more than 1,000 fields" in text_of(refused)
    name = next(iter(fields))
    bytes_of_others = sum(len(f"&{key}={value}") for key, value in fields.items() if key != name)
    room = 500_000 - bytes_of_others - len(f"{name}=")
    assert shipped.post(PAGE, data=fields | {name: "9" * room}).status_code == 422
    assert shipped.post(PAGE, data=fields | {name: "9" * (room + 1)}).status_code == 413
