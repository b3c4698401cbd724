"""Forms of pages."""

from __future__ import annotations

from tests.largest.bodies import (
    BODY,
    FORM,
    MULTIPART,
    PAGE,
    ROWS,
    WIDE,
    Largest,
    car_csv,
    form,
    labelled_csv,
    wide_csv,
)


def pages() -> list[Largest]:
    page = MULTIPART | PAGE
    wide = "/models/wide"
    return [
        Largest("page of a CSV", "/models/mpg", lambda: form(("file", "a.csv", car_csv())), page),
        Largest(
            "download of a CSV",
            "/models/mpg?download",
            lambda: form(("file", "a.csv", car_csv())),
            page,
        ),
        Largest(
            "page of 100 labels",
            "/models/kinds",
            lambda: form(("file", "a.csv", labelled_csv())),
            page,
        ),
        Largest(
            "download of 100 labels",
            "/models/kinds?download",
            lambda: form(("file", "a.csv", labelled_csv())),
            page,
        ),
        Largest("page of 1,000 columns", wide, lambda: form(("file", "a.csv", wide_csv())), page),
        Largest(
            "page of problems",
            "/models/mpg",
            lambda: form(("file", "a.csv", b"weight\n" + b"x\n" * ROWS)),
            page,
        ),
        Largest(
            "page of a row",
            wide,
            lambda: b"&".join(b"field%d=x" % i for i in range(WIDE)),
            FORM | PAGE,
        ),
        Largest(
            "page of fields",
            "/models/mpg",
            lambda: b"&".join(b"f%d=" % i for i in range(50_000)),
            FORM | PAGE,
        ),
        Largest(
            "page of a tensor",
            "/models/numbers",
            lambda: b"body=[[" + b",".join([b"1"] * 240_000) + b"]]",
            FORM | PAGE,
        ),
        Largest(
            "page of a seed",
            "/models/writer",
            lambda: b"start=own&diversity=1&words=10&seed=" + b"w1+" * 3_000,
            FORM | PAGE,
        ),
        Largest(
            "page of a form", "/models/numbers", lambda: form(("body", None, b"[" * BODY)), page
        ),
    ]
