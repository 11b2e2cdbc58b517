// What the whole page shares, wired together: the client, the conversation that is shown, models, the list, choices.
import { computed, effect, signal } from "@preact/signals";
import { Client, newId } from "../client/client.js";
import { HeadraceError } from "../client/errors.js";
import { Choices } from "./choices.js";
import { Conversation } from "./conversation.js";
import { Documents } from "./documents.js";
import { listenForFiles } from "./dropping.js";
import { fileName, save } from "./files.js";
import { Linked } from "./linked.js";
import { Models } from "./models.js";
import { Shelf } from "./shelf.js";
import { say } from "./words.js";

/** How often other tabs and devices are looked after, while the page can be seen; and while an answer is being made. */
const LOOK_SECONDS = 4;
const LOOK_SECONDS_RUNNING = 1.5;
/** How often the server is looked for while it is away. */
const AWAY_SECONDS = 5;

const KINDS = { md: "text/markdown", json: "application/json", ndjson: "application/x-ndjson" };
const ROOM_FOR_LIST = matchMedia("(min-width: 70rem)");

/** @typedef {import("./branches.js").Turn} Turn */
/** @typedef {import("./shelf.js").Entry} Entry */
/** @typedef {Conversation | Linked} Shown */

/** Everything that lives as long as the page. */
export class House {
  constructor() {
    this.client = new Client();
    this.choices = new Choices();
    this.models = new Models(this.client, this.choices);
    this.shelf = new Shelf(this.client);
    this.documents = new Documents(this.client, (act) => this._try(act));
    this.keyNeeded = signal(false);
    /** When the server is looked for again, where it is away. @type {import("@preact/signals").Signal<number | null>} */
    this.awayUntil = signal(null);
    /** Whether there is room for the list beside the conversation. */
    this.wide = signal(ROOM_FOR_LIST.matches);
    this.online = signal(navigator.onLine);
    /** What stands over the page, one at a time. @type {import("@preact/signals").Signal<null | "list" | "keys" | "search" | "documents">} */
    this.sheet = signal(null);
    /** What was just done, and the way back. @type {import("@preact/signals").Signal<null | { words: string, undo: () => void }>} */
    this.notice = signal(null);
    /** The turn whose question is being edited. @type {import("@preact/signals").Signal<Turn | null>} */
    this.edited = signal(null);
    /** @type {import("@preact/signals").Signal<Shown>} */
    this.conversation = signal(this._shownBy(address()));
    this.running = computed(() => this.conversation.value.running.value);
    this._others = new BroadcastChannel("headrace.chat");
    this._timer = 0;
  }

  /** Begins: reads what there is, and keeps in step with other tabs and devices. */
  open() {
    // An answer that begins or ends is news of its upstream, and of the list.
    effect(() => {
      if (this.running.value === null) this._try(() => this.models.lookAtHealth());
      this._try(() => this.shelf.look());
    });
    ROOM_FOR_LIST.addEventListener("change", () => (this.wide.value = ROOM_FOR_LIST.matches));
    addEventListener("hashchange", () => this._go());
    addEventListener("online", () => this._hurry());
    addEventListener("offline", () => (this.online.value = false));
    document.addEventListener("visibilitychange", () => document.hidden || this._hurry());
    addEventListener("pagehide", () => this.shelf.settle());
    listenForFiles(
      () => !this.keyNeeded.value,
      (files, empty) => {
        this.sheet.value = "documents";
        this.documents.add(files, empty);
      },
    );
    this._others.onmessage = () => this.look();
    this.refresh();
  }

  /** Reads everything anew. */
  async refresh() {
    if (await this._try(() => this.models.look())) this.keyNeeded.value = false;
    await this.look();
  }

  /** Takes in what was asked, and renamed, in other tabs and on other devices. */
  async look() {
    clearTimeout(this._timer);
    if (!this.keyNeeded.value) {
      const away = this.awayUntil.value !== null;
      if (away && !(await this._try(() => this.models.look()))) return;
      if (address() !== null) await this._try(() => this.conversation.value.look());
      if (this.listed) await this._try(() => this.shelf.look());
    }
    if (this.awayUntil.value !== null) return; // it is looked for already
    clearTimeout(this._timer);
    const seconds = this.running.value === null ? LOOK_SECONDS : LOOK_SECONDS_RUNNING;
    this._timer = setTimeout(() => this._lookUnlessHidden(), seconds * 1000);
  }

  /** Whether the list of conversations can be seen. */
  get listed() {
    return this.wide.value ? this.choices.side.value : this.sheet.value === "list";
  }

  /** @param {string} question */
  ask(question) {
    const shown = this._own;
    if (address() === null) location.hash = `c=${shown.id}`;
    shown.ask(question, this._wishes);
    this._tell();
  }

  /** @param {Turn} turn @param {string} question */
  edit(turn, question) {
    this.edited.value = null;
    this._own.edit(turn, question, this._wishes);
    this._tell();
  }

  /** @param {Turn} turn */
  again(turn) {
    this._own.again(turn, this._wishes);
    this._tell();
  }

