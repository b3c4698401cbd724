"""Put the results into benchmarks/README.md, between two markers, and the plot beside it."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.peers.plot import svg
from benchmarks.peers.results import Run
from benchmarks.peers.tables import markdown
from benchmarks.processes import ROOT

README = ROOT / "benchmarks/README.md"
PLOT = ROOT / "benchmarks/peers/peers.svg"
BEGIN, END = "<!-- results of make bench PEERS=1 -->", "<!-- end of the results -->"


def publish(run: Run, readme: Path = README, plot: Path = PLOT) -> None:
    """Raises ClickException where the README has no place for them."""
    text = readme.read_text(encoding="utf-8")
    new = f"![The numbers below as bars]({plot.relative_to(readme.parent)})\n\n{markdown(run)}"
    readme.write_text(between(text, new), encoding="utf-8")
    plot.write_text(svg(run), encoding="utf-8")


def between(text: str, new: str) -> str:
    """The text with what stands between the markers replaced."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise click.ClickException(f"the README lacks `{BEGIN}` or `{END}` after it")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"
