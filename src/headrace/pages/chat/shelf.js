// The list of conversations: found, named and put away.
import { signal } from "@preact/signals";
import { CONTINUE } from "./conversation.js";

/** @typedef {{ id: string, title: string, at: string, running: boolean }} Entry */
/** @typedef {Entry & { snippet: { text: string, found: boolean }[] }} Found With the words around what was looked for. */

/** Your conversations, newest first. */
export class Shelf {
  /** @param {import("../client/client.js").Client} client */
  constructor(client) {
    this._client = client;
    /** @type {import("@preact/signals").Signal<Entry[]>} */
    this.entries = signal([]);
    this.read = signal(false);
  }

  /** Reads the list anew. */
  async look() {
    /** @type {Map<string, Entry>} */
    const found = new Map();
    const { data } = await this._client.streams({ limit: 100 });
    for (const each of data) {
      if (!each.conversation_id) continue;
      const known = found.get(each.conversation_id) ?? { id: each.conversation_id, title: "", at: each.created_at, running: false };
      if (each.question && each.question !== CONTINUE) known.title = each.question;
      known.running ||= each.state === "running";
      found.set(each.conversation_id, known);
    }
    this.entries.value = [...found.values()].filter((each) => each.title);
    this.read.value = true;
  }

  /** Those whose words are looked for; without any, all. @param {string} words @returns {Promise<Found[]>} */
  async search(words) {
    const wanted = words.toLowerCase().split(/\s+/);
    const found = this.entries.value.filter(({ title }) => wanted.every((each) => title.toLowerCase().includes(each)));
    return found.map((each) => ({ ...each, snippet: [] }));
  }

  /** The title of a conversation, where it is known. @param {string} id */
  titleOf(id) {
    return this.entries.value.find((each) => each.id === id)?.title ?? null;
  }
}
