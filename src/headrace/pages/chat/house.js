// What the whole page shares: the client, the conversation that is shown, models, the list of conversations, theme.
import { computed, effect, signal } from "@preact/signals";
import { Client, newId } from "../client/client.js";
import { HeadraceError } from "../client/errors.js";
import { Conversation } from "./conversation.js";
import { keep, kept } from "./kept.js";
import { CONTINUE } from "./words.js";

const LOOK_SECONDS = 4;

/** Everything that lives as long as the page. */
export class House {
  constructor() {
    this.client = new Client();
    this.models = signal([]);
    this.upstreams = signal([]);
    this.model = signal(kept("model"));
    this.theme = signal(kept("theme") ?? "system");
    this.keyNeeded = signal(false);
    this.serverAway = signal(false);
    this.conversations = signal([]);
    this.listShown = signal(false);
    this.keysShown = signal(false);
    this.conversation = signal(new Conversation(this.client, this._address() ?? newId()));
    this.running = computed(() => this.conversation.value.running);
    this._others = new BroadcastChannel("headrace.chat");
  }

  /** Begins: reads what there is, and keeps in step with other tabs and devices. */
  open() {
    effect(() => {
      const theme = this.theme.value;
      keep("theme", theme === "system" ? null : theme);
      if (theme === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
    });
    effect(() => keep("model", this.model.value));
    // An answer that has ended is news of its upstream.
    effect(() => this.running.value === null && this._try(() => this._lookAtHealth()));
    addEventListener("hashchange", () => this._go(this._address()));
    addEventListener("online", () => this._hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this._hurry());
    this._others.onmessage = () => this.look();
    setInterval(() => document.hidden || this.look(), LOOK_SECONDS * 1000);
    this.refresh();
  }

  async refresh() {
    await this._try(async () => {
      const [models] = await Promise.all([this.client.models(), this._lookAtHealth()]);
      this.models.value = models;
      if (!models.some((each) => each.id === this.model.value)) this.model.value = models[0]?.id ?? null;
      this.keyNeeded.value = false;
    });
    await this.look();
  }

  /** Takes in what was asked in other tabs and on other devices. */
  async look() {
    if (this.keyNeeded.value || !this._address()) return;
    await this._try(() => this.conversation.value.look());
  }

  async lookForConversations() {
    await this._try(async () => {
      const found = new Map();
      const { data } = await this.client.streams({ limit: 100 });
      for (const each of data) {
        if (!each.conversation_id) continue;
        const known = found.get(each.conversation_id) ?? { id: each.conversation_id, at: each.created_at, running: false };
        if (each.question && each.question !== CONTINUE) known.title = each.question;
        known.running ||= each.state === "running";
        found.set(each.conversation_id, known);
      }
      this.conversations.value = [...found.values()].filter((each) => each.title);
    });
  }

  ask(question) {
    if (!this._address()) location.hash = `c=${this.conversation.value.id}`;
    this.conversation.value.ask(question, this.model.value);
    this._tell();
  }

  again(turn) {
    this.conversation.value.again(turn, this.model.value);
    this._tell();
  }

  continue(turn) {
    this.conversation.value.continue(turn, this.model.value);
    this._tell();
  }

  stop() {
    const running = this.running.value;
    if (running) this._try(() => running.stop());
  }

  begin() {
    history.pushState(null, "", location.pathname);
    this._go(null);
  }

  async login(key) {
    await this.client.login(key);
    await this.refresh();
  }

  _go(id) {
    this.listShown.value = false;
    if (id === this.conversation.value.id) return;
    this.conversation.value.leave();
    this.conversation.value = new Conversation(this.client, id ?? newId());
    if (id) this.look();
  }

  _address() {
    return /^#c=([A-Za-z0-9_.~-]{1,128})$/.exec(location.hash)?.[1] ?? null;
  }

  async _lookAtHealth() {
    this.upstreams.value = (await this.client.health()).upstreams ?? [];
  }

  _hurry() {
    for (const turn of this.conversation.value.turns.value) turn.answer?.hurry();
    this.look();
  }

  /** Other tabs look at once: the stream is known to the server a moment after it was asked for. */
  _tell() {
    setTimeout(() => this._others.postMessage("asked"), 150);
  }

  async _try(act) {
    try {
      await act();
      this.serverAway.value = false;
    } catch (error) {
      if (!(error instanceof HeadraceError)) throw error;
      if (error.status === 401) this.keyNeeded.value = true;
      else if (error.passing) this.serverAway.value = true;
      else console.info(error.message);
    }
  }
}
