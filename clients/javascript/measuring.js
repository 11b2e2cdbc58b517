// How quickly an answer came, as its reader saw it. Pure: every moment is given, in milliseconds on a steady clock.

/** How many gaps the mean is taken over: the last seconds of an answer, not its whole past. */
const WINDOW = 100;
/** A rate over less than 10 ms says more about the clock than about anything that was generated. */
const SHORTEST_MS = 10;

/**
 * The figures of one reading, so far or at its end. Deltas are pieces of text, reasoning or tool calls.
 * @typedef {object} Stats
 * @property {number} totalSeconds From asking to the last event, or to now.
 * @property {number | null} timeToFirstTokenSeconds From asking to the first delta; `null`: none has come.
 * @property {number | null} meanGapSeconds Between two deltas, over the last 100 gaps; those of one read have none between them.
 * @property {number} deltas How many came.
 * @property {number | null} tokens Of the answer, as its usage says them; `null` before that is known.
 * @property {import("./events.js").Provenance | null} tokensSource How they are known.
 * @property {number | null} tokensPerSecond From the first delta to the last; `null` where the tokens are not known or came at once.
 * @property {number} resumed How often the connection broke and was taken up again.
 */

/** Takes the moments of one reading. */
export class Measuring {
  /** @type {number | null} */
  #asked = null;
  /** @type {number | null} */
  #ended = null;
  /** @type {number | null} */
  #first = null;
  #last = 0;
  /** @type {number[]} */
  #gaps = [];
  #deltas = 0;
  /** @type {number | null} */
  #tokens = null;
  /** @type {import("./events.js").Provenance | null} */
  #source = null;

  /** Somebody asks; what comes after another drop is measured from the first time. @param {number} now */
  begin(now) {
    this.#asked ??= now;
    this.#ended = null;
  }

  /** Takes an event that came at that moment. @param {import("./events.js").StreamEvent} event @param {number} now */
  feed(event, now) {
    if (event.type === "token" || event.type === "rationale" || event.type === "tool_call") {
      if (this.#first === null) this.#first = now;
      else this.#gaps[(this.#deltas - 1) % WINDOW] = now - this.#last;
      this.#last = now;
      this.#deltas++;
    } else if (event.type === "metadata" && event.usage) {
      this.#tokens = event.usage.completion_tokens;
      this.#source = event.usage.completion_source ?? event.usage.source;
    }
  }

  /** Nothing more comes, or is waited for. @param {number} now */
  finish(now) {
    this.#ended = now;
  }

  /** The figures at that moment, or at the end where that was before. @param {number} now @param {number} resumed @returns {Stats} */
  stats(now, resumed) {
    const asked = this.#asked ?? now;
    const speaking = this.#first === null ? 0 : this.#last - this.#first;
    const rated = this.#tokens !== null && this.#tokens > 1 && speaking >= SHORTEST_MS;
    const gaps = this.#gaps.length;
    return {
      totalSeconds: ((this.#ended ?? now) - asked) / 1000,
      timeToFirstTokenSeconds: this.#first === null ? null : (this.#first - asked) / 1000,
      meanGapSeconds: gaps ? this.#gaps.reduce((sum, gap) => sum + gap, 0) / gaps / 1000 : null,
      deltas: this.#deltas,
      tokens: this.#tokens,
      tokensSource: this.#source,
      tokensPerSecond: rated ? ((/** @type {number} */ (this.#tokens) - 1) / speaking) * 1000 : null,
      resumed,
    };
  }
}
