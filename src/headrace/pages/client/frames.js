// The frames of a typed stream, out of the bytes of a response.
import { createParser } from "eventsource-parser";

/**
 * @typedef {{ type: string, [field: string]: any }} Frame As docs/reference/events.md lists them.
 * @typedef {{ offset: number, frames: Frame[] }} Numbered All frames of one event, and the event's offset.
 */

/**
 * The events of a response. An event's frames are given together, when the last of them is there, which carries the
 * offset: a connection that is cut between two of them loses both, and none is given twice.
 * @param {ReadableStream<Uint8Array>} body
 * @param {() => void} heard Called whenever there is a sign of life, heartbeats among them.
 * @returns {AsyncGenerator<Numbered[]>} What came in one read.
 */
export async function* eventsOf(body, heard) {
  /** @type {Numbered[]} */
  let ready = [];
  /** @type {Frame[]} */
  let held = [];
  const parser = createParser({
    onEvent({ id, data }) {
      if (data !== "[DONE]") held.push(JSON.parse(data));
      if (id === undefined) return;
      ready.push({ offset: Number(id), frames: held });
      held = [];
    },
  });
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      parser.feed(decoder.decode(value, { stream: true }));
      if (ready.length) {
        yield ready;
        ready = [];
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it is left; whether that still reaches anybody is all the same
  }
}
