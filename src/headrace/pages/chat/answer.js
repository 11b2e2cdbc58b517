// One answer as the page knows it: what its streams have said so far, and how it stands.
import { batch, signal } from "@preact/signals";
import { HeadraceError } from "../client/errors.js";
import { Branches } from "./branches.js";

const CUT = new Set(["length", "incomplete", "interrupted"]);

/** @typedef {import("../client/frames.js").Frame} Frame */
/** @typedef {{ stream: string, model: string, metadata: Frame, moves: Frame[] }} Told What one stream told of itself. */

/** An answer. It consists of several streams where one was cut off and gone on with. */
export class Answer {
  /** @param {import("../client/client.js").Client} client */
  constructor(client) {
    this._client = client;
    /** The streams it consists of, in order, as far as the server knows them: one that it refused is none. @type {string[]} */
    this.streams = [];
    /** What it answers. @type {import("./branches.js").Turn | null} */
    this.turn = null;
    /** The questions that follow it. */
    this.next = new Branches();
    this.text = "";
    this.rationale = "";
    /** Called when there is more to draw. @type {Set<() => void>} */
    this.listeners = new Set();
    /** @type {import("@preact/signals").Signal<null | string>} */
    this.ending = signal(null);
    /** Whether it was being made when this page began to read it. */
    this.live = signal(false);
    /** @type {import("@preact/signals").Signal<any[]>} */
    this.sources = signal([]);
    /** @type {import("@preact/signals").Signal<(Frame & { since: number }) | null>} */
    this.phase = signal(null);
    /** @type {import("@preact/signals").Signal<null | { message: string, code: string | null }>} */
    this.error = signal(null);
    /** What each of its streams told of itself, as far as they have ended. @type {import("@preact/signals").Signal<Told[]>} */
    this.told = signal([]);
    /** @type {import("@preact/signals").Signal<null | (import("../client/connection.js").Connection & { since: number })>} */
    this.connection = signal(null);
    /** Whether there is any text, any rationale: what decides what is shown at all. */
    this.speaks = signal(false);
    this.thinks = signal(false);
    /** When the thinking began; `null` where nobody was there to measure it, or it is over. @type {import("@preact/signals").Signal<number | null>} */
    this.thinkingSince = signal(null);
    /** @type {import("@preact/signals").Signal<number | null>} */
    this.thoughtSeconds = signal(null);
    this.stoppedElsewhere = signal(false);
    /** How many read it, this page among them, as the server last said. */
    this.readers = signal(0);
    /** Known to belong to it, and not read yet. @type {{ stream: import("../client/stream.js").Stream, live: boolean }[]} */
    this._unread = [];
    /** @type {Promise<void> | null} */
    this._reading = null;
    /** @type {import("../client/stream.js").Stream | null} */
    this._stream = null;
    this._stopping = false;
    /** Whether the server has not heard of it yet. */
    this._stopOwed = false;
    this._before = "";
    this._model = "";
    /** @type {Frame[]} */
    this._moves = [];
  }

  get running() {
    return this.live.value && this.ending.value === null;
  }

  /** Whether the ending says that the answer was cut off. */
  get cut() {
    return CUT.has(this.ending.value ?? "");
  }

  /**
   * Another stream of it: the answer, or its continuation. It is read when the answer is opened.
   * @param {import("../client/stream.js").Stream} stream
   * @param {{ live: boolean, known: boolean }} about `live`: it is being made now; `known`: the server has it for sure.
   */
  add(stream, { live, known }) {
    if (known) this.streams.push(stream.id);
    this._unread.push({ stream, live });
    if (live) {
      batch(() => {
        this.live.value = true;
        this.ending.value = null;
        this.error.value = null;
      });
    }
    if (this._reading !== null) this.open();
  }

  /** Reads what was not read yet; nothing is read of an answer that nobody looks at. */
  open() {
    this._reading = (this._reading ?? Promise.resolve()).then(async () => {
      for (let next = this._unread.shift(); next; next = this._unread.shift()) await this._follow(next.stream, next.live);
    });
  }

  /** Stops it for everybody, up to the upstream; while the server is away, as soon as it is back. What was said stays. */
  async stop() {
    if (this._stream === null) return;
    this._stopping = true;
    this._stopOwed = true;
    await this._stream.cancel();
    this._stopOwed = false;
  }

  /** Leaves it; it goes on. */
  leave() {
    this._stream?.leave();
  }

  hurry() {
    this._stream?.hurry();
  }

  /** @param {import("../client/stream.js").Stream} stream @param {boolean} live */
  async _follow(stream, live) {
    this._stream = stream;
    this._before = this.text;
    this._moves = [];
    batch(() => {
      this.live.value = live;
      this.ending.value = null;
      this.error.value = null;
      this.phase.value = null;
      this.connection.value = live ? { ...stream.connection, since: Date.now() } : null;
    });
    stream.onconnection = (state) => {
      if (live) this.connection.value = { ...state, since: Date.now() };
      if (state.name === "live" && this._stopOwed) this.stop().catch(() => {}); // cut off again: owed until the next time
    };
    try {
      for await (const events of stream) {
        batch(() => {
          for (const { frames } of events) for (const frame of frames) this._hear(frame);
        });
        this._changed();
      }
    } catch (error) {
      if (!(error instanceof HeadraceError)) throw error;
      batch(() => {
        this.error.value = { message: error.message, code: error.code };
        this.ending.value = "error";
      });
    }
    this._stream = null;
    this._stopping = this._stopOwed = false;
    this._changed();
  }

  _changed() {
    for (const listener of this.listeners) listener();
  }

  /** @param {Frame} frame */
  _hear(frame) {
    switch (frame.type) {
      case "start":
        this._model = frame.model;
        if (!this.streams.includes(frame.stream_id)) this.streams.push(frame.stream_id);
        break;
      case "status":
        this.phase.value = /** @type {Frame & { since: number }} */ ({ ...frame, since: performance.now() });
        if (frame.from || frame.to || frame.phase === "trimmed") this._moves.push(frame);
        break;
      case "sources":
        this.sources.value = [...this.sources.value, ...frame.sources];
        break;
      case "rationale":
        if (!this.thinks.value) {
          this.thinks.value = true;
          if (this.live.value) this.thinkingSince.value = performance.now();
        }
        this.phase.value = null;
        this.rationale += frame.content;
        break;
      case "token":
        this._speak();
        this.text += frame.content;
        break;
      case "so_far":
        this._speak();
        this.text = this._before + frame.content;
        break;
      case "done":
        if (frame.content) this._speak();
        this.text = this._before + frame.content;
        this.ending.value = frame.finish_reason;
        break;
      case "metadata":
        this.told.value = [
          ...this.told.value,
          { stream: /** @type {any} */ (this._stream).id, model: this._model, metadata: frame, moves: this._moves },
        ];
        break;
      case "error":
        this.ending.value = frame.ending ?? "error";
        this.stoppedElsewhere.value = this.live.value && frame.ending === "cancelled" && !this._stopping;
        if (this.ending.value !== "cancelled") this.error.value = { message: frame.content, code: frame.code };
        break;
    }
    if (this.ending.value !== null) this._settle();
  }

  _speak() {
    this.phase.value = null;
    if (this.speaks.value && this.thinkingSince.value === null) return;
    this.speaks.value = true;
    this._settle();
  }

  /** No phase is going on any more. */
  _settle() {
    this.phase.value = null;
    if (this.thinkingSince.value === null) return;
    this.thoughtSeconds.value = Math.max(1, Math.round((performance.now() - this.thinkingSince.value) / 1000));
    this.thinkingSince.value = null;
  }
}
