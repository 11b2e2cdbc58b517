// A conversation: the streams that carry its id, read from the server, so that every tab and device sees the same.
// Nothing of it is kept here.
import { computed, signal } from "@preact/signals";
import { Answer } from "./answer.js";
import { Branches, pathFrom } from "./branches.js";

/** What is asked when an answer is continued; an answer to exactly this is shown as part of the one before. */
export const CONTINUE = "Go on exactly where your answer was cut off. Repeat nothing of it.";

const PAGE = 100;

/** @typedef {import("./branches.js").Turn} Turn */
/** @typedef {{ id: string, state: string, question: string | null, parent?: string | null, relation?: "follow" | "continue" | null, readers?: number }} Known */
/** @typedef {{ parent?: string, relation?: "follow" | "sibling" | "continue" }} Place Where a new stream belongs. */
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
    const parent = this.turns.value.at(-1)?.answer ?? null;
    this._start(this._add(question, parent), question, behind(parent), choices);
  }

  /** Asks another question in the place of one; both stay. @param {Turn} turn @param {string} question @param {Choices} choices */
  edit(turn, question, choices) {
    const place = beside(turn);
    this._start(this._add(question, turn.parent), question, place, choices);
  }

  /** Another answer to a question that was asked; the first one stays. @param {Turn} turn @param {Choices} choices */
  again(turn, choices) {
    this.edit(turn, turn.question, choices);
  }

  /** Goes on with an answer that was cut off. @param {Turn} turn @param {Choices} choices */
  continue(turn, choices) {
    this._start(turn.answer, CONTINUE, { parent: turn.answer.streams.at(-1), relation: "continue" }, choices);
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
    let parent = stream.parent ? (this._answers.get(stream.parent) ?? null) : null;
    let goesOn = stream.relation === "continue";
    if (!stream.relation) {
      // Made when no stream named its parent: one followed the other, and what was repeated is another answer.
      const last = this.turns.peek().at(-1);
      parent = last?.question === question ? last.parent : this._latest;
      goesOn = question === CONTINUE;
      if (goesOn) parent = this._latest;
    }
    const answer = goesOn && parent ? parent : this._add(question, parent);
    this._take(answer, this._client.resume(stream.id), { live: stream.state === "running", known: true });
    return answer;
  }

  /** @param {string} question @param {Answer | null} parent */
  _add(question, parent) {
    return (parent?.next ?? this._root).ask(question, parent).add(new Answer(this._client));
  }

  /** @param {Answer} answer @param {string} question @param {Place} place @param {Choices} choices */
  _start(answer, question, place, { model, rationale }) {
    const stream = this._client.ask({
      query: question,
      conversation_id: this.id,
      headrace: { ...place, ...(!rationale && { rationale: false }) },
      ...(model && { model }),
    });
    this._take(answer, stream, { live: true, known: false });
    this.state.value = "known";
    answer.open();
  }

  /** @param {Answer} answer @param {import("../client/stream.js").Stream} stream @param {{ live: boolean, known: boolean }} about */
  _take(answer, stream, about) {
    this._answers.set(stream.id, answer);
    this._latest = answer;
    answer.add(stream, about);
  }
}

/** The place behind an answer; behind the one before it, where the server never took that question. @param {Answer | null} answer @returns {Place} */
function behind(answer) {
  for (let each = answer; each; each = each.turn?.parent ?? null) {
    const parent = each.streams.at(-1);
    if (parent) return { parent, relation: "follow" };
  }
  return {};
}

/** The place beside the answers of a turn. @param {Turn} turn @returns {Place} */
function beside(turn) {
  const [parent] = turn.answers.peek().flatMap((each) => each.streams);
  return parent ? { parent, relation: "sibling" } : behind(turn.parent);
}
