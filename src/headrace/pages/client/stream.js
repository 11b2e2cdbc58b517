// One stream as a program reads it: asked for or joined, resumed by itself after every cut, left or cancelled.
import { BEGUN, delayOf, next } from "./connection.js";
import { HeadraceError, errorOf } from "./errors.js";
import { eventsOf } from "./frames.js";

/** A connection without so many heartbeats is dead, whatever the operating system thinks of it. */
const HEARTBEATS_MISSED = 3;
/** The server looks after heartbeats once a second, however many of them are asked for. */
const LEAST_SILENCE_SECONDS = 2;

/** How often a cancel is sent that finds nobody, or no stream yet, and how long is waited between. */
const CANCEL_ATTEMPTS = 5;
const CANCEL_AGAIN_SECONDS = 0.1;

/**
 * What a stream is.
 * @typedef {object} About
 * @property {string} id
 * @property {boolean} [unique] Whether nobody else can have its id.
 * @property {number} [after] The offset of the last event that is known already.
 * @property {Record<string, unknown> | null} [question] The body that asks for the stream, where it is not there yet.
 * @property {string} [assistant] Who is asked.
 * @property {Record<string, string>} [headers] Of the request that asks.
 */

/** One reader of one stream. Iterate it for its frames; leaving the loop leaves the stream, and never cancels it. */
export class Stream {
  #client;
  #unique;
  #question;
  #assistant;
  #headers;
  #left = new AbortController();
  #wake = () => {};
  /** Whether the question was sent. */
  #asked;
  /** Whether anybody ever answered. */
  #answered = false;
  /** Whether it ended while nobody here was connected. @type {Promise<boolean> | false} */
  #endedMeanwhile = false;
  /** Attempts since the last new event. */
  #inVain = 0;
  /** Since when there is no contact. @type {number | null} */
  #awaySince = null;

  /**
   * @param {import("./client.js").Client} client
   * @param {About} about
   */
  constructor(client, { id, unique = false, after = -1, question = null, assistant = "basic", headers = {} }) {
    this.id = id;
    /** The offset of the last event that was given. */
    this.offset = after;
    /** Why it ended, once it has. @type {string | null} */
    this.ending = null;
    /** Called with each new state of the connection. @type {(state: import("./connection.js").Connection) => void} */
    this.onconnection = () => {};
    this.connection = BEGUN;
    /** How often the connection broke and was taken up again. */
    this.resumed = 0;
    /** Whether this reader stopped it. @protected */
    this._cancelledHere = false;
    this.#client = client;
    this.#unique = unique;
    this.#question = question;
    this.#assistant = assistant;
    this.#headers = headers;
    this.#asked = question === null;
  }

