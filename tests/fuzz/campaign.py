"""A run of the fuzzer: rounds of requests by several clients, and what becomes of their finds."""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from tests.fuzz import agreement, framing, oracle
from tests.fuzz.connection import Connection, Exchange
from tests.fuzz.corpus import Corpus
from tests.fuzz.floods import FLOODS, flood
from tests.fuzz.minimise import minimised
from tests.fuzz.mutate import mutated, picture_request
from tests.fuzz.probe import Broken, Prober, ask
from tests.fuzz.report import Options, Report
from tests.fuzz.request import Find, Request, save
from tests.fuzz.seeds import seeds
from tests.fuzz.state import above, wrong_lines

ROUND_S = 5.0
# Of the time behind the floods, before memory is measured: several large requests at once take
# memory that malloc keeps.
WARM_SHARE = 0.4
# Requests of each client in a round that may have to be tried again alone.
REMEMBERED = 300
# Growth of memory is a leak only if it continues: the first of the largest requests takes what the
# allocators of TensorFlow keep, and may come late. The memory is measured again so often, with as
# many rounds in between.
LOOK_AGAIN = 3
ROUNDS_BETWEEN = 4
# For trying again alone what a round has found, and for making it small.
CONFIRM_S = 60.0
MINIMISE_S = 30.0
SMALL_PATIENCE_S = 10.0
# A server that is frozen so often is not worth more time.
MAX_RESTARTS = 12


@dataclass(frozen=True, slots=True)
class Suspect:
    """A rule that was broken, and the requests of which one may be why."""

    rule: str
    detail: str
    requests: tuple[Request, ...]


