// One stream by its link: the question and its answer, to be read and stopped, and the way to its conversation.
import { computed, signal } from "@preact/signals";
import { HeadraceError } from "../client/errors.js";
import { Answer } from "./answer.js";
import { Branches, pathFrom } from "./branches.js";

/** One answer, shown as a conversation is. */
export class Linked {
  /** @param {import("../client/client.js").Client} client @param {string} id Of the stream. */
  constructor(client, id) {
    this.id = id;
    this._client = client;
    this._root = new Branches();
    this.turns = computed(() => pathFrom(this._root));
    this.running = computed(() => this.turns.value.map((turn) => turn.answer).find((each) => each?.running) ?? null);
    /** @type {import("@preact/signals").Signal<"new" | "loading" | "known" | "gone">} */
    this.state = signal("new");
    /** The conversation it belongs to. @type {import("@preact/signals").Signal<string | null>} */
    this.belongsTo = signal(null);
  }

  /** Reads what is known of it, until it is known. */
  async look() {
    const answer = this.turns.peek()[0]?.answer;
    if (answer && !answer.running) return;
    if (!answer) this.state.value = "loading";
    try {
      const known = await this._client.show(this.id);
      if (answer) answer.readers.value = known.readers ?? 0;
      else this._place(known);
    } catch (error) {
      if (!(error instanceof HeadraceError) || error.status !== 404) throw error;
      this.state.value = "gone";
    }
  }

  leave() {
    for (const turn of this.turns.value) turn.answer.leave();
  }

  hurry() {
    for (const turn of this.turns.value) turn.answer.hurry();
  }

  /** @param {{ question: string | null, state: string, conversation_id: string | null }} known */
  _place(known) {
    const answer = this._root.ask(known.question ?? "", null).add(new Answer(this._client));
    answer.add(this._client.resume(this.id), { live: known.state === "running", known: true });
    this.belongsTo.value = known.conversation_id;
    this.state.value = "known";
  }
}
