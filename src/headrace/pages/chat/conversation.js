// A conversation: the streams that carry its id, read from the server, so that every tab and device sees the same.
// Nothing of it is kept here.
import { computed, signal } from "@preact/signals";
import { Answer } from "./answer.js";
import { Branches, pathFrom } from "./branches.js";

/** What is asked when an answer is continued; an answer to exactly this is shown as part of the one before. */
export const CONTINUE = "Go on exactly where your answer was cut off. Repeat nothing of it.";

const PAGE = 100;

/** @typedef {import("./branches.js").Turn} Turn */
/** @typedef {{ id: string, state: string, question: string | null, parent?: string | null, readers?: number }} Known */
/** @typedef {{ model: string | null, rationale: boolean }} Choices */

/** One conversation as it is shown. */
export class Conversation {
  /** @param {import("../client/client.js").Client} client @param {string} id */
  constructor(client, id) {
    this.id = id;
    this._client = client;
    this._root = new Branches();
    /** What is shown of it, from the first question to the last. */
    this.turns = computed(() => pathFrom(this._root));
    /** The answer that is being made and shown, where there is one. */
    this.running = computed(() => this.turns.value.map((turn) => turn.answer).findLast((each) => each?.running) ?? null);
    /** Whether the server was asked for it, and what it said. @type {import("@preact/signals").Signal<"new" | "loading" | "known" | "gone">} */
    this.state = signal("new");
    /** The answer that a stream belongs to, by the stream's id. @type {Map<string, Answer>} */
    this._answers = new Map();
    /** @type {Answer | null} The one that was placed last. */
    this._latest = null;
    /** @type {Promise<void> | null} */
    this._looking = null;
  }

  /** Asks a question behind what is shown. @param {string} question @param {Choices} choices */
  ask(question, choices) {
    this._ask(question, this.turns.value.at(-1)?.answer ?? null, choices);
  }

  /** Asks another question in the place of one; both stay. @param {Turn} turn @param {string} question @param {Choices} choices */
  edit(turn, question, choices) {
    this._ask(question, turn.parent, choices);
  }

  /** Another answer to a question that was asked; the first one stays. @param {Turn} turn @param {Choices} choices */
  again(turn, choices) {
    this._ask(turn.question, turn.parent, choices);
  }

  /** Goes on with an answer that was cut off. @param {Turn} turn @param {Choices} choices */
  continue(turn, choices) {
    this._start(turn.answer, CONTINUE, turn.answer, choices);
  }

  /** Takes in what the server has of it, and this page does not: after a reload, or asked in another tab. */
  look() {
    this._looking ??= this._look().finally(() => (this._looking = null));
    return this._looking;
  }

  /** Leaves all its answers; they go on. */
  leave() {
    for (const answer of new Set(this._answers.values())) answer.leave();
  }

  hurry() {
    for (const turn of this.turns.value) turn.answer?.hurry();
  }

  async _look() {
    if (this.state.peek() === "new") this.state.value = "loading";
    /** @type {Known[]} */
    const found = [];
    for (let before = ""; ; ) {
      const page = await this._client.streams({ conversation_id: this.id, limit: PAGE, ...(before && { before }) });
      found.push(...page.data);
      if (!page.has_more || page.data.some((each) => this._answers.has(each.id))) break;
      before = page.last_id ?? "";
    }
    for (const stream of found.reverse()) {
      const answer = this._answers.get(stream.id) ?? this._place(stream);
      if (answer.running) answer.readers.value = stream.readers ?? 0;
    }
    this.state.value = this._answers.size ? "known" : "gone";
  }

  /** @param {Known} stream */
  _place(stream) {
    const question = stream.question ?? "";
    const answer = question === CONTINUE && this._parentOf(stream) ? this._parentOf(stream) : this._beside(stream, question);
    this._take(/** @type {Answer} */ (answer), this._client.resume(stream.id), stream.state === "running");
    return /** @type {Answer} */ (answer);
  }

  /** A new answer, where the stream's parent says that it belongs. @param {Known} stream @param {string} question */
  _beside(stream, question) {
    let parent = this._parentOf(stream);
    if (stream.parent === undefined) {
      // Without a parent: what repeats the question before it is another answer to that.
      const last = this.turns.peek().at(-1);
      if (last?.question === question) parent = last.parent;
    }
    return this._add(question, parent);
  }

  /** @param {Known} stream */
  _parentOf(stream) {
    if (stream.parent === undefined) return this._latest;
    return stream.parent === null ? null : (this._answers.get(stream.parent) ?? null);
  }

  /** @param {string} question @param {Answer | null} parent @param {Choices} choices */
  _ask(question, parent, choices) {
    this._start(this._add(question, parent), question, parent, choices);
  }

  /** @param {string} question @param {Answer | null} parent */
  _add(question, parent) {
    return (parent?.next ?? this._root).ask(question, parent).add(new Answer(this._client));
  }

  /** @param {Answer} answer @param {string} question @param {Answer | null} parent @param {Choices} choices */
  _start(answer, question, parent, { model, rationale }) {
    const history = this._historyTo(parent);
    const stream = this._client.ask({
      query: question,
      conversation_id: this.id,
      ...(history.length && { history }),
      ...(model && { model }),
      ...(!rationale && { headrace: { rationale: false } }),
    });
    this._take(answer, stream, true);
    this.state.value = "known";
    answer.open();
  }

  /** @param {Answer} answer @param {import("../client/stream.js").Stream} stream @param {boolean} live */
  _take(answer, stream, live) {
    this._answers.set(stream.id, answer);
    this._latest = answer;
    answer.add(stream, { live });
  }

  /** What was said up to an answer, along its own branch. @param {Answer | null} answer */
  _historyTo(answer) {
    const history = [];
    for (let each = answer; each; each = each.turn?.parent ?? null) {
      if (!each.text) continue;
      history.unshift({ role: "user", content: each.turn?.question ?? "" }, { role: "assistant", content: each.text });
    }
    return history;
  }
}
