"""Every command of the documentation is run, one after the other, as a reader would."""

from __future__ import annotations

import json

import pytest

from tests.docs.blocks import DOCUMENTS, Block, Command, blocks, blocks_of, commands, split
from tests.docs.places import ENDLESS, INSTEAD, NOWHERE, place_of
from tests.docs.reader import CURL_GOT_AN_ERROR, Reader
from tests.docs.shape import differences

COMMANDS = commands()
# `make run` is the server that all others ask.
ASKED = [c for c in COMMANDS if place_of(c.text) == "server" and c.text not in ENDLESS]


@pytest.mark.parametrize("command", ASKED, ids=str)
def test_a_command_does_what_it_says(reader: Reader, command: Command) -> None:
    done = reader.run(command.text)
    shown = json.loads(command.answer.text) if command.answer else {}
    expected = CURL_GOT_AN_ERROR if "error" in shown and is_last(command) else 0
    assert done.returncode == expected, f"{command}\n{done.stdout}\n{done.stderr}"
    if command.answer and is_last(command):
        assert differences(shown, json.loads(done.stdout)) == [], done.stdout


def is_last(command: Command) -> bool:
    """Whether the answer behind its block is this command's: it is the last one's."""
    return split(command.block.text)[-1] == command.text


@pytest.mark.parametrize("command", [c for c in INSTEAD if place_of(INSTEAD[c][0]) == "server"])
def test_what_is_run_instead(reader: Reader, command: str) -> None:
    done = reader.run(INSTEAD[command][0])
    assert done.returncode == 0, done.stderr


def test_the_exceptions_are_in_the_documents() -> None:
    """An exception whose command is gone goes as well."""
    texts = {command.text for command in COMMANDS}
    assert (NOWHERE.keys() | INSTEAD.keys() | ENDLESS) - texts == set()


def test_blocks_are_of_known_languages() -> None:
    """A block of commands that is called otherwise would not be tried."""
    everything = {block.language for document in DOCUMENTS for block in blocks(document)}
    assert everything <= {"sh", "json", "python", "yaml", "mermaid", ""}


@pytest.mark.parametrize("block", blocks_of("json"), ids=str)
def test_json_can_be_read(block: Block) -> None:
    json.loads(block.text)


SCRIPTS = {block.document: "" for block in blocks_of("python")}
for block in blocks_of("python"):
    SCRIPTS[block.document] += block.text


@pytest.mark.parametrize("document", SCRIPTS)
def test_python_runs(reader: Reader, document: str) -> None:
    """The blocks of a document are one script: what one says, the next ones know."""
    done = reader.python(SCRIPTS[document])
    assert done.returncode == 0, done.stdout + done.stderr
