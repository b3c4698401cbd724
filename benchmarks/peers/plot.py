"""The results as a picture: SVG that suits light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks.peers.results import BOUND, OURS, PEER, Cell, Ratio, Run, best

CONNECTIONS = 32
WIDTH, LEFT, RIGHT = 860, 220, 110
BAR, GAP, HEAD, TOP = 15, 5, 34, 56
# Colours that people with any colour vision tell apart, on white and on GitHub's dark grey.
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .quiet { fill: #59636e; }
  .keraport { fill: #0969da; }
  .peer { fill: #c2670c; }
  .bound { fill: #8c959f; }
  line { stroke: #1f2328; }
  .one { stroke: #8c959f; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .quiet { fill: #9198a1; }
    .keraport { fill: #4493f8; }
    .peer { fill: #e0903c; }
    .bound { fill: #6e7681; }
    line { stroke: #e6edf3; }
    .one { stroke: #6e7681; }
  }
"""
LEGEND = {OURS: "Keraport", PEER: "peers", BOUND: "without a model or without HTTP"}


def svg(run: Run) -> str:
    """Answers per second at CONNECTIONS, as a multiple of the best peer of each case. The scale
    ends at the fastest server; what is faster still, a bound, is cut off and has its number."""
    groups = [(case, list(run.group(case, CONNECTIONS).values())) for case in run.cases]
    groups = [(case, cells) for case, cells in groups if best(cells) is not None]
    largest = max(
        (_ratio(cell, cells).value for _, cells in groups for cell in cells if cell.role != BOUND),
        default=1.0,
    )
    scale = (WIDTH - LEFT - RIGHT) / max(largest, 1.0)
    lines: list[str] = [*_legend()]
    y = TOP
    for case, cells in groups:
        lines.append(f'<text class="title" x="0" y="{y + 20}">{escape(case)}</text>')
        y += HEAD
        start = y
        for cell in cells:
            lines += _bar(cell, _ratio(cell, cells), y, scale)
            y += BAR + GAP
        x = LEFT + scale
        lines.append(f'<line class="one" x1="{x:.1f}" y1="{start}" x2="{x:.1f}" y2="{y - GAP}"/>')
    title = f"Answers per second at {CONNECTIONS} connections, as a multiple of the best peer"
    height = y + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="{title}">\n'
        f"<style>{STYLE}</style>\n"
        f'<text class="title" x="0" y="18">{title}</text>\n' + "\n".join(lines) + "\n</svg>\n"
    )


def _ratio(cell: Cell, cells: list[Cell]) -> Ratio:
    top = best(cells)
    assert top is not None, "groups without a peer are left out"
    return Ratio.of(cell, top)


def _legend() -> Iterator[str]:
    x = 0
    for role, label in LEGEND.items():
        yield f'<rect class="{role}" x="{x}" y="32" width="12" height="12" rx="2"/>'
        yield f'<text class="quiet" x="{x + 18}" y="43">{label}</text>'
        x += 40 + 8 * len(label)


def _bar(cell: Cell, ratio: Ratio, y: int, scale: float) -> Iterator[str]:
    most = WIDTH - RIGHT
    end = min(LEFT + ratio.value * scale, most)
    middle = y + BAR - 3
    yield f'<text x="{LEFT - 8}" y="{middle}" text-anchor="end">{escape(cell.contestant)}</text>'
    yield (
        f'<rect class="{cell.role}" x="{LEFT}" y="{y}" width="{max(end - LEFT, 1):.1f}" '
        f'height="{BAR}" rx="2"/>'
    )
    low, high = (min(LEFT + value * scale, most) for value in _ends(ratio))
    if high > low:
        level = y + BAR / 2
        yield f'<line x1="{low:.1f}" y1="{level}" x2="{high:.1f}" y2="{level}"/>'
    beyond = " →" if LEFT + ratio.value * scale > most else ""
    x = max(end, high) + 6
    yield f'<text x="{x:.1f}" y="{middle}">{ratio.value:.2f}{beyond}</text>'


def _ends(ratio: Ratio) -> tuple[float, float]:
    return min(ratio.rounds), max(ratio.rounds)
