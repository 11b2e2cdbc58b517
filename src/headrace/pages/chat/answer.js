// One answer as the page knows it: what its stream has said so far, and how it stands.
import { batch, signal } from "@preact/signals";
import { HeadraceError } from "../client/errors.js";

const CUT = new Set(["length", "incomplete", "interrupted"]);

/** An answer. It may consist of several streams, where one was cut off and continued. */
export class Answer {
  /** @param {import("../client/client.js").Client} client */
  constructor(client) {
    this._client = client;
    /** The streams it consists of, in order. @type {string[]} */
    this.streams = [];
    this.text = "";
    this.rationale = "";
    /** Called when there is more to draw. @type {Set<() => void>} */
    this.listeners = new Set();
    /** @type {import("@preact/signals").Signal<null | string>} */
    this.ending = signal(null);
    /** Whether it was being made when this page began to read it. */
    this.live = signal(false);
    this.sources = signal([]);
    this.phase = signal(null);
    this.error = signal(null);
    this.figures = signal(null);
    this.connection = signal(null);
    /** Whether there is any text, any rationale: what decides what is shown at all. */
    this.speaks = signal(false);
    this.thinks = signal(false);
    /** Milliseconds of thinking; `null` where nobody was there to measure it. */
    this.thinkingSince = signal(null);
    this.thoughtSeconds = signal(null);
    this.model = signal("");
    this.stoppedElsewhere = signal(false);
    this._stream = null;
    this._stopping = false;
  }

  get running() {
    return this.live.value && this.ending.value === null;
  }

  /** Whether the ending says that the answer was cut off. */
  get cut() {
    return CUT.has(this.ending.value);
  }

  /**
   * Reads a stream to its end, as the answer or as its continuation.
   * @param {import("../client/stream.js").Stream} stream
   * @param {{ live: boolean }} about `live`: it is being made while it is read.
   */
  async follow(stream, { live }) {
    this._stream = stream;
    this.streams.push(stream.id);
    this._before = this.text;
    batch(() => {
      this.live.value = live;
      this.ending.value = null;
      this.error.value = null;
      this.connection.value = live ? stream.connection : null;
    });
    stream.onconnection = (state) => {
      if (live) this.connection.value = { ...state, since: Date.now() };
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
        this.error.value = { message: error.message, code: error.code, status: error.status };
        this.ending.value = "error";
      });
    }
    this._stream = null;
    this._changed();
  }

  /** Stops it for everybody, up to the upstream. What was said stays. */
  async stop() {
    if (this._stream === null) return;
    this._stopping = true;
    await this._stream.cancel();
  }

  /** Leaves it; it goes on. */
  leave() {
    this._stream?.leave();
  }

  hurry() {
    this._stream?.hurry();
  }

  _changed() {
    for (const listener of this.listeners) listener();
  }

  _hear(frame) {
    switch (frame.type) {
      case "start":
        this.model.value = frame.model;
        break;
      case "status":
        this.phase.value = frame;
        break;
      case "sources":
        this.sources.value = [...this.sources.value, ...frame.sources];
        break;
      case "rationale":
        if (!this.thinks.value) {
          this.thinks.value = true;
          if (this.live.value) this.thinkingSince.value = performance.now();
        }
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
        this._speak();
        this.text = this._before + frame.content;
        this.ending.value = frame.finish_reason;
        break;
      case "metadata":
        this.figures.value = frame;
        break;
      case "error":
        this.ending.value = frame.ending ?? "error";
        this.stoppedElsewhere.value = this.live.value && frame.ending === "cancelled" && !this._stopping;
        if (this.ending.value !== "cancelled") this.error.value = { message: frame.content, code: frame.code };
        break;
    }
    if (this.ending.value !== null) this._settleThinking();
  }

  _speak() {
    if (this.speaks.value) return;
    this.speaks.value = true;
    this.phase.value = null;
    this._settleThinking();
  }

  _settleThinking() {
    if (this.thinkingSince.value === null) return;
    this.thoughtSeconds.value = Math.max(1, Math.round((performance.now() - this.thinkingSince.value) / 1000));
    this.thinkingSince.value = null;
  }
}
