"""The agreement between replicas that are asked to stop, over generated orders of events."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.handover import ASK_S, GONE_S, GONE_STARTS, Handover, Peer, Stand
from app.server.handover_client import parse_answer

LIMIT_S = 60.0
# How long the replicas of these tests take to end, to be started again, and to load.
DRAIN_S, START_S, LOAD_S = 1.0, 2.0, 8.0


@dataclass
class Replica:
    """A process, with the answers that it has got to the question that it asked last."""

    handover: Handover
    up: bool = True
    loaded: bool = True
    answers: list[Peer] | None = None
    unasked: set[int] = field(default_factory=set)
    since: float = 0.0  # the last change of `up` or `loaded`, or the decision to leave

    @property
    def serves(self) -> bool:
        return self.up and self.loaded and self.handover.stand is not Stand.LEAVING

    @property
    def decides(self) -> bool:
        return self.up and self.handover.stand in (Stand.UNDECIDED, Stand.STAYING)

    def said(self) -> Peer:
        return Peer(self.handover.process, self.loaded, self.handover.stand)


class World:
    """Replicas and the network between them; every step takes no time."""

    def __init__(self, names: list[str], limit_s: float = LIMIT_S) -> None:
        self.now = 100.0
        self._limit_s = limit_s
        self.replicas = [Replica(self._handover(name)) for name in names]

    def _handover(self, name: str) -> Handover:
        return Handover(self._limit_s, name, clock=lambda: self.now)

    def __deepcopy__(self, memo: Any) -> World:
        copied = World([])
        for r in self.replicas:
            handover = copied._handover(r.handover.process)
            handover.stop()
            handover.stand = r.handover.stand
            answers = None if r.answers is None else list(r.answers)
            copied.replicas.append(Replica(handover, r.up, r.loaded, answers, set(r.unasked)))
        return copied

    def tell(self, i: int) -> None:
        replica = self.replicas[i]
        if not replica.up or replica.handover.stand is not Stand.SERVING:
            return
        if replica.loaded:
            replica.handover.stop()
        else:
            self._change(replica, up=False)

    def ask(self, i: int) -> None:
        replica = self.replicas[i]
        if replica.decides and replica.answers is None:
            replica.answers = []
            replica.unasked = set(range(len(self.replicas))) - {i}

    def answer(self, i: int, j: int) -> None:
        """`j` says to `i` what it is now."""
        asking, asked = self.replicas[i], self.replicas[j]
        if asking.answers is not None and j in asking.unasked and asked.up:
            asking.unasked.discard(j)
            asking.answers.append(asked.said())

    def hear(self, i: int) -> None:
        """`i` decides; what was not answered by now is lost."""
        replica = self.replicas[i]
        heard = replica.answers is not None and replica.decides
        if heard and replica.handover.heard(replica.answers or []) is not None:
            replica.since = self.now
        replica.answers = None

    def end(self, i: int) -> None:
        if self.replicas[i].up and self.replicas[i].handover.stand is Stand.LEAVING:
            self._change(self.replicas[i], up=False)

    def start(self, i: int, name: str) -> None:
        replica = self.replicas[i]
        if not replica.up:
            replica.handover = self._handover(name)
            self._change(replica, up=True)

    def load(self, i: int) -> None:
        if self.replicas[i].up and not self.replicas[i].loaded:
            self.replicas[i].loaded = True
            self.replicas[i].since = self.now

    def take(self, kind: str, i: int, extra: Any) -> None:
        """One of the steps above, by its name."""
        step = getattr(self, kind)
        step(i, extra) if kind in ("answer", "start") else step(i)

    def state(self) -> Any:
        """All that decides what can come next, as long as no time passes."""
        return tuple(
            (
                r.up,
                r.loaded,
                r.handover.process,
                r.handover.stand,
                None if r.answers is None else frozenset(r.answers),
                frozenset(r.unasked),
            )
            for r in self.replicas
        )

    def _change(self, replica: Replica, *, up: bool) -> None:
        replica.up, replica.loaded, replica.answers, replica.since = up, False, None, self.now


def names(count: int) -> st.SearchStrategy[list[str]]:
    return st.permutations("abcdef"[:count]).map(list)


@st.composite
def events(draw: st.DrawFn, count: int) -> list[tuple[str, int, Any]]:
    index = st.integers(0, count - 1)
    kinds = st.sampled_from(
        ["tell", "ask", "answer", "answer", "hear", "hear", "end", "start", "load"]
    )
    return [
        (kind, draw(index), draw(index if kind == "answer" else st.sampled_from("ghij")))
        for kind in draw(st.lists(kinds, max_size=80))
    ]


@given(data=st.data(), count=st.integers(2, 3))
@settings(max_examples=15 * settings().max_examples)
def test_one_serves_in_every_order_of_events(data: st.DataObject, count: int) -> None:
    """With answers that are late or lost; and no time passes, so that none leaves for the time."""
    world = World(data.draw(names(count)))
    for number, (kind, i, extra) in enumerate(data.draw(events(count))):
        world.take(kind, i, f"{extra}{number}" if kind == "start" else extra)
        assert any(replica.serves for replica in world.replicas)


def test_one_serves_in_all_orders_of_two_replicas() -> None:
    """Not some orders: every state that two replicas and their questions can come to."""
    kinds = ["tell", "ask", "hear", "end", "load"]
    steps: list[tuple[str, int, Any]] = [(kind, i, None) for kind in kinds for i in (0, 1)]
    steps += [("answer", 0, 1), ("answer", 1, 0)]
    # Started again, the first one comes before and after the second in the order.
    steps += [("start", 0, "a"), ("start", 0, "c"), ("start", 1, "b")]
    start = World(["a", "b"])
    seen = {start.state()}
    open_states = [start]
    while open_states:
        before = open_states.pop()
        assert any(replica.serves for replica in before.replicas)
        for step in steps:
            world = copy.deepcopy(before)
            world.take(*step)
            if (state := world.state()) not in seen:
                seen.add(state)
                open_states.append(world)
    assert len(seen) > 500, "the states were not explored"


@given(data=st.data(), count=st.integers(2, 3))
@settings(max_examples=3 * settings().max_examples)
def test_all_restart_one_after_the_other(data: st.DataObject, count: int) -> None:
    """As with `docker compose restart`: each is stopped once, nearly at once, and started again."""
    world = World(data.draw(names(count)))
    waits = [data.draw(st.floats(0, 3)) for _ in range(count)]
    restarted = run(world, data, waits, comes_back=True)
    assert restarted == count
    # Each waits for the start of the one before; none leaves because of the limit or the silence.
    assert world.now - 100 < 3 + count * (DRAIN_S + START_S + LOAD_S + 8 * ASK_S)


@given(data=st.data(), count=st.integers(2, 3))
@settings(max_examples=3 * settings().max_examples)
def test_all_end_soon_where_none_comes_back(data: st.DataObject, count: int) -> None:
    world = World(data.draw(names(count)))
    run(world, data, [data.draw(st.floats(0, 1)) for _ in range(count)], comes_back=False)
    assert world.now - 100 < 1 + DRAIN_S + GONE_S + DRAIN_S + 8 * ASK_S


def run(world: World, data: st.DataObject, waits: list[float], *, comes_back: bool) -> int:
    """Time passes, in turns of a generated order, until every replica has ended once. Returns how
    many were told."""
    told, ended = set[int](), set[int]()
    began = world.now
    serving = True
    while len(ended) < len(world.replicas):
        world.now += ASK_S
        assert world.now - began < 10 * LIMIT_S, "they wait for each other"
        for i in data.draw(st.permutations(range(len(world.replicas)))):
            replica = world.replicas[i]
            passed = world.now - replica.since
            if i not in told and world.now - began >= waits[i]:
                told.add(i)
                world.tell(i)
            world.ask(i)
            for j in range(len(world.replicas)):
                world.answer(i, j)
            world.hear(i)
            if replica.handover.stand is Stand.LEAVING and replica.up and passed >= DRAIN_S:
                world.end(i)
                ended.add(i)
            elif not replica.up and comes_back and passed >= START_S:
                world.start(i, f"new-{i}")
            elif replica.up and not replica.loaded and passed >= LOAD_S:
                world.load(i)
        serving = serving and any(r.serves for r in world.replicas)
    assert serving or not comes_back
    return len(told)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(clock: Clock, limit_s: float = LIMIT_S, started_s: float = 0.0) -> Handover:
    handover = Handover(limit_s, "b", clock, started_s)
    handover.stop()
    return handover


def test_a_peer_that_serves_is_enough(clock: Clock) -> None:
    reason = told(clock).heard([Peer("c", True, Stand.SERVING), Peer("d", False, Stand.SERVING)])
    assert reason == "another replica serves"


@pytest.mark.parametrize("rival", ["a", "c"])
def test_of_two_that_are_stopped_the_greater_stays(clock: Clock, rival: str) -> None:
    handover = told(clock)
    assert handover.heard([Peer(rival, True, Stand.UNDECIDED)]) is None
    assert handover.stand is (Stand.STAYING if rival == "a" else Stand.UNDECIDED)


def test_one_that_stays_asks_again_before_it_leaves(clock: Clock) -> None:
    handover = told(clock)
    assert handover.heard([Peer("a", True, Stand.LEAVING)]) is None
    assert handover.heard([Peer("a2", False, Stand.SERVING)]) is None
    assert handover.stand is Stand.STAYING
    assert handover.heard([Peer("a2", True, Stand.SERVING)]) is None
    # The peer was told meanwhile.
    assert handover.heard([Peer("a2", True, Stand.UNDECIDED)]) is None
    assert handover.stand is Stand.STAYING


@pytest.mark.parametrize(("other", "stand"), [("a", Stand.STAYING), ("c", Stand.UNDECIDED)])
def test_of_two_that_stay_since_answers_were_lost_the_greater_stays(
    clock: Clock, other: str, stand: Stand
) -> None:
    handover = told(clock)
    assert handover.heard([]) is None
    assert handover.heard([Peer(other, True, Stand.STAYING)]) is None
    assert handover.stand is stand


def test_a_process_is_no_peer_of_its_own(clock: Clock) -> None:
    """The settings may give all replicas the same list."""
    handover = told(clock)
    assert handover.heard([Peer("b", True, Stand.SERVING)]) is None
    clock.now += GONE_S
    assert handover.heard([Peer("b", True, Stand.SERVING)]) is not None


@pytest.mark.parametrize(("passed", "leaves"), [(GONE_S - 0.01, False), (GONE_S, True)])
def test_silence_counts_from_the_last_answer(clock: Clock, passed: float, leaves: bool) -> None:
    handover = told(clock)
    clock.now += GONE_S - 1
    assert handover.heard([Peer("a", True, Stand.LEAVING)]) is None
    clock.now += passed
    assert (handover.heard([]) is not None) == leaves
    assert (handover.stand is Stand.LEAVING) == leaves


@pytest.mark.parametrize(
    ("started_s", "passed", "leaves"),
    [
        (GONE_S / GONE_STARTS, GONE_S, True),
        (8.0, 8.0 * GONE_STARTS - 0.01, False),
        (8.0, 8.0 * GONE_STARTS, True),
        (LIMIT_S, LIMIT_S - 0.01, False),
        (LIMIT_S, LIMIT_S, True),
    ],
)
def test_on_a_slow_machine_a_peer_may_be_silent_for_longer(
    clock: Clock, started_s: float, passed: float, leaves: bool
) -> None:
    handover = told(clock, started_s=started_s)
    clock.now += passed
    assert (handover.heard([]) is not None) == leaves


@pytest.mark.parametrize(("passed", "leaves"), [(LIMIT_S - 0.01, False), (LIMIT_S, True)])
def test_a_peer_that_never_becomes_ready_is_waited_for_until_the_limit(
    clock: Clock, passed: float, leaves: bool
) -> None:
    handover = told(clock)
    clock.now += passed
    assert (handover.heard([Peer("a", False, Stand.SERVING)]) is not None) == leaves


def test_what_readyz_says_is_read() -> None:
    body = b'{"ready": true, "stand": "staying", "process": "8f", "models": {}}'
    assert parse_answer(body) == Peer("8f", True, Stand.STAYING)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"\xff",
        b'{"ready": true, "draining": false, "models": {}}',
        b'{"ready": true, "stand": "dancing", "process": "8f"}',
        b'{"ready": true, "stand": ["staying"], "process": "8f"}',
    ],
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    assert parse_answer(body) is None
