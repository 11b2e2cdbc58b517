// The frames of a typed stream, out of the bytes of a response.
import { HeadraceError } from "./errors.js";
import { createParser } from "../vendor/eventsource-parser/index.js";

/**
 * @typedef {{ type: string, [field: string]: any }} Frame As docs/reference/events.md lists them.
 * @typedef {{ offset: number, frames: Frame[] }} Numbered All frames of one event, and the event's offset.
 */

/**
 * The events of a response. An event's frames are given together, when the last of them is there, which carries the
 * offset: a connection that is cut between two of them loses both, and none is given twice.
 * @param {ReadableStream<Uint8Array>} body
 * @param {number} after The offset of the last event that is known already; what comes again is dropped.
 * @param {() => void} heard Called whenever there is a sign of life, heartbeats among them.
 * @returns {AsyncGenerator<Numbered[], void, undefined>} What came in one read.
 */
export async function* eventsOf(body, after, heard) {
  /** @type {Numbered[]} */
  let ready = [];
  /** @type {Frame[]} */
  let held = [];
  const parser = createParser({
    onEvent({ id, data }) {
      if (data !== "[DONE]") held.push(frameOf(data));
      if (id === undefined) return;
      if (Number(id) > after) ready.push({ offset: Number(id), frames: held });
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

/** @param {string} data @returns {Frame} */
function frameOf(data) {
  try {
    return JSON.parse(data);
  } catch (cause) {
    const what = "what came is no typed event: is that a headrace server?";
    throw new HeadraceError(what, { code: "upstream_malformed", retryable: false, cause });
  }
}
