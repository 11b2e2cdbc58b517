// The documents that a person adds: files on their way to the server, one request each, and those that are there.
import { computed, signal } from "@preact/signals";
import { HeadraceError, errorOf } from "../client/errors.js";
import { size } from "./amounts.js";
import { sendFile } from "./sending.js";
import { say } from "./words.js";

const PAGE = 100;
/** How many files are sent at once: one is indexed while the next are on their way. */
const AT_ONCE = 3;
/** A server that has too much to do is asked again so often. */
const ATTEMPTS = 6;
const MOST_WAITING_SECONDS = 30;

/** @typedef {{ id: string, name: string, size_bytes: number, passages: number, created_at: string }} Document */
/** @typedef {"indexed" | "replaced" | "unchanged"} Became */
/** @typedef {{ name: string, file: File }} Named A file with the name it shall have. */

/** One file on its way. */
export class Sending {
  /** @param {Named} named @param {number} batch Which of the times that files were added, one after the other's end, this is. */
  constructor({ name, file }, batch) {
    this.batch = batch;
    this.name = name;
    this.file = file;
    /** @type {import("@preact/signals").Signal<"waiting" | "sending" | "indexing" | "done" | "failed">} */
    this.state = signal("waiting");
    /** How much of it has been sent: 0 to 1. */
    this.share = signal(0);
    /** Why it was not indexed, in the server's words. */
    this.error = signal("");
    /** Whether the same file may be indexed at another time. */
    this.passing = false;
  }
}

/** Your documents. */
export class Documents {
  /**
   * @param {import("../client/client.js").Client} client
   * @param {(act: () => Promise<unknown>) => Promise<boolean>} attempt Does something; what the whole page should know of
   *   what went wrong (a key is needed, the server is away), it then knows.
   */
  constructor(client, attempt) {
    this._client = client;
    this._attempt = attempt;
    /** The latest first. @type {import("@preact/signals").Signal<Document[]>} */
    this.all = signal([]);
    this.read = signal(false);
    /** Whether there are older ones than those that were read. */
    this.more = signal(false);
    /** What became of those that were added since the page was opened, by id. @type {Map<string, Became>} */
    this.added = new Map();
    /** @type {import("@preact/signals").Signal<Sending[]>} */
    this.sendings = signal([]);
    /** The largest document that is taken, in bytes; 0: not known yet. */
    this._limit = 0;
    /** The name of the one that was deleted last. @type {import("@preact/signals").Signal<string | null>} */
    this.deleted = signal(null);
    /** Folders that were dropped and hold no document. @type {import("@preact/signals").Signal<string[]>} */
    this.empty = signal([]);
    this.underway = computed(() => this.sendings.value.filter(({ state }) => state.value !== "failed" && state.value !== "done"));
    this.failed = computed(() => this.sendings.value.filter(({ state }) => state.value === "failed"));
    /** The ids of those that were deleted. @type {Set<string>} */
    this._deleted = new Set();
    /** How many times files were added while none was on its way. */
    this.batch = 0;
    this._running = 0;
  }

  /** Reads the list anew. */
  async look() {
    await this._attempt(() => this._read(""));
  }

  /** Reads more of it. */
  async lookFurther() {
    const last = this.all.value.at(-1);
    if (last) await this._attempt(() => this._read(last.id));
  }

  /**
   * Sends these files, a few at a time; what became of each is in `sendings`.
   * @param {Named[]} files
   * @param {string[]} empty Folders that hold no document.
   */
  add(files, empty = []) {
    this.empty.value = empty;
    this.deleted.value = null;
    if (this.underway.value.length === 0) {
      this.batch += 1;
      this.sendings.value = this.failed.value;
    }
    // Whoever sends a file again has mended it: what was wrong with it then is over.
    const names = new Set(files.map(({ name }) => name));
    const others = this.sendings.value.filter((each) => each.state.value !== "failed" || !names.has(each.name));
    this.sendings.value = [...others, ...files.map((each) => new Sending(each, this.batch))];
    for (let free = AT_ONCE - this._running; free > 0; free -= 1) this._sendOn();
  }

  /** Sends a file again. @param {Sending} sending */
  again({ name, file }) {
    this.add([{ name, file }]);
  }

  /** Forgets what could not be indexed. */
  forgetFailed() {
    this.sendings.value = this.sendings.value.filter((each) => each.state.value !== "failed");
    this.empty.value = [];
  }

  /** @param {Document} document */
  async delete({ id, name }) {
    return this._attempt(async () => {
      const response = await this._client.fetch(`/v1/documents/${encodeURIComponent(id)}`, { method: "DELETE" });
      // One that was deleted in another tab is gone as well.
      if (!response.ok && response.status !== 404) throw await errorOf(response);
      this.all.value = this.all.value.filter((each) => each.id !== id);
      this._deleted.add(id);
      this.deleted.value = name;
    });
  }

  /** @param {string} before */
  async _read(before) {
    const words = new URLSearchParams({ limit: String(PAGE), ...(before && { before }) });
    const known = new Set(this.all.value.map(({ id }) => id));
    const response = await this._client.fetch(`/v1/documents?${words}`);
    if (!response.ok) throw await errorOf(response);
    const page = await response.json();
    // What was added while it was asked for may not be in it yet, and what was deleted may still be.
    const meanwhile = this.all.value.filter((each) => before || !known.has(each.id));
    const others = new Set(meanwhile.flatMap(({ id, name }) => [`id ${id}`, `name ${name}`]));
    const listed = page.data.filter((/** @type {Document} */ { id, name }) => !others.has(`id ${id}`) && !others.has(`name ${name}`));
    this.all.value = [...meanwhile, ...listed.filter((/** @type {Document} */ { id }) => !this._deleted.has(id))];
    this.more.value = page.has_more;
    this._limit = page.limit_bytes;
    this.read.value = true;
  }

  /** One after another, as long as any waits. */
  async _sendOn() {
    this._running += 1;
    for (let next = this._next(); next; next = this._next()) await this._send(next);
    this._running -= 1;
  }

  _next() {
    return this.sendings.value.find((each) => each.state.value === "waiting");
  }

  /** @param {Sending} sending */
  async _send(sending) {
    sending.state.value = "sending";
    try {
      if (!this.read.value) await this.look();
      if (this._limit && sending.file.size > this._limit) throw tooLarge(sending, this._limit);
      const { state, ...document } = await this._sent(sending);
      this.added.set(document.id, state);
      this._deleted.delete(document.id);
      const others = this.all.value.filter((each) => each.id !== document.id && each.name !== document.name);
      this.all.value = [document, ...others];
      sending.state.value = "done";
    } catch (error) {
      if (!(error instanceof HeadraceError)) throw error;
      if (error.status === 401) this._attempt(() => Promise.reject(error));
      sending.passing = error.passing || error.status === 401;
      sending.error.value = error.message;
      sending.state.value = "failed";
    }
  }

  /** @param {Sending} sending */
  async _sent(sending) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await sendFile(sending);
      } catch (error) {
        const busy = error instanceof HeadraceError && error.status !== null && error.passing;
        if (!busy || attempt === ATTEMPTS) throw error;
        sending.state.value = "sending";
        sending.share.value = 0;
        const seconds = Math.min(error.retryAfterSeconds ?? attempt, MOST_WAITING_SECONDS);
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
      }
    }
  }
}

/** As the server would say, without sending it all there. @param {Sending} sending @param {number} limit */
function tooLarge({ file }, limit) {
  return new HeadraceError(say("documents.tooLarge", { size: size(file.size), limit: size(limit) }), { status: 413 });
}
