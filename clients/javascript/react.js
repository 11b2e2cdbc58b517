// @headrace/client/react: a stream as the state of a component.
import { useMemo, useSyncExternalStore } from "react";
import { nothing } from "./folding.js";
import { BEGUN } from "./transport/connection.js";

/** A person sees no more changes than this. */
const FRAME_MS = 16;

/**
 * How a stream stands: the answer as far as it was read, and
 * @typedef {object} Standing
 * @property {string | null} id Of the stream; `null`: nothing was asked yet.
 * @property {boolean} running Whether more is waited for.
 * @property {import("./transport/connection.js").Connection} connection
 * @property {unknown} error Why it cannot be read any more, mostly a `HeadraceError`; how the answer itself ended says `ending`.
 * @property {import("./measuring.js").Stats | null} stats
 */

/**
 * What a component may do with it.
 * @typedef {object} Doing
 * @property {(prompt: string | import("./client.js").Message[], options?: import("./client.js").StreamOptions) => string} ask
 *   Asks, and gives the id of the stream. With the `streamId` that is followed already it does nothing: so an effect that
 *   React runs twice asks once.
 * @property {(streamId: string, options?: import("./client.js").ResumeOptions) => void} resume Follows a stream that is there.
 * @property {() => Promise<void>} cancel Stops it for everybody, up to the upstream.
 * @property {() => void} detach Leaves it; it goes on.
 * @property {() => void} hurry Tries again at once, where it waits before the next attempt.
 */

/** @typedef {import("./folding.js").Final & Standing & Doing} Followed */

/**
 * A stream as the state of a component. It is left when the component goes, and gone on with when it comes back.
 * @param {import("./client.js").Client} client Made once, outside of components.
 * @returns {Followed}
 */
export function useStream(client) {
  const follower = useMemo(() => new Follower(client), [client]);
  const state = useSyncExternalStore(follower.subscribe, follower.snapshot, follower.snapshot);
  return useMemo(() => ({ ...state, ...follower.doing }), [state, follower]);
}

/** Follows one stream after the other for a component, outside of its renders. */
class Follower {
  /** @type {Set<() => void>} */
  #listeners = new Set();
  /** @type {import("./stream.js").Stream | null} */
  #stream = null;
  /** The reading that counts: of several that overlap only the last one does. @type {object | null} */
  #reading = null;
  /** @type {unknown} */
  #error = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #leaving;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #publishing;
  /** @type {import("./folding.js").Final & Standing} */
  #state = { ...nothing(), id: null, running: false, connection: BEGUN, error: null, stats: null };

  /** @param {import("./client.js").Client} client */
  constructor(client) {
    /** @type {Doing} */
    this.doing = {
      ask: (prompt, options = {}) => {
        const { streamId } = options;
        if (streamId !== undefined && streamId === this.#stream?.id) return streamId;
        return this.#begin(client.stream(prompt, options));
      },
      resume: (streamId, options) => {
        if (streamId !== this.#stream?.id) this.#begin(client.resume(streamId, options));
      },
      cancel: async () => this.#stream?.cancel(),
      detach: () => this.#stream?.detach(),
      hurry: () => this.#stream?.hurry(),
    };
  }

  snapshot = () => this.#state;

  /** @param {() => void} listener */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    clearTimeout(this.#leaving);
    if (this.#stream !== null && this.#reading === null && this.#stream.ending === null && this.#error === null) {
      this.#follow(this.#stream);
    }
    return () => {
      this.#listeners.delete(listener);
      // Not at once: in its strict mode React lets go of everything and takes it up again in the same moment.
      if (!this.#listeners.size) this.#leaving = setTimeout(() => this.#stream?.detach(), 0);
    };
  };

  /** @param {import("./stream.js").Stream} stream */
  #begin(stream) {
    this.#stream?.detach();
    this.#stream = stream;
    this.#error = null;
    this.#follow(stream);
    return stream.id;
  }

  /** @param {import("./stream.js").Stream} stream */
  async #follow(stream) {
    const reading = (this.#reading = {});
    const counts = () => this.#reading === reading;
    stream.onconnection = () => counts() && this.#publish();
    this.#publish();
    try {
      for await (const events of stream) if (events.length && counts()) this.#publishSoon();
    } catch (error) {
      if (counts()) this.#error = error;
    }
    if (!counts()) return;
    this.#reading = null;
    this.#publish();
  }

  #publishSoon() {
    this.#publishing ??= setTimeout(() => this.#publish(), FRAME_MS);
  }

  #publish() {
    clearTimeout(this.#publishing);
    this.#publishing = undefined;
    const stream = /** @type {import("./stream.js").Stream} */ (this.#stream);
    this.#state = {
      ...stream.final,
      id: stream.id,
      running: this.#reading !== null,
      connection: stream.connection,
      error: this.#error,
      stats: stream.stats,
    };
    for (const listener of this.#listeners) listener();
  }
}
