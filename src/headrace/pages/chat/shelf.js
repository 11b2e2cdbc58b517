// The list of conversations: read from the server, searched, named anew, and put away.
import { computed, signal } from "@preact/signals";
import { errorOf } from "../client/errors.js";
import { say } from "./words.js";

const PAGE = 50;
const FOUND = 20;
/** How long a deletion can be taken back. */
const UNDO_SECONDS = 10;

/** @typedef {{ id: string, title: string, at: string, running: boolean }} Entry */
/** @typedef {{ text: string, match: boolean }[]} Snippet Words of a conversation, and which of them were looked for. */
/** @typedef {Entry & { snippet: Snippet }} Found */

/** Your conversations, newest first. */
export class Shelf {
  /** @param {import("../client/client.js").Client} client */
  constructor(client) {
    this._client = client;
    /** @type {import("@preact/signals").Signal<Entry[]>} */
    this._all = signal([]);
    /** Being deleted, and not shown any more. @type {import("@preact/signals").Signal<ReadonlyMap<string, number>>} */
    this._leaving = signal(new Map());
    this._pages = 1;
    /** What there is to show. */
    this.entries = computed(() => this._all.value.filter((each) => !this._leaving.value.has(each.id)));
    /** Whether there are more than these. */
    this.more = signal(false);
    this.read = signal(false);
  }

  /** Reads the list anew. */
  async look() {
    /** @type {Entry[]} */
    const found = [];
    for (let page = 0, before = ""; page < this._pages; page += 1) {
      const { data, has_more: more, last_id: last } = await this._list({ limit: PAGE, ...(before && { before }) });
      found.push(...data.map(entryOf));
      this.more.value = more;
      if (!more) break;
      before = last;
    }
    this._all.value = found;
    this.read.value = true;
  }

  /** Shows a page more. */
  lookFurther() {
    this._pages += 1;
    return this.look();
  }

  /** Those with these words in their titles, questions and answers; without any words, the newest. @param {string} words @returns {Promise<Found[]>} */
  async search(words) {
    const { data } = await this._list({ limit: FOUND, ...(words.trim() && { q: words.trim() }) });
    return data.map((/** @type {any} */ each) => ({ ...entryOf(each), snippet: each.found?.snippet ?? [] }));
  }

  /** A whole conversation as a text. @param {string} id @param {string} kind */
  async export(id, kind) {
    return (await this._asked(`/v1/conversations/${encodeURIComponent(id)}/export?format=${kind}`, {})).text();
  }

  /** @param {string} id @param {string} title */
  async rename(id, title) {
    this._all.value = this._all.value.map((each) => (each.id === id ? { ...each, title } : each));
    await this._send(id, { method: "PATCH", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ title }) });
  }

  /**
   * Deletes a conversation, unless that is taken back in time.
   * @param {string} id
   * @param {(done: Promise<unknown>) => void} ongone Called when it is deleted for good.
   */
  remove(id, ongone) {
    const timer = setTimeout(() => ongone(this._send(id, { method: "DELETE" }).then(() => this.look())), UNDO_SECONDS * 1000);
    this._leaving.value = new Map([...this._leaving.value, [id, timer]]);
  }

  /** Takes a deletion back. @param {string} id */
  keep(id) {
    clearTimeout(this._leaving.value.get(id));
    this._leaving.value = new Map([...this._leaving.value].filter(([each]) => each !== id));
  }

  /** The page is left: what is being deleted is deleted now. */
  settle() {
    for (const [id, timer] of this._leaving.value) {
      clearTimeout(timer);
      this._send(id, { method: "DELETE", keepalive: true }).catch(() => {}); // nobody is left to be told
    }
  }

  /** The title of a conversation, where it is known. @param {string} id */
  titleOf(id) {
    return this.entries.value.find((each) => each.id === id)?.title ?? null;
  }

  /** @param {Record<string, string | number>} query */
  async _list(query) {
    const words = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    return (await this._asked(`/v1/conversations?${words}`, {})).json();
  }

  /** @param {string} id @param {RequestInit} options */
  _send(id, options) {
    return this._asked(`/v1/conversations/${encodeURIComponent(id)}`, options);
  }

  /** @param {string} path @param {RequestInit} options */
  async _asked(path, options) {
    const response = await this._client.fetch(path, options);
    if (!response.ok) throw await errorOf(response);
    return response;
  }
}

/** @param {any} told A conversation as the server tells it. @returns {Entry} */
function entryOf({ id, title, updated_at: at, running }) {
  return { id, title: title || say("conversation.untitled"), at, running };
}
