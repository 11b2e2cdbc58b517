// What may follow an answer: one question, or several where a question was edited, of which one is shown.
import { signal } from "@preact/signals";
import { newId } from "../client/client.js";

/** The questions that follow the same answer, or begin the conversation. */
export class Branches {
  constructor() {
    /** @type {import("@preact/signals").Signal<Turn[]>} */
    this.turns = signal([]);
    /** Which of them is shown. */
    this.shown = signal(0);
  }

  /** The turn that is shown, where there is one. */
  get turn() {
    return this.turns.value[this.shown.value] ?? null;
  }

  /**
   * The turn with this question: the one there is, or a new one; it is shown from now on.
   * @param {string} question
   * @param {import("./answer.js").Answer | null} parent The answer it follows.
   */
  ask(question, parent) {
    let place = this.turns.value.findIndex((turn) => turn.question === question);
    if (place < 0) {
      place = this.turns.value.length;
      this.turns.value = [...this.turns.value, new Turn(question, parent, this)];
    }
    this.shown.value = place;
    return this.turns.value[place];
  }
}

/** A question with its answers, of which one is shown. */
export class Turn {
  /**
   * @param {string} question
   * @param {import("./answer.js").Answer | null} parent
   * @param {Branches} among
   */
  constructor(question, parent, among) {
    this.key = newId();
    this.question = question;
    this.parent = parent;
    this.among = among;
    /** @type {import("@preact/signals").Signal<import("./answer.js").Answer[]>} */
    this.answers = signal([]);
    this.shown = signal(0);
  }

  /** The answer that is shown. */
  get answer() {
    return this.answers.value[this.shown.value];
  }

  /** One more answer, which is shown from now on. @param {import("./answer.js").Answer} answer */
  add(answer) {
    answer.turn = this;
    this.answers.value = [...this.answers.value, answer];
    this.shown.value = this.answers.value.length - 1;
    return answer;
  }
}

/**
 * The turns that are shown, from the first question to the last.
 * @param {Branches} root
 * @returns {Turn[]}
 */
export function pathFrom(root) {
  const path = [];
  for (let turn = root.turn; turn; turn = turn.answer?.next.turn ?? null) path.push(turn);
  return path;
}
