"""`python -m tests.fuzz`: fuzz a server of this working tree, over loopback only."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import parsers
from tests.fuzz.campaign import Campaign
from tests.fuzz.folder import fill
from tests.fuzz.probe import Prober
from tests.fuzz.report import Options, Report
from tests.fuzz.request import Request, load

# Of the time, for what reads requests in process.
PARSERS_SHARE = 0.2


def main() -> int:
    """Run it. Returns 1 where something was found."""
    options = _arguments()
    # Ends the server as well.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        models = options.models or folder / "models"
        if options.models is None:
            _say("making the models...")
            fill(models)
        if options.replay:
            return _replay(options, models, folder)
        given = Options(
            seconds=options.minutes * 60 * (1 - PARSERS_SHARE),
            seed=options.seed,
            clients=options.clients,
            share=options.share,
            pause_s=options.pause,
            percent=options.memory,
            corpus=options.corpus,
            finds=options.finds,
            only=options.only,
        )
        found = []
        if options.only is None:
            seconds = options.minutes * 60 * PARSERS_SHARE
            found = _parsers(folder / "parsers", seconds, options.seed)
        _say(f"{options.minutes:g} minutes with seed {options.seed}")
        campaign = Campaign(models, folder, given, _say)
        for detail, request in found:
            campaign.suspect(detail, request)
        report = campaign.run()
    _tell(report)
    return 1 if report.finds else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Start a server over a model of each kind, send it mutated and very large "
        "requests of every protocol, and check answers, pauses, memory and the log. What is found "
        "is tried again alone, made small and written to a file; the exit status is then 1.",
    )
    add = parser.add_argument
    add("--minutes", type=float, default=2, help="how long to send requests (default: 2)")
    add("--seed", type=int, default=0, help="of what is random (default: 0)")
    add("--clients", type=int, default=8, help="connections at a time (default: 8)")
    add(
        "--share",
        type=float,
        default=1,
        help="how large the largest bodies may be, as a share of the server's limit (default: 1)",
    )
    add(
        "--pause",
        type=float,
        default=2,
        metavar="SECONDS",
        help="how long /livez may wait beyond what the machine itself is late (default: 2)",
    )
    add(
        "--memory",
        type=float,
        default=5,
        metavar="PERCENT",
        help="by how much memory may have grown after warming up (default: 5)",
    )
    add("--corpus", type=Path, metavar="DIR", help="keep requests with new answers here, for later")
    add(
        "--finds",
        type=Path,
        metavar="DIR",
        default=Path("fuzz-finds"),
        help="where finds are written (default: fuzz-finds); tests/fuzz/finds is replayed by tests",
    )
    add(
        "--only",
        metavar="TEXT",
        help="only change valid requests whose address contains this, such as a model or 'explain'",
    )
    add("--models", type=Path, metavar="DIR", help="a folder that tests.fuzz.folder has filled")
    add("--replay", type=Path, nargs="+", metavar="FILE", help="only send these finds again")
    return parser.parse_args()


def _replay(options: argparse.Namespace, models: Path, folder: Path) -> int:
    prober = Prober(models, folder, pause_s=options.pause, patience_s=45)
    broken = False
    try:
        for file in options.replay:
            found = prober.probe(load(file).request)
            broken = broken or bool(found)
            _say(f"{file}: " + ("; ".join(f"{r}: {d[:300]}" for r, d in found) or "nothing"))
    finally:
        prober.close()
    return int(broken)


def _parsers(folder: Path, seconds: float, seed: int) -> list[tuple[str, Request]]:
    if not parsers.INSTALLED:
        _say("Atheris is not installed: the parsers are not fuzzed by themselves")
        return []
    _say(f"the parsers by themselves: {', '.join(parsers.PARSERS)}")
    return list(parsers.fuzz(folder, seconds, seed))


def _tell(report: Report) -> None:
    def counted(counts: dict[str, int]) -> str:
        return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))

    print(f"{report.requests:,} requests: {counted(report.origins)}")
    print(f"answers: {counted(report.answers)}")
    print(f"corpus: {report.corpus}; longest pause: {report.longest_pause_s:.2f} s")
    print(f"warm: {report.warm}\nat rest: {report.rest}; restarts: {report.restarts}")
    for find in report.finds:
        print(f"{find.rule}: {find.request.origin}: {find.detail[:200]}")
    if report.repeated:
        print(f"again: {counted(report.repeated)}")
    print(f"{len(report.finds)} finds" if report.finds else "nothing found")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
