"""The results as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.peers.contestants import KERAPORT, KERAPORT_BF16, KERAPORT_TWO
from benchmarks.peers.results import Cell, Missing, Ratio, Run, best
from benchmarks.peers.targets import Outcome, outcomes

HEADLINE = (KERAPORT, KERAPORT_TWO, KERAPORT_BF16)


def markdown(run: Run) -> str:
    """All of it: how it was measured, Keraport beside the best peer, every contestant, targets."""
    parts = [
        about(run),
        headline(run),
        *(details(run, case) for case in run.cases),
        targets(outcomes(run)),
        missing(run.missing),
    ]
    return "\n\n".join(part for part in parts if part)


def about(run: Run) -> str:
    """The machine, the options and the versions."""
    versions = ", ".join(f"{name} {version}" for name, version in run.about["versions"].items())
    rounds, seconds = run.about["rounds"], run.about["seconds"]
    return (
        f"{run.about['cores']} cores of {run.about['processor']}, {run.about['date']}, "
        f"{rounds} {'round' if rounds == 1 else 'rounds'} of {seconds} s or longer, medians. "
        f"{versions}."
    )


def headline(run: Run) -> str:
    """Keraport as a multiple of the best peer; in bold where a peer wins."""
    rows = []
    for case, connections in run.groups:
        group = run.group(case, connections)
        top = best(group.values())
        if top is None:
            continue
        ratios = [_against(group.get(name), top) for name in HEADLINE]
        rows.append([case, str(connections), top.contestant, _number(median(top.rates)), *ratios])
    if not rows:
        return ""
    head = ["", "connections", "best peer", "its requests/s", *HEADLINE]
    return (
        "Answers per second, as a multiple of the best peer (range of the rounds; bold: the peer "
        "is faster):\n\n" + _table(head, rows)
    )


def _against(cell: Cell | None, top: Cell) -> str:
    if cell is None:
        return "not measured"
    ratio = Ratio.of(cell, top)
    return f"**{ratio}**" if ratio.value < 1 else str(ratio)


def details(run: Run, case: str) -> str:
    """Every contestant in a case."""
    rows = []
    for connections in (count for name, count in run.groups if name == case):
        group = run.group(case, connections)
        top = best(group.values())
        for cell in group.values():
            rows.append([str(connections), *_row(cell, top)])
    head = ["connections", "", "requests/s", "times the best peer", "p50 ms", "p99 ms"]
    head += ["CPU s per 1,000", "memory MB"]
    title = f"<summary>{case}: every contestant</summary>"
    return f"<details>{title}\n\n{_table(head, rows)}\n\n</details>"


def _row(cell: Cell, top: Cell | None) -> list[str]:
    lost = max(sample.lost for sample in cell.samples)
    rate = _number(median(cell.rates))
    if lost:
        rate += f", {100 * lost:.1f} % lost"
    return [
        cell.contestant,
        rate,
        "" if top is None else str(Ratio.of(cell, top)),
        _number(cell.middle("p50_ms")),
        _number(cell.middle("p99_ms")),
        _number(cell.middle("cpu_s")),
        _number(cell.middle("memory_mb")),
    ]


def targets(reached: Iterable[Outcome]) -> str:
    """Each target and what was reached."""
    rows = [
        [
            outcome.target.case,
            outcome.target.contestant,
            f"{outcome.target.against}: {outcome.other.contestant}"
            if outcome.target.against != outcome.other.contestant
            else outcome.other.contestant,
            f"{outcome.target.least:.2f}",
            str(outcome.ratio),
            "yes" if outcome.reached else "**no**",
        ]
        for outcome in reached
    ]
    if not rows:
        return ""
    head = ["", "", "as a multiple of", "target", "measured", "reached"]
    return "Targets, at 32 connections:\n\n" + _table(head, rows)


def missing(found: Sequence[Missing]) -> str:
    """Who could not be measured, and why."""
    rows = [
        [each.contestant, each.case, str(each.connections or "all"), _plain(each.reason)]
        for each in found
    ]
    if not rows:
        return ""
    return "Not measured:\n\n" + _table(["", "case", "connections", "reason"], rows)


def _plain(text: str) -> str:
    """What a log says, so that Markdown shows it as it is."""
    return "`" + text.replace("|", "\\|").replace("`", "'") + "`"


def _number(value: float | None) -> str:
    """With two or three digits that mean something."""
    if value is None:
        return ""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
