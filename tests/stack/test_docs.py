"""The documented commands that concern the stack, run on it."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import Iterator

import pytest

from tests.docs.blocks import Command, commands
from tests.docs.folder import save_flowers
from tests.docs.places import ENDLESS, INSTEAD, place_of
from tests.docs.reader import Reader
from tests.stack.certificates import AUTHORITY, served_certificate, withdraw
from tests.stack.compose import Stack, eventually

# Some stand in several places: each is tried once.
OURS = list({c.text: c for c in commands() if place_of(c.text) == "stack"}.values())


@pytest.fixture(scope="module")
def reader(stack: Stack) -> Iterator[Reader]:
    """A reader in the folder that the stack was started from."""
    model = stack.folder / "models" / "flowers"
    model.mkdir()
    save_flowers(model / "flowers.keras")
    addresses = {"https://localhost/": f"{stack.url}/"}
    yield Reader(stack.folder, addresses, **stack.environ)
    shutil.rmtree(model)
    # Other tests know which models there are.
    eventually(lambda: "flowers" not in _served(stack))


def _served(stack: Stack) -> set[str]:
    """The models of all replicas."""
    with stack.client() as client:
        replicas = client.get("/api/status").json()["replicas"]
    return {model["name"] for replica in replicas for model in replica.get("models", [])}


@pytest.fixture
def certificate(stack: Stack) -> Iterator[bytes]:
    """One for this server, in the folder where the reader is. Returns it in DER."""
    issued = AUTHORITY.issue_cert("localhost")
    issued.private_key_pem.write_to_path(str(stack.folder / "privkey.pem"))
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (stack.folder / "fullchain.pem").write_bytes(chain)
    yield ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    withdraw(stack)


@pytest.mark.parametrize("command", [c for c in OURS if c.text not in ENDLESS], ids=str)
def test_a_command_does_what_it_says(
    reader: Reader, stack: Stack, certificate: bytes, command: Command
) -> None:
    if command.text.startswith("install -o") and os.geteuid():
        pytest.skip("only root gives files away")
    done = reader.run(command.text)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    if "fullchain.pem" in command.text:
        eventually(lambda: served_certificate(stack) == certificate)


@pytest.mark.parametrize("command", [c for c in OURS if c.text in ENDLESS], ids=str)
def test_a_command_runs_until_it_is_stopped(reader: Reader, command: Command) -> None:
    begun = reader.begin(command.text)
    try:
        begun.says("app-1")
    finally:
        begun.stop()


@pytest.mark.parametrize("command", [c for c in INSTEAD if place_of(INSTEAD[c][0]) == "stack"])
def test_what_is_run_instead(reader: Reader, command: str) -> None:
    done = reader.run(INSTEAD[command][0])
    assert done.returncode == 0, done.stderr
