"""The output of `profile`."""

from __future__ import annotations

import io
from typing import Any

import orjson
import yaml
from rich.console import Console

from app.cli.profiling.advice import Advice, advise
from app.cli.profiling.measurements import Difference, Memory, Profile, Stated
from app.cli.profiling.report import document, lines, table
from tests.unit.profiles import measured, profiled

RATES = {1: 100.0, 2: 180.0, 32: 1700.0, 128: 1701.0}
FASTER = {rows: 2 * rate for rows, rate in RATES.items()}
# Programs read these: add keys, but never rename or remove one.
KEYS = {
    "model",
    "version",
    "unit",
    "cores",
    "device",
    "inputs",
    "rounds",
    "seconds",
    "card",
    "precisions",
    "decoding",
    "difference",
    "problems",
    "runtime",
    "reasons",
}


def printed(profile: Profile, width: int = 80) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(table(profile))
    return out.getvalue().splitlines()


def text(profile: Profile, advice: Advice | None = None) -> str:
    return "\n".join(lines(profile, advice or advise(profile)))


def test_the_table_fits_a_terminal_and_has_a_line_a_size() -> None:
    shown = printed(profiled(RATES, FASTER))
    assert max(map(len, shown)) <= 80
    rows = [line.split() for line in shown if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "32", "128"]
    assert rows[2] == ["32", "1,700", "1,683–1,717", "18.8", "3,400", "3,366–3,434", "9.41"]
    assert "flowers, version 3" in shown[0]


def test_the_report_of_a_model_that_writes_texts() -> None:
    profile = profiled(RATES, FASTER, unit="words", rows=1)
    assert max(map(len, printed(profile))) <= 80
    assert any(line.split()[:2] == ["texts", "words/s"] for line in printed(profile))
    shown = text(profile)
    assert "Inputs: 1 text of the examples" in shown
    assert "(3 to 5) a text." in shown
    assert "0 of 2 examples have other most likely next words" in shown


def test_the_table_has_no_columns_of_what_was_not_measured() -> None:
    dead = measured("bfloat16", {}, problem="it ended")
    shown = printed(profiled(RATES, dead))
    assert "bfloat16" not in "".join(shown)
    few = measured("bfloat16", {1: 200.0}, stopped="too long")
    rows = [line.split() for line in printed(profiled(RATES, few)) if line.strip()[:1].isdigit()]
    assert [len(row) for row in rows] == [7, 4, 4, 4]


def test_the_lines_end_with_what_to_write() -> None:
    profile = profiled(RATES, FASTER)
    shown = text(profile)
    assert yaml.safe_load(shown.partition("Write into model.yaml:")[2]) == {
        "runtime": {"precision": "bfloat16"}
    }
    assert "on 4 cores" in shown
    assert "on NVIDIA L4 with 4 cores" in text(profiled(RATES, FASTER, device="NVIDIA L4"))
    assert "2 rows of the examples" in shown
    assert "4 ms (3 to 5) a row." in shown
    assert "500 MB before loading, 600 MB after it, 1.25 GB at most at 128" in shown
    assert "numbers differ by at most 0.004 (probability), 0 of 2 examples have other" in shown


def test_no_change_is_said() -> None:
    assert text(profiled(RATES, RATES)).endswith("No change to the card.")


def test_a_model_without_a_card_gets_one_first() -> None:
    profile = profiled(RATES, FASTER, stated=Stated(False, "float32", 32))
    assert "python -m app card FILE" in text(profile)


def test_what_is_not_known_is_not_shown() -> None:
    plain = measured("float32", RATES)
    plain.memory = Memory(None, None)
    shown = text(
        profiled(
            plain, RATES, source="made up", rows=1, decoding=None, difference=None, problems=["?!"]
        )
    )
    assert "made up" in shown
    assert "as a request" not in shown
    assert "Memory in float32: the system does not report it" in shown
    assert "bfloat16 against" not in shown
    assert "\n?!\n" in shown


def test_differences_in_words() -> None:
    for difference, says in (
        (Difference(1), "the answers are the same"),
        (Difference(1, labels=1, pixels=0.00012), "0.012% of the pixels differ"),
        (Difference(3, 0.5, labels=3, other_labels=1), "1 of 3 examples have other labels"),
    ):
        assert says in text(profiled(RATES, RATES, difference=difference))


def test_the_document_for_programs() -> None:
    profile = profiled(RATES, FASTER)
    found: dict[str, Any] = orjson.loads(orjson.dumps(document(profile, advise(profile))))
    assert found.keys() == KEYS
    assert found["inputs"] == {"source": "examples", "rows": 2}
    assert found["card"] == {"precision": "float32", "max_batch_size": 32}
    assert found["runtime"] == {"precision": "bfloat16"}
    assert len(found["reasons"]) == 2
    assert found["precisions"].keys() == {"float32", "bfloat16"}
    single = found["precisions"]["float32"]
    assert single.keys() == {"problem", "load_seconds", "memory", "stopped", "points"}
    assert single["points"][2] == {
        "size": 32,
        "per_second": 1700.0,
        "per_second_range": [1683.0, 1717.0],
        "milliseconds": 18.82,
        "milliseconds_range": [18.64, 19.01],
    }
    assert single["memory"] == {
        "before_bytes": 500_000_000,
        "loaded_bytes": 600_000_000,
        "largest_run_bytes": 1_250_000_000,
    }
    assert (single["problem"], single["stopped"], single["load_seconds"]) == (None, None, 2.5)
    assert found["decoding"] == {"milliseconds": 4.0, "milliseconds_range": [3.0, 5.0]}
    assert found["difference"] == {
        "examples": 2,
        "largest": 0.004,
        "largest_of": "probability",
        "examples_with_labels": 2,
        "examples_with_other_labels": 0,
        "pixels": None,
    }


def test_the_document_of_what_was_not_measured() -> None:
    dead = measured("bfloat16", {}, problem="it ended")
    dead.memory = Memory(None, None)
    profile = profiled(RATES, dead, decoding=None, difference=None)
    found = document(profile, advise(profile))
    assert found.keys() == KEYS
    assert found["decoding"] is found["difference"] is None
    none = found["precisions"]["bfloat16"]
    assert (none["problem"], none["points"], none["load_seconds"]) == ("it ended", [], None)
    assert set(none["memory"].values()) == {None}
