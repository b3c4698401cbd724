/** Server-sent events from the response to a POST, which EventSource cannot send. */

/**
 * The parser of WHATWG HTML, section 9.2.6, for texts that arrive in pieces cut anywhere.
 * Comments and fields other than `event` and `data` are ignored.
 */
export class EventParser {
  #rest = "";
  #name = "";
  #data = [];
  #afterReturn = false;

  /** The events that are complete with this piece: `{name, data}`, the data as text. */
  feed(piece) {
    if (!piece) return [];
    // A two-character line end may be cut in the middle: then its second character ends no line.
    if (this.#afterReturn && piece.startsWith("\n")) piece = piece.slice(1);
    this.#afterReturn = piece.endsWith("\r");
    const lines = (this.#rest + piece).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#line(line)).filter(Boolean);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#name = value;
    else if (field === "data") this.#data.push(value);
    return null;
  }

  #dispatch() {
    const event = { name: this.#name || "message", data: this.#data.join("\n") };
    const complete = this.#data.length > 0;
    this.#name = "";
    this.#data = [];
    return complete ? event : null;
  }
}

/**
 * The events of a response as they come, their data read as JSON.
 * body: the stream of a fetch. It is cancelled when the loop is left early.
 */
export async function* events(body) {
  const parser = new EventParser();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const { name, data } of parser.feed(value)) yield { name, data: JSON.parse(data) };
    }
  } finally {
    // After an error there is nothing left to cancel, and cancelling would throw again.
    await reader.cancel().catch(() => {});
  }
}
