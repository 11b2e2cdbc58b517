// One stream as a program reads it: its events or its text one by one, folded and measured on the way.
import { FINISHED } from "./events.js";
import { folded, nothing } from "./folding.js";
import { Measuring } from "./measuring.js";
import { HeadraceError } from "./transport/errors.js";
import { Stream as Carried } from "./transport/stream.js";

const TOO_LATE = "the next events are no longer kept one by one: resume the stream from its beginning";

/** @typedef {import("./events.js").StreamEvent} StreamEvent */
/** @typedef {{ offset: number, frames: StreamEvent[] }} Numbered One event of the stream as the server tells it. */

/** The stream ended, and not well: it was cancelled by somebody else, broke off, or failed. `ending` says which. */
export class StreamFailed extends HeadraceError {
  /**
   * @param {import("./events.js").Ending} ending
   * @param {import("./folding.js").Failure | null} failure
   */
  constructor(ending, failure) {
    super(failure?.message ?? `the stream ended as ${ending}`, {
      code: failure?.code ?? "stream_failed",
      retryable: ending !== "cancelled" && failure?.code !== "total_timeout",
    });
    this.name = "StreamFailed";
    this.ending = ending;
  }
}

/**
 * One reader of one stream. Nothing is asked before it is read. Leaving a loop leaves the stream, which goes on, and
 * another loop goes on behind the last event that was given.
 *
 * Iterating over the stream itself gives what came in one read, for who draws it, and leaves it to them to look at
 * `ending`; `events` and `text` give pieces one by one, and throw where the answer is no whole one.
 */
export class Stream extends Carried {
  #final = nothing();
  #measuring = new Measuring();
  /** @type {AbortSignal | undefined} */
  #signal;
  /** Whether all that was said before is known here. */
  #fromTheBeginning;
  /** How much of a `so_far` was given before. */
  #known = 0;

  /**
   * @param {import("./client.js").Client} client
   * @param {import("./transport/stream.js").About} about
   * @param {AbortSignal | undefined} signal Leaves the stream.
   */
  constructor(client, about, signal) {
    super(client, about);
    this.#signal = signal;
    this.#fromTheBeginning = (about.after ?? -1) < 0;
  }

  /** The answer as far as it was read. */
  get final() {
    return this.#final;
  }

  /** How quickly it comes, as this reader sees it. */
  get stats() {
    return this.#measuring.stats(performance.now(), this.resumed);
  }

  /** The events one by one. @returns {AsyncGenerator<StreamEvent, void, undefined>} */
  get events() {
    return this.#events();
  }

  /** The pieces of the answer's text, as they come. @returns {AsyncGenerator<string, void, undefined>} */
  get text() {
    return this.#text();
  }

  /** Leaves it. It goes on; who reads again goes on behind the last event that was given. */
  detach() {
    this.leave();
  }

  /** Stops it for everybody, up to the upstream. What was said stays, and can still be read to its end. @override */
  async cancel() {
    try {
      await super.cancel();
    } catch (error) {
      throw this.#explained(error);
    }
  }

  /** What came in one read. @override @returns {AsyncGenerator<Numbered[], void, undefined>} */
  async *[Symbol.asyncIterator]() {
    for await (const { batch, now } of this.#read()) {
      for (const { frames } of batch) for (const frame of frames) this.#take(frame, now);
      yield batch;
    }
  }

  /** @returns {AsyncGenerator<StreamEvent, void, undefined>} */
  async *#events() {
    let given = this.offset;
    for await (const { batch, now } of this.#read()) {
      const { offset: last, ending } = this;
      // Of what was read at once only what was given counts: a reader may leave in between, and come back.
      this._standAt(given, null);
      for (const { offset, frames } of batch) {
        for (const frame of frames) this.#take(frame, now);
        this._standAt(offset, offset === last ? ending : null);
        yield* frames;
      }
      given = last;
    }
    const ours = this.ending === "cancelled" && this._cancelledHere;
    if (this.ending === null || FINISHED.has(this.ending) || ours) return;
    throw this.#explained(new StreamFailed(/** @type {import("./events.js").Ending} */ (this.ending), this.#final.failure));
  }

  /** @returns {AsyncGenerator<string, void, undefined>} */
  async *#text() {
    for await (const event of this.#events()) {
      if (event.type === "token") yield event.content;
      else if (event.type === "so_far" && event.content.length > this.#known) yield event.content.slice(this.#known);
    }
  }

  /** What the transport carries, one read after the other, until the stream has ended or is left. */
  async *#read() {
    this.#signal?.throwIfAborted();
    const leave = () => this.leave();
    this.#signal?.addEventListener("abort", leave);
    this.#measuring.begin(performance.now());
    try {
      for await (const batch of super[Symbol.asyncIterator]()) {
        yield { batch: /** @type {Numbered[]} */ (batch), now: performance.now() };
      }
      this.#signal?.throwIfAborted();
    } catch (error) {
      throw this.#explained(error);
    } finally {
      this.#measuring.finish(performance.now());
      this.#signal?.removeEventListener("abort", leave);
    }
  }

  /** @param {StreamEvent} event @param {number} now */
  #take(event, now) {
    if (event.type === "so_far") {
      if (!this.#fromTheBeginning) throw this.#explained(new HeadraceError(TOO_LATE, { code: "below_horizon", status: 410 }));
      this.#known = this.#final.text.length;
    }
    this.#final = folded(this.#final, event);
    this.#measuring.feed(event, now);
  }

  /** The error, with what is known of the stream. @param {unknown} error */
  #explained(error) {
    if (error instanceof HeadraceError) {
      const { text, reasoning, toolCalls } = this.#final;
      error.streamId = this.id;
      error.partial = text;
      error.afterFirstToken = Boolean(text || reasoning || toolCalls.length);
    }
    return error;
  }
}