  /** Stops it for everybody, up to the upstream. What was said stays, and can still be read to its end. */
  async cancel() {
    this._cancelledHere = true;
    if (!this.#asked) {
      this.ending = "cancelled"; // before anybody asked: now nobody will
      return;
    }
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#client.cancel(this.id);
        return;
      } catch (error) {
        if (!(error instanceof HeadraceError) || attempt === CANCEL_ATTEMPTS) throw error;
        // Asked for on another connection, a moment ago: the question may still be on its way.
        const early = error.status === 404 && this.offset < 0 && this.#question !== null;
        if (!early && error.status !== null) throw error;
        await new Promise((resolve) => setTimeout(resolve, CANCEL_AGAIN_SECONDS * 1000));
      }
    }
  }

  /** The page's word for `detach`. It goes on; who iterates again goes on behind the last event that was given. @internal */
  leave() {
    this.#left.abort();
    this.#wake();
  }

  /** Tries again at once, where it waits before the next attempt. */
  hurry() {
    this.#wake();
  }

  /**
   * What came in one read: the frames, each event's offset beside them.
   * @returns {AsyncGenerator<import("./frames.js").Numbered[], void, undefined>}
   */
  async *[Symbol.asyncIterator]() {
    const left = (this.#left = new AbortController());
    if (this.connection.name !== "connecting") this.connection = BEGUN; // it was left, or given up, and is taken up again
    this.#inVain = 0;
    this.#awaySince = null;
    let resumed = false;
    while (!left.signal.aborted && this.ending === null) {
      /** @type {unknown} */
      let cause;
      try {
        for await (const events of this.#connected(left.signal, resumed)) {
          this.#note(events);
          yield events;
          if (this.ending !== null) break;
        }
        if (this.ending !== null) {
          const stoppedByOthers = this.ending === "cancelled" && !this._cancelledHere && !resumed;
          const elsewhere = stoppedByOthers || (await this.#endedMeanwhile);
          this.#become(elsewhere ? "ended_elsewhere" : "ended");
          return;
        }
      } catch (error) {
        if (left.signal.aborted) return;
        // It was asked for twice, and the first question did arrive: what it leads to is joined.
        const there = resumed && error instanceof HeadraceError && error.code === "stream_exists";
        if (error instanceof HeadraceError && !error.passing && !there) {
          this.#become("refused");
          throw error;
        }
        cause = error;
      }
      if (left.signal.aborted) return;
      resumed = true;
      const delay = this.#delay(cause);
      if (delay === null) {
        this.#become("refused");
        throw brokenBy(cause);
      }
      await this.#waitFor(delay);
    }
  }

  /**
   * One connection, from the next event on.
   * @param {AbortSignal} left
   * @param {boolean} resumed
   */
  async *#connected(left, resumed) {
    const connection = new AbortController();
    const leave = () => connection.abort();
    const silent = () => connection.abort(brokenBy("silence"));
    left.addEventListener("abort", leave);
    const silenceSeconds = Math.max(LEAST_SILENCE_SECONDS, HEARTBEATS_MISSED * this.#client.heartbeatSeconds);
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(silent, silenceSeconds * 1000);
    };
    try {
      heard();
      const response = await this.#open(connection.signal);
      if (!isOurs(response)) throw brokenBy("stranger");
      this.#awaySince = null;
      this.id = response.headers.get("headrace-stream") ?? this.id; // another's, where an Idempotency-Key was used before
      if (resumed) {
        this.resumed++;
        this.#endedMeanwhile = this.#hasEnded();
      }
      this.#become("opened");
      if (response.status === 204) await this.#readToTheEnd();
      else if (response.body !== null) yield* eventsOf(response.body, this.offset, heard);
    } catch (error) {
      if (!(error instanceof HeadraceError) || error.status !== 410 || !error.body?.horizon) throw error;
      // A very long stream let go of its first events, and says what they said.
      yield [{ offset: error.body.horizon - 1, frames: [{ type: "so_far", content: error.body.content }] }];
    } finally {
      clearTimeout(timer);
      left.removeEventListener("abort", leave);
      connection.abort();
    }
  }

  /**
   * Joins the stream where it was left; asks for it where it is not there yet.
   * @param {AbortSignal} signal
   */
  async #open(signal) {
    if (!this.#asked) return this.#ask(signal);
    const response = await this.#join(signal);
    if (response.ok) return response;
    const error = await errorOf(response);
    // The question never arrived. It is asked again under the same id, so that it cannot be asked twice.
    if (error.status === 404 && this.#question !== null && this.offset < 0) return this.#ask(signal);
    throw error;
  }

  /** @param {AbortSignal} signal */
  async #ask(signal) {
    this.#asked = true;
    const response = await this.#fetch(`/chat/${encodeURIComponent(this.#assistant)}`, {
      method: "POST",
      headers: {
        ...this.#wishes(),
        "Content-Type": "application/json",
        "Headrace-Stream": this.id,
        "Headrace-On-Disconnect": "continue",
        ...this.#headers,
      },
      body: JSON.stringify({ ...this.#question, stream: true }),
      signal,
    });
    if (response.ok) return response;
    const error = await errorOf(response);
    // A browser sends a question again by itself where its connection broke before a word came back: it did arrive.
    const joined = error.code === "stream_exists" && this.#unique ? await this.#join(signal) : null;
    if (joined?.ok) return joined;
    throw error;
  }

  /** @param {AbortSignal} signal */
  async #join(signal) {
    // Rather than `?after=`: who has read everything is told so (204), and never mistakes it for a cut.
    /** @type {Record<string, string>} */
    const known = this.offset < 0 ? {} : { "Last-Event-ID": String(this.offset) };
    const path = `/v1/streams/${encodeURIComponent(this.id)}/events`;
    return this.#fetch(path, { headers: { ...this.#wishes(), ...known }, signal });
  }

  /** What is asked for with every connection. */
  #wishes() {
    return { "Headrace-Event-Ids": "true", "Headrace-Heartbeat": String(this.#client.heartbeatSeconds) };
  }

  /** @param {string} path @param {RequestInit} options */
  async #fetch(path, options) {
    const response = await this.#client.fetch(path, options);
    this.#answered = true;
    return response;
  }

  /** */
  async #hasEnded() {
    try {
      return (await this.#client.show(this.id)).state === "ended";
    } catch {
      return false; // nothing that is read depends on it
    }
  }

  /** It has ended, and its last event was read before; only why is not known. */
  async #readToTheEnd() {
    this.ending = (await this.#client.show(this.id)).ending ?? "stop";
  }

  /** @param {import("./frames.js").Numbered[]} events */
  #note(events) {
    this.#inVain = 0;
    for (const { offset, frames } of events) {
      this.offset = offset;
      for (const frame of frames) {
        if (frame.type === "done") this.ending = frame.finish_reason;
        else if (frame.type === "error") this.ending = frame.ending ?? "error";
      }
    }
  }

  /** What counts as given, where less than was read. @param {number} offset @param {string | null} ending @protected */
  _standAt(offset, ending) {
    this.offset = offset;
    this.ending = ending;
  }

  /** @param {import("./connection.js").Happened} happened @param {number} seconds */
  #become(happened, seconds = 0) {
    this.connection = next(this.connection, happened, seconds);
    this.onconnection(this.connection);
  }

  /** How long to wait before the next attempt; `null`: it is given up. @param {unknown} cause */
  #delay(cause) {
    const now = performance.now();
    this.#awaySince ??= now;
    const away = {
      inVain: ++this.#inVain,
      seconds: (now - this.#awaySince) / 1000,
      answered: this.#answered,
      retryAfterSeconds: (cause instanceof HeadraceError && cause.retryAfterSeconds) || 0,
    };
    return delayOf(this.#client.resuming, away, this.connection.attempt, Math.random());
  }

  /** @param {number} seconds */
  async #waitFor(seconds) {
    this.#become(globalThis.navigator?.onLine === false ? "cut_offline" : "cut", seconds);
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(undefined);
      };
    });
    this.#wake = () => {};
    this.#become("again");
  }
}

/** Whether an answer is a stream, or says that there is no more of it. @param {Response} response */
function isOurs(response) {
  return response.status === 204 || (response.headers.get("content-type") ?? "").startsWith("text/event-stream");
}

/** Why a connection broke, as an error of ours. @param {unknown} cause `undefined`: it ended, and the stream had not. */
function brokenBy(cause) {
  if (cause instanceof HeadraceError) return cause;
  if (cause === "stranger") {
    const what = "what answers there is no headrace server";
    return new HeadraceError(what, { code: "upstream_malformed", retryable: false });
  }
  if (cause === undefined) {
    return new HeadraceError("the server stopped in the middle of its answer", { code: "upstream_truncated" });
  }
  const what = cause === "silence" ? "the server has fallen silent: not even a heartbeat came" : "the connection broke";
  return new HeadraceError(what, { code: "upstream_reset", cause });
}
