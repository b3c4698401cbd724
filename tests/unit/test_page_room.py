"""Pictures that come out take only so much room on a page."""

from __future__ import annotations

from app.web.models.answers.readings import PICTURE_ROOM, PictureRoom


def test_a_page_has_room_for_so_many_pictures() -> None:
    room = PictureRoom()
    most = {"out": {"size": [1, 1], "png": "x" * (PICTURE_ROOM - 1)}, "other": 1}
    assert room.fitted(most) == most
    small = {"out": {"size": [1, 1], "png": "xx"}}
    assert room.fitted(small) == {"out": {"size": [1, 1], "png": ""}}
    assert room.fitted({"out": {"png": "x"}}) == {"out": {"png": "x"}}
    assert room.fitted([1, 2]) == [1, 2]
