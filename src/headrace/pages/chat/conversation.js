// A conversation: the list of the streams that carry its id, read from the server, so that every tab and device sees
// the same. Nothing of it is kept here.
import { signal } from "@preact/signals";
import { newId } from "../client/client.js";
import { Answer } from "./answer.js";
import { CONTINUE } from "./words.js";

const PAGE = 100;

/** A question with its answers, of which one is shown. */
export class Turn {
  /** @param {string} question */
  constructor(question) {
    this.key = newId();
    this.question = question;
    /** @type {import("@preact/signals").Signal<Answer[]>} */
    this.answers = signal([]);
    this.shown = signal(0);
  }

  get answer() {
    return this.answers.value[this.shown.value];
  }
}

/** One conversation as it is shown. */
export class Conversation {
  /** @param {import("../client/client.js").Client} client @param {string} id */
  constructor(client, id) {
    this.id = id;
    this._client = client;
    /** @type {import("@preact/signals").Signal<Turn[]>} */
    this.turns = signal([]);
    this._known = new Set();
    this._looking = null;
  }

  /** The answer that is being made and shown, where there is one. */
  get running() {
    return this.turns.value.map((turn) => turn.answer).findLast((answer) => answer?.running) ?? null;
  }

  /** Asks a question. @param {string} question @param {string | null} model */
  ask(question, model) {
    const history = this._history(this.turns.value);
    return this._start(this._add(question), question, history, model);
  }

  /** Another answer to a question that was asked; the first one stays. @param {Turn} turn @param {string | null} model */
  again(turn, model) {
    const before = this.turns.value.slice(0, this.turns.value.indexOf(turn));
    return this._start(this._version(turn), turn.question, this._history(before), model);
  }

  /** Goes on with an answer that was cut off. @param {Turn} turn @param {string | null} model */
  continue(turn, model) {
    const upTo = this.turns.value.slice(0, this.turns.value.indexOf(turn) + 1);
    return this._start(turn.answer, CONTINUE, this._history(upTo), model);
  }

  /** Takes in what the server has of it, and this page does not: after a reload, or asked in another tab. */
  look() {
    this._looking ??= this._look().finally(() => (this._looking = null));
    return this._looking;
  }

  /** Leaves all its answers; they go on. */
  leave() {
    for (const turn of this.turns.value) for (const answer of turn.answers.value) answer.leave();
  }

  async _look() {
    const found = [];
    for (let before = ""; ; ) {
      const page = await this._client.streams({
        conversation_id: this.id,
        limit: PAGE,
        ...(before && { before }),
      });
      found.push(...page.data);
      if (!page.has_more || page.data.some((each) => this._known.has(each.id))) break;
      before = page.last_id;
    }
    for (const stream of found.reverse()) {
      if (this._known.has(stream.id)) continue;
      this._known.add(stream.id);
      this._place(stream);
    }
  }

  _place(stream) {
    const last = this.turns.value.at(-1);
    let answer;
    if (last && stream.question === CONTINUE) answer = last.answers.value.at(-1);
    else if (last && stream.question === last.question) answer = this._version(last);
    else answer = this._add(stream.question ?? "");
    const live = stream.state === "running";
    answer.turnOver = (answer.turnOver ?? Promise.resolve()).then(() =>
      answer.follow(this._client.resume(stream.id), { live }),
    );
  }

  _start(answer, question, history, model) {
    const stream = this._client.ask({
      query: question,
      conversation_id: this.id,
      ...(history.length && { history }),
      ...(model && { model }),
    });
    this._known.add(stream.id);
    answer.turnOver = answer.follow(stream, { live: true });
    return answer;
  }

  _add(question) {
    const turn = new Turn(question);
    this.turns.value = [...this.turns.value, turn];
    return this._version(turn);
  }

  _version(turn) {
    const answer = new Answer(this._client);
    turn.answers.value = [...turn.answers.value, answer];
    turn.shown.value = turn.answers.value.length - 1;
    return answer;
  }

  _history(turns) {
    return turns
      .filter((turn) => turn.answer?.text)
      .flatMap((turn) => [
        { role: "user", content: turn.question },
        { role: "assistant", content: turn.answer.text },
      ]);
  }
}
