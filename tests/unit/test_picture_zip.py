"""The names of pictures in a zip."""

from __future__ import annotations

import pytest

from app.api.native.picture_zip import picture_names


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        (["a.jpg", "b.tar.gz"], ["a", "b.tar"]),
        (["a.jpg", "a.png", "A.png", "a-2.png"], ["a", "a-2", "A-3", "a-2-2"]),
        (["", "", ".png", "..", "/"], ["1", "2", "png", "4", "5"]),
        (["../../etc/passwd", "C:\\x\\y.png", "/z.png"], ["passwd", "y", "z"]),
        (['a\0b\n<c>:"d|?*.png', "\x7f.png"], ["a_b_c_d_", "_"]),
        (["\N{GREEK SMALL LETTER ALPHA}" * 300], ["\N{GREEK SMALL LETTER ALPHA}" * 40]),
        (["x" * 300 + ".png"] * 2, ["x" * 40, "x" * 40 + "-2"]),
    ],
)
def test_names_are_safe_and_each_its_own(sent: list[str], names: list[str]) -> None:
    assert picture_names(sent, [""]) == names


def test_each_output_has_a_name() -> None:
    assert picture_names(["a.png", "a.png"], ["cells", "x/y"]) == [
        "a-cells",
        "a-x_y",
        "a-cells-2",
        "a-x_y-2",
    ]