class Campaign:
    """One run over the models in `models`. say: takes lines for people."""

    def __init__(
        self, models: Path, folder: Path, options: Options, say: Callable[[str], None]
    ) -> None:
        self._options = options
        self._say = say
        self._prober = Prober(
            models, folder, pause_s=options.pause_s, patience_s=options.patience_s
        )
        self._inputs = self._prober.server.inputs()
        self._seeds = [s for s in seeds(self._inputs) if (options.only or "") in s.request.target]
        if not self._seeds:
            self._prober.close()
            raise ValueError(f"no valid request has an address with {options.only!r}")
        self._baselines: list[Any] = []
        self._corpus = Corpus([s.request for s in self._seeds], options.corpus)
        self._rng = random.Random(options.seed)
        self._known: set[tuple[str, str]] = set()
        self._suspects: list[Suspect] = []
        self._lock = threading.Lock()
        # By their ids, which the log has as well.
        self._by_id: OrderedDict[str, Request] = OrderedDict()
        self._warm_restarts = 0
        self._failure: Exception | None = None
        # Those that were not answered in time.
        self._late: deque[Request] = deque(maxlen=20)
        self.report = Report()

    def suspect(self, detail: str, request: Request) -> None:
        """Try alone, as soon as the run begins, what the fuzzers of the parsers have found."""
        self._add("parser", detail, [request])

    def run(self) -> Report:
        """All of it. The server is ended in any case."""
        until = time.monotonic() + self._options.seconds
        try:
            self._warm_up(until)
            while time.monotonic() < until and self.report.restarts <= MAX_RESTARTS:
                self._round(min(until, time.monotonic() + ROUND_S))
            self._end()
        finally:
            self._prober.close()
        self.report.corpus = len(self._corpus)
        return self.report

    def _warm_up(self, until: float) -> None:
        """Every valid request, whose first answer is the measure of later ones; then the largest,
        one at a time and for at most half of the time."""
        for seed in self._seeds:
            exchange, _ = ask(self._prober.server.port, seed.request, self._options.patience_s)
            baseline = oracle.plain(exchange.answers[0]) if exchange.answers else None
            self._baselines.append(baseline)
            for rule, detail in oracle.right(seed, exchange, baseline):
                self._add(rule, detail, [seed.request])
            self._count(seed.request, exchange)
        names = [] if self._options.only else list(FLOODS)
        self._rng.shuffle(names)
        half = time.monotonic() + (until - time.monotonic()) / 2
        for name in names:
            if time.monotonic() > half or self.report.restarts > MAX_RESTARTS:
                self._say(f"no time for {len(names) - names.index(name)} of the largest requests")
                break
            request = flood(name, self._options.share)
            broken = self._prober.probe(request)
            self.report.origins["flood"] += 1
            if self._prober.exchange is not None:
                self._count(request, self._prober.exchange)
            for rule, detail in broken:
                self._add(rule, detail, [request])
            self._confirm()
        warm = time.monotonic() + (until - time.monotonic()) * WARM_SHARE
        while time.monotonic() < warm and self._prober.restarts <= MAX_RESTARTS:
            self._round(min(warm, time.monotonic() + ROUND_S))
        self.report.warm = self._prober.server.settled()
        self._warm_restarts = self._prober.restarts
        self._say(f"warm: {self.report.warm}")

    def _round(self, until: float) -> None:
        """All clients at once, then what they have found."""
        server = self._prober.server
        began = time.monotonic()
        recent = [deque[Request](maxlen=REMEMBERED) for _ in range(self._options.clients)]
        threads = [
            threading.Thread(
                target=self._client, args=(self._rng.random(), until, remembered), daemon=True
            )
            for remembered in recent
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.2)
            if server.pauses.silent_for > self._options.patience_s:
                break
        pauses = server.pauses.since(began)
        self._longest()
        gone = not (server.alive and server.breathes(self._options.patience_s))
        if gone:
            last = tuple(remembered[-1] for remembered in recent if remembered)
            rule = "frozen" if server.alive else "died"
            found = Suspect(rule, server.log()[-500:], last)
            self._prober.restart()
        else:
            slow = max((p.seconds for p in pauses), default=0)
            if slow > self._options.pause_s:
                asked = [request for remembered in recent for request in remembered]
                asked.sort(key=lambda r: -sum(len(p.data) * p.times for p in r.body))
                self._add("pause", f"/livez waited {slow:.1f} s", asked[:30])
            self._read_log([request for remembered in recent for request in remembered])
        for thread in threads:
            thread.join(self._options.patience_s + 30)
        if self._failure is not None:
            raise self._failure
        if gone:
            # What clients saw meanwhile came of it.
            self._suspects = [found]
        self._confirm()

    def _read_log(self, asked: list[Request]) -> None:
        for id_, text in wrong_lines(self._prober.server.new_lines()):
            found = self._by_id.get(id_)
            requests = (
                [found] if found else [r for r in asked if not r.strict or r.framing == "raw"]
            )
            self._add("log", text, requests)

    def _client(self, seed: float, until: float, recent: deque[Request]) -> None:
        """One client: a connection that is kept as long as the server keeps it."""
        rng = random.Random(seed)
        connection: Connection | None = None
        port = self._prober.server.port
        try:
            while time.monotonic() < until:
                if rng.random() < 0.08 and not self._options.only:
                    self._agree(rng, recent)
                    continue
                request, right = self._next(rng)
                recent.append(request)
                exchange, connection = self._sent(port, request, connection)
                self._count(request, exchange)
                for rule, detail in right(exchange):
                    self._add(rule, detail, [request])
        except OSError as error:
            self._add("refused", repr(error), list(recent)[-1:])
        except Exception as error:  # of the fuzzer itself
            self._failure = error
        finally:
            if connection is not None:
                connection.close()

    def _next(self, rng: random.Random) -> tuple[Request, Callable[[Exchange], list[Broken]]]:
        """A request, and what judges its answer."""
        chance = rng.random()
        if self._options.only and chance >= 0.15:
            chance = 1.0
        if chance < 0.15:
            i = rng.randrange(len(self._seeds))
            seed, baseline = self._seeds[i], self._baselines[i]
            return seed.request, lambda exchange: oracle.right(seed, exchange, baseline)
        if chance < 0.25:
            if rng.random() < 0.1:
                return framing.half_closed(), framing.judge_half_closed
            request = framing.cases(rng)
            name = request.origin.removeprefix("framing ")
            return request, lambda exchange: framing.judge(name, exchange)
        if chance < 0.45:
            request = picture_request(rng, self._inputs)
        elif chance < 0.47:
            share = self._options.share * 10 ** rng.uniform(-3, 0)
            request = flood(rng.choice(list(FLOODS)), share)
        else:
            request = mutated(rng, self._corpus.pick(rng))
        return request, lambda exchange: oracle.judge(request, exchange)

    def _sent(
        self, port: int, request: Request, connection: Connection | None
    ) -> tuple[Exchange, Connection | None]:
        """The exchange, and the connection if it can be used again."""
        patience = self._options.patience_s
        if request.origin.startswith("framing "):
            return framing.exchange(port, request, patience)[0], connection
        for _ in range(2):
            used = connection is not None
            connection = connection or Connection(port, patience)
            exchange = connection.ask(request.wire(), request.method)
            keeps = not exchange.closed and not exchange.problem and request.strict
            last = exchange.answers[-1] if exchange.answers else None
            if not keeps or (last and last.headers.get("connection", "").lower() == "close"):
                connection.close()
                connection = None
            # A kept connection may be closed at any time: a new one tells.
            if not (used and exchange.problem == "closed"):
                break
        return exchange, connection

    def _agree(self, rng: random.Random, recent: deque[Request]) -> None:
        """The same question in all forms."""
        ask_all = agreement.rows if rng.random() < 0.6 else agreement.pictures
        forms, truth = ask_all(rng, self._inputs)
        answered = []
        connection = None
        for form in forms:
            request = replace(form.request, origin=f"agreement {form.name}")
            recent.append(request)
            exchange, connection = self._sent(self._prober.server.port, request, connection)
            self._count(request, exchange)
            for rule, detail in oracle.judge(request, exchange):
                self._add(rule, detail, [request])
            if exchange.answers and exchange.answers[0].status not in (503, 504):
                answered.append((form, exchange.answers[0]))
        if connection is not None:
            connection.close()
        for detail in agreement.disagreements(answered, truth):
            name = detail.partition(":")[0]
            self._add("disagreement", detail, [f.request for f in forms if f.name == name])

    def _count(self, request: Request, exchange: Exchange) -> None:
        with self._lock:
            self.report.requests += 1
            self.report.origins[request.origin.partition(" ")[0] or "valid"] += 1
            if exchange.problem == "silent" or any(a.status == 504 for a in exchange.answers):
                self._late.append(request)
            for answer in exchange.answers:
                self.report.answers[str(answer.status)] += 1
                if id_ := answer.headers.get("x-request-id"):
                    self._by_id[id_] = request
                    if len(self._by_id) > 5000:
                        self._by_id.popitem(last=False)
        if exchange.answers and request.framing != "raw":
            self._corpus.offer(request, exchange.answers[0])

    def _add(self, rule: str, detail: str, requests: Iterable[Request]) -> None:
        with self._lock:
            if len(self._suspects) < 100:
                self._suspects.append(Suspect(rule, detail, tuple(requests)))

    def _longest(self) -> None:
        seconds = self._prober.server.pauses.longest.seconds
        self.report.longest_pause_s = max(self.report.longest_pause_s, seconds)
        self.report.restarts = self._prober.restarts

    def _confirm(self) -> None:
        """Try what was found again, alone; keep the first of each kind, made small."""
        suspects, self._suspects = self._suspects, []
        for suspect in suspects:
            origin = suspect.requests[0].origin if suspect.requests else ""
            rule = "frozen" if suspect.rule in _FROZEN else suspect.rule
            key = (rule, origin if origin.partition(" ")[0] in _NAMED else origin[:40])
            if key in self._known:
                self.report.repeated[f"{suspect.rule} {origin}"] += 1
                continue
            self._known.add(key)
            find = self._find(suspect)
            self.report.finds.append(find)
            self._say(f"FOUND {find.rule}: {find.request.origin}: {find.detail[:300]}")
            if self._options.finds is not None:
                self._options.finds.mkdir(parents=True, exist_ok=True)
                name = f"{find.rule}-{_file_name(find.request.origin)}"
                save(find, self._options.finds / f"{name}.json")
            self._longest()

    def _find(self, suspect: Suspect) -> Find:
        until = time.monotonic() + CONFIRM_S
        # A frozen server is known by its pause long before its answer does not come.
        tries: list[tuple[set[str], float | None]] = [({suspect.rule}, None)]
        if suspect.rule in _FROZEN:
            tries.insert(0, (_FROZEN - {"answer-silent"}, SMALL_PATIENCE_S))
        for request, (rules, patience) in product(suspect.requests, tries):

            def breaks(
                tried: Request, rules: set[str] = rules, patience: float | None = patience
            ) -> bool:
                broken = self._prober.probe(tried, patience)
                return any(rule in rules or suspect.rule == "parser" for rule, _ in broken)

            if time.monotonic() > until or self._prober.restarts > MAX_RESTARTS:
                break
            if small := minimised(request, breaks, seconds=MINIMISE_S):
                return Find(suspect.rule, suspect.detail, small)
        # The watchdog ends a process minutes after the request that hangs.
        likely = [*suspect.requests, *(self._late if suspect.rule == "died" else ())]
        request = likely[-1] if likely else Request("/")
        return Find(suspect.rule, f"(not alone) {suspect.detail}", request)

    def _left_over(self) -> list[str]:
        """What the server holds at rest that it did not hold when it was warm."""
        warm, percent = self.report.warm, self._options.percent
        for again in range(LOOK_AGAIN + 1):
            server = self._prober.server
            rest = self.report.rest = server.settled(warm, percent)
            self._say(f"at rest: {rest}")
            left = [f"{name}: {value:g}" for name, value in server.unfinished().items()]
            if warm is None or self._prober.restarts != self._warm_restarts:
                break
            grown = above(rest, warm, percent)
            left += grown
            if not grown or again == LOOK_AGAIN:
                break
            warm = rest
            for _ in range(ROUNDS_BETWEEN):
                self._round(time.monotonic() + ROUND_S)
        return left

    def _end(self) -> None:
        """Everything back to where it was, and a clean end."""
        left = self._left_over()
        server = self._prober.server
        self._read_log([])
        code, seconds = server.end()
        if code != 0:
            left.append(f"SIGTERM: ended with {code} after {seconds:.0f} s")
        self._read_log([])
        for detail in left:
            self.report.finds.append(Find("left-over", detail, Request("/", "GET")))
            self._say(f"FOUND left-over: {detail}")
        for suspect in self._suspects:
            request = suspect.requests[0] if suspect.requests else Request("/", "GET")
            self.report.finds.append(Find(suspect.rule, suspect.detail, request))
            self._say(f"FOUND {suspect.rule}: {suspect.detail[:300]}")


# What a request may do that freezes a server, tried alone.
_FROZEN = {"pause", "frozen", "died", "answer-silent", "answer-closed", "refused"}
# Origins whose second word tells what is wrong.
_NAMED = ("framing", "agreement", "parser")


def _file_name(origin: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in origin).strip("-")[:60] or "request"