  /** @param {Turn} turn */
  continue(turn) {
    this._own.continue(turn, this._wishes);
    this._tell();
  }

  stop() {
    const running = this.running.value;
    if (running) this._try(() => running.stop());
  }

  /** Begins a new conversation. */
  begin() {
    if (location.hash) history.pushState(null, "", location.pathname);
    this._go();
  }

  /** Shows the list of conversations, or hides it. */
  toggleList() {
    if (this.wide.value) this.choices.side.value = !this.choices.side.value;
    else this.sheet.value = this.sheet.value === "list" ? null : "list";
    if (this.listed) this._try(() => this.shelf.look());
  }

  /** @param {Entry} entry @param {string} title */
  async rename({ id }, title) {
    await this._try(() => this.shelf.rename(id, title));
    this._tell();
  }

  /** Deletes a conversation in a few seconds, unless that is taken back. @param {Entry} entry */
  delete({ id, title }) {
    const undo = () => {
      this.shelf.keep(id);
      this.notice.value = null;
    };
    this.shelf.remove(id, (done) => {
      if (this.notice.value?.undo === undo) this.notice.value = null;
      this._try(() => done);
      this._tell();
    });
    this.notice.value = { words: say("conversation.deleted", { title: isolated(title) }), undo };
    if (id === this.conversation.value.id) this.begin();
  }

  /** Saves a whole conversation. @param {Entry} entry @param {"md" | "json" | "ndjson"} kind */
  async saveConversation({ id, title }, kind) {
    await this._try(async () => save(`${fileName(title)}.${kind}`, await this.shelf.export(id, kind), KINDS[kind]));
  }

  /** More of the list. */
  listFurther() {
    this._try(() => this.shelf.lookFurther());
  }

  /** Closes a sheet, unless another has taken its place. @param {string} sheet */
  close(sheet) {
    if (this.sheet.value === sheet) this.sheet.value = null;
  }

  /** The conversations with these words; `null` where the server could not be asked. @param {string} words */
  async search(words) {
    /** @type {import("./shelf.js").Found[] | null} */
    let found = null;
    await this._try(async () => (found = await this.shelf.search(words)));
    return found;
  }

  /** Whether something can be asked here: one answer that is shown by its link can only be read. */
  get mayAsk() {
    return !(this.conversation.value instanceof Linked);
  }

  /** @param {string} key */
  async login(key) {
    await this.client.login(key);
    await this.refresh();
  }

  /** The conversation, where what is shown is one: a single answer can be read and not gone on with. */
  get _own() {
    if (this.conversation.value instanceof Linked) throw new Error("one answer is shown, and nothing can be asked");
    return this.conversation.value;
  }

  get _wishes() {
    return { model: this.choices.model.value, rationale: this.choices.rationale.value };
  }

  _go() {
    const asked = address();
    this.sheet.value = null;
    const shown = this.conversation.value;
    const there = asked !== null && asked.id === shown.id && (asked.kind === "stream") === shown instanceof Linked;
    const untouched = !(shown instanceof Linked) && shown.state.peek() === "new";
    if (there || (asked === null && untouched)) return;
    shown.leave();
    this.edited.value = null;
    this.conversation.value = this._shownBy(asked);
    this.look();
  }

  /** @param {ReturnType<typeof address>} asked @returns {Shown} */
  _shownBy(asked) {
    if (asked?.kind === "stream") return new Linked(this.client, asked.id);
    return new Conversation(this.client, asked?.id ?? newId());
  }

  _lookUnlessHidden() {
    if (!document.hidden) this.look();
  }

  _hurry() {
    this.online.value = navigator.onLine;
    this.conversation.value.hurry();
    this.look();
  }

  /** Other tabs look at once, and so does the list: the server knows a stream a moment after it was asked for. */
  _tell() {
    setTimeout(() => {
      this._others.postMessage("asked");
      this.look();
    }, 150);
  }

  /** Whether `act` did what it should; what went wrong is shown where it belongs. @param {() => Promise<unknown>} act */
  async _try(act) {
    try {
      await act();
      this.awayUntil.value = null;
      return true;
    } catch (error) {
      if (!(error instanceof HeadraceError)) throw error;
      if (error.status === 401) this.keyNeeded.value = true;
      else if (error.passing) this._waitForServer();
      else console.info(error.message);
      return false;
    }
  }

  _waitForServer() {
    this.awayUntil.value = Date.now() + AWAY_SECONDS * 1000;
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.look(), AWAY_SECONDS * 1000);
  }
}

/** What the address asks for: a conversation (`#c=…`), one stream (`#stream=…`), or nothing yet. */
function address() {
  const found = /^#(c|stream)=([A-Za-z0-9_.~-]{1,128})$/.exec(location.hash);
  return found && { kind: found[1], id: found[2] };
}

/** A text that stands in a sentence of another direction (Unicode's first strong isolate). @param {string} text */
function isolated(text) {
  return `\u2068${text}\u2069`;
}
