// One stream as a program reads it: asked for or joined, resumed by itself after every cut, left or cancelled.
import { BEGUN, backOff, next } from "./connection.js";
import { HeadraceError, errorOf } from "./errors.js";
import { eventsOf } from "./frames.js";

const HEARTBEAT_SECONDS = 5;
/** A connection that says nothing for this long is dead, whatever the operating system thinks of it. */
const SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS;

const HEADERS = { "Headrace-Event-Ids": "true", "Headrace-Heartbeat": String(HEARTBEAT_SECONDS) };

/** One reader of one stream. Iterate it for its frames; leaving the loop leaves the stream, and never cancels it. */
export class Stream {
  /**
   * @param {import("./client.js").Client} client
   * @param {{ id: string, unique?: boolean, after?: number, question?: Record<string, unknown> | null, assistant?: string }} about
   *   `question`: the body that asks for the stream, where it is not there yet; `unique`: nobody else can have its id.
   */
  constructor(client, { id, unique = false, after = -1, question = null, assistant = "basic" }) {
    this.id = id;
    /** The offset of the last event that was given. */
    this.offset = after;
    /** Why it ended, once it has. @type {string | null} */
    this.ending = null;
    /** Called with each new state of the connection. @type {(state: import("./connection.js").Connection) => void} */
    this.onconnection = () => {};
    this.connection = BEGUN;
    this._client = client;
    this._question = question;
    this._assistant = assistant;
    this._unique = unique;
    this._left = new AbortController();
    this._cancelledHere = false;
    this._wake = () => {};
  }

  /** Stops it for everybody, up to the upstream. */
  async cancel() {
    this._cancelledHere = true;
    await this._client.cancel(this.id);
  }

  /** Leaves it. It goes on. */
  leave() {
    this._left.abort();
    this._wake();
  }

  /** Tries again at once, where it waits before the next attempt. */
  hurry() {
    this._wake();
  }

  /** The frames, each event's offset beside them. @returns {AsyncGenerator<import("./frames.js").Numbered[]>} */
  async *[Symbol.asyncIterator]() {
    let resumed = false;
    while (!this._left.signal.aborted && this.ending === null) {
      let delay = null;
      try {
        const elsewhere = resumed && (await this._endedMeanwhile());
        for await (const events of this._connected()) {
          for (const event of events) this._note(event);
          yield events;
          if (this.ending !== null) break;
        }
        if (this.ending !== null) {
          const stoppedByOthers = this.ending === "cancelled" && !this._cancelledHere && !resumed;
          this._become(elsewhere || stoppedByOthers ? "ended_elsewhere" : "ended");
          return;
        }
      } catch (error) {
        if (this._left.signal.aborted) return;
        if (error instanceof HeadraceError && !error.passing) {
          this._become("refused");
          throw error;
        }
        delay = error instanceof HeadraceError ? error.retryAfterSeconds : null;
      }
      if (this._left.signal.aborted) return;
      resumed = true;
      await this._waitFor(delay ?? backOff(this.connection.attempt, Math.random()));
    }
  }

  /** One connection, from the next event on. */
  async *_connected() {
    const connection = new AbortController();
    const leave = () => connection.abort();
    this._left.signal.addEventListener("abort", leave);
    let timer = 0;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(leave, SILENCE_SECONDS * 1000);
    };
    try {
      heard();
      const response = await this._open(connection.signal);
      this._become("opened");
      yield* eventsOf(response.body, heard);
    } catch (error) {
      if (!(error instanceof HeadraceError) || error.status !== 410 || !error.body?.horizon) throw error;
      // A very long stream let go of its first events, and says what they said.
      yield [{ offset: error.body.horizon - 1, frames: [{ type: "so_far", content: error.body.content }] }];
    } finally {
      clearTimeout(timer);
      this._left.signal.removeEventListener("abort", leave);
      connection.abort();
    }
  }

  /** Joins the stream where it was left; asks for it where it is not there yet. */
  async _open(signal) {
    if (this._question !== null && this.offset < 0 && this.connection.attempt === 0) return this._ask(signal);
    const response = await this._join(signal);
    if (response.ok) return response;
    const error = await errorOf(response);
    // The question never arrived. It is asked again under the same id, so that it cannot be asked twice.
    if (error.status === 404 && this._question !== null && this.offset < 0) return this._ask(signal);
    throw error;
  }

  async _ask(signal) {
    const response = await this._client.fetch(`/chat/${encodeURIComponent(this._assistant)}`, {
      method: "POST",
      headers: {
        ...HEADERS,
        "Content-Type": "application/json",
        "Headrace-Stream": this.id,
        "Headrace-On-Disconnect": "continue",
      },
      body: JSON.stringify({ ...this._question, stream: true }),
      signal,
    });
    if (response.ok) return response;
    const error = await errorOf(response);
    // A browser sends a question again by itself where its connection broke before a word came back: it did arrive.
    const joined = error.code === "stream_exists" && this._unique ? await this._join(signal) : null;
    if (joined?.ok) return joined;
    throw error;
  }

  async _join(signal) {
    const path = `/v1/streams/${encodeURIComponent(this.id)}/events?after=${this.offset}`;
    return this._client.fetch(path, { headers: HEADERS, signal });
  }

  async _endedMeanwhile() {
    try {
      return (await this._client.show(this.id)).state === "ended";
    } catch (error) {
      if (error instanceof HeadraceError && error.status === 404 && this._question !== null) return false;
      throw error;
    }
  }

  _note({ offset, frames }) {
    this.offset = offset;
    for (const frame of frames) {
      if (frame.type === "done") this.ending = frame.finish_reason;
      else if (frame.type === "error") this.ending = frame.ending ?? "error";
    }
  }

  _become(happened, seconds = 0) {
    this.connection = next(this.connection, happened, seconds);
    this.onconnection(this.connection);
  }

  async _waitFor(seconds) {
    this._become(navigator.onLine === false ? "cut_offline" : "cut", seconds);
    await new Promise((resolve) => {
      this._wake = () => resolve(undefined);
      setTimeout(resolve, seconds * 1000);
    });
    this._wake = () => {};
    this._become("again");
  }
}
