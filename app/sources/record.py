"""What is known of each source: written by `pull`, read by the status of the servers.

The records lie in the models folder, in a hidden folder that the registry passes over, because the
two may share nothing else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

log = logging.getLogger(__name__)

PULLS = ".pulls"
RECORD_FILE = "record.json"
# Larger files, and more records, are not ours.
MAX_BYTES = 1_000_000
MAX_RECORDS = 1000

Text = Annotated[str, Field(max_length=1000)]
Moment = Annotated[float, Field(ge=0, le=1e11)]


class PullRecord(BaseModel):
    """The state of one source.

    source: its address, without what is secret. checked_at: when it was last asked, in seconds
    since 1970. every_s: seconds until the next time; None unless it is asked regularly. problem:
    why it failed last. tag: of a single file, what the source calls this content. versions: the
    folders that came from it, each with what identifies its content. shared: the same for the files
    beside numbered folders.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    name: Text
    source: Text = ""
    checked_at: Moment = 0.0
    every_s: Moment | None = None
    problem: Text | None = None
    tag: Text = ""
    versions: dict[Text, Text] = {}
    shared: Text = ""
    shared_files: list[Text] = []

    def trouble(self, now: float) -> str | None:
        """Return what is wrong with the source, or that it was not asked for a long time; None if
        all is well."""
        if self.problem is not None:
            return self.problem
        late = self.every_s is not None and now - self.checked_at > 3 * self.every_s + 60
        if not late:
            return None
        minutes = (now - self.checked_at) / 60
        return f"not asked for {minutes:.0f} minutes: does models-sync run?"


def read_record(folder: Path) -> PullRecord | None:
    """Return the record in the folder of one source; None if there is none, or it is damaged."""
    try:
        with (folder / RECORD_FILE).open("rb") as file:
            return PullRecord.model_validate_json(file.read(MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("%s is ignored: %s", folder / RECORD_FILE, str(error).partition("\n")[0])
        return None


def write_record(folder: Path, record: PullRecord) -> None:
    """Replace the record, atomically. Raises OSError."""
    new = folder / f"{RECORD_FILE}.new"
    new.write_text(record.model_dump_json(), encoding="utf-8")
    new.replace(folder / RECORD_FILE)


def read_records(models: Path) -> list[PullRecord]:
    """Return the records of all sources of a models folder, by name. Never raises OSError."""
    return list(_read_records(models))


def _read_records(models: Path) -> Iterator[PullRecord]:
    try:
        folders = sorted((models / PULLS).iterdir())[:MAX_RECORDS]
    except OSError:
        return
    for folder in folders:
        if (record := read_record(folder)) is not None:
            yield record


def troubles(models: Path) -> dict[str, str]:
    """Return what is wrong with the sources of a models folder, by the name of the model."""
    now = time.time()
    found = {record.name: record.trouble(now) for record in read_records(models)}
    return {name: trouble for name, trouble in found.items() if trouble is not None}
