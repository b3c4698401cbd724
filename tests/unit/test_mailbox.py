"""The hand-over from native threads to the hub."""

from __future__ import annotations

import gc
import threading
import weakref

import gevent
import pytest

from app.serving.mailbox import Mailbox


def in_another_thread(mailbox: Mailbox[int], *items: int) -> None:
    def work() -> None:
        mailbox.extend(items)
        mailbox.wake()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def until(box: list[int], length: int) -> None:
    with gevent.Timeout(10):
        while len(box) < length:
            gevent.sleep(0.001)


def test_items_arrive_in_order_in_the_hubs_thread() -> None:
    got: list[int] = []
    threads = set()

    def deliver(item: int) -> None:
        threads.add(threading.current_thread())
        got.append(item)

    mailbox = Mailbox(deliver)
    mailbox.open()
    mailbox.open()
    in_another_thread(mailbox, 1, 2, 3)
    assert got == [], "not before the hub has its turn"
    in_another_thread(mailbox, 4)
    until(got, 4)
    assert got == [1, 2, 3, 4]
    assert threads == {threading.main_thread()}


def test_the_hub_looks_at_others_while_items_keep_coming_in() -> None:
    """Or it would serve a few clients over and over, each of which asks again at once."""
    got: list[int] = []
    seen = set()

    def deliver(item: int) -> None:
        got.append(item)
        if len(got) < 100:
            mailbox.add(item + 1)
            mailbox.wake()

    mailbox = Mailbox(deliver)
    mailbox.open()

    def look() -> None:
        while len(got) < 100:
            seen.add(len(got))
            gevent.sleep(0)

    in_another_thread(mailbox, 0)
    looking = gevent.spawn(look)
    looking.join(timeout=10)
    assert len(seen) > 10
    assert got == list(range(100))


@pytest.mark.parametrize("opened", [True, False])
def test_a_closed_mailbox_delivers_what_is_left_and_is_freed(opened: bool) -> None:
    got: list[int] = []
    mailbox = Mailbox(got.append)
    if opened:
        mailbox.open()
        mailbox.extend([1, 2])
    gone = weakref.ref(mailbox)
    mailbox.close()
    gevent.sleep(0.01)
    assert got == ([1, 2] if opened else [])
    del mailbox
    gc.collect()
    assert gone() is None
