"""Server-sent events, as the browser reads them from the answer to a POST."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.support import ServerProcess

STREAM = (
    ": a comment\r\n\r\nevent: start\r\ndata: {\r\ndata: 1}\r\n\r\n"
    "event:word\ndata:é\U0001f600\n\nevent: lost\n\rdata: x\r\r"
    "data\nid: 7\nretry: 1\n\nevent: done\ndata: a: b\n\nevent: cut\ndata: off"
)
SEEN = [
    {"name": "start", "data": "{\n1}"},
    {"name": "word", "data": "é\U0001f600"},
    {"name": "message", "data": "x"},
    {"name": "message", "data": ""},
    {"name": "done", "data": "a: b"},
]


def test_events_are_read_wherever_they_are_cut(assorted: ServerProcess, page: Page) -> None:
    """In two pieces at each place, and in pieces of every length, as bytes and as text."""
    page.goto(assorted.url)
    read = """async (stream) => {
      const { EventParser } = await import("/static/js/events.js");
      const all = (pieces) => {
        const parser = new EventParser();
        return JSON.stringify(pieces.flatMap((piece) => parser.feed(piece)));
      };
      const seen = new Set();
      const bytes = new TextEncoder().encode(stream);
      for (let at = 0; at <= stream.length; at++) {
        seen.add(all([stream.slice(0, at), stream.slice(at)]));
      }
      for (let size = 1; size <= bytes.length; size++) {
        const decoder = new TextDecoder();
        const pieces = [];
        for (let at = 0; at < bytes.length; at += size) {
          pieces.push(decoder.decode(bytes.slice(at, at + size), { stream: true }));
        }
        seen.add(all(pieces));
      }
      return [...seen].map((each) => JSON.parse(each));
    }"""
    assert page.evaluate(read, STREAM) == [SEEN]
