// How a reader is connected to its stream, as a table: which state follows which, what a person is told of it, and when
// a reader that was cut off gives up. Pure: it opens nothing and waits for nothing; time and chance come in as arguments.

/**
 * @typedef {"connecting" | "live" | "waiting" | "offline" | "ended" | "elsewhere" | "lost"} ConnectionName
 * @typedef {"asked" | "opened" | "cut" | "cut_offline" | "again" | "ended" | "ended_elsewhere" | "refused"} Happened
 * @typedef {{ name: ConnectionName, attempt: number, seconds: number }} Connection
 *   `attempt`: how many times in a row it was tried in vain; `seconds`: until it is tried again, where it waits.
 */

/**
 * How a reader comes back after a drop, and when it gives up.
 * @typedef {object} Resuming
 * @property {number} attempts The most attempts in a row that bring no new event; 1: a drop is final.
 * @property {number} seconds The longest it may take to get back into contact.
 * @property {number} knocks The most attempts where nothing has answered yet at all.
 * @property {number} firstDelaySeconds The most before the second attempt; it doubles from attempt to attempt.
 * @property {number} longestDelaySeconds The most before any attempt.
 */

/** A page waits as long as the person before it, who sees how it stands. @type {Readonly<Resuming>} */
export const PATIENT = {
  attempts: Infinity,
  seconds: Infinity,
  knocks: Infinity,
  firstDelaySeconds: 0.25,
  longestDelaySeconds: 20,
};

/** @type {Record<ConnectionName, Partial<Record<Happened, ConnectionName>>>} */
const TABLE = {
  connecting: {
    opened: "live",
    cut: "waiting",
    cut_offline: "offline",
    ended: "ended",
    ended_elsewhere: "elsewhere",
    refused: "lost",
  },
  live: { cut: "waiting", cut_offline: "offline", ended: "ended", ended_elsewhere: "elsewhere", refused: "lost" },
  waiting: { again: "connecting", cut: "waiting", cut_offline: "offline", refused: "lost" },
  offline: { again: "connecting", cut: "waiting", cut_offline: "offline", refused: "lost" },
  ended: { asked: "connecting" },
  elsewhere: { asked: "connecting" },
  lost: { asked: "connecting" },
};

/** @type {Connection} */
export const BEGUN = { name: "connecting", attempt: 0, seconds: 0 };

/**
 * The state after something happened. What has no place in the table changes nothing.
 * @param {Connection} state
 * @param {Happened} happened
 * @param {number} seconds Until the next attempt, where it was cut.
 * @returns {Connection}
 */
export function next(state, happened, seconds = 0) {
  const name = TABLE[state.name][happened];
  if (!name) return state;
  if (name === "waiting" || name === "offline") return { name, attempt: state.attempt + 1, seconds };
  return { name, attempt: name === "connecting" ? state.attempt : 0, seconds: 0 };
}

/**
 * How a reader stands that was cut off.
 * @typedef {object} Away
 * @property {number} inVain Attempts that failed since the last new event, this one among them.
 * @property {number} seconds Since there was contact.
 * @property {boolean} answered Whether anybody ever answered.
 * @property {number} retryAfterSeconds The least that the server wants to be left alone.
 */

/**
 * How long to wait before the next attempt; `null`: no more are made.
 * @param {Resuming} bounds
 * @param {Away} away
 * @param {number} attempt Made in vain so far, of those that this delay grows with.
 * @param {number} chance From 0 to 1.
 */
export function delayOf(bounds, away, attempt, chance) {
  const most = away.answered ? bounds.attempts : Math.min(bounds.knocks, bounds.attempts);
  const left = bounds.seconds - away.seconds;
  if (away.inVain >= most || left <= 0 || away.retryAfterSeconds > left) return null;
  return Math.min(left, away.retryAfterSeconds || backOff(bounds, attempt, chance));
}

/** Twice as long each time, and never as long as everybody else. @param {Resuming} bounds @param {number} attempt @param {number} chance */
function backOff({ firstDelaySeconds, longestDelaySeconds }, attempt, chance) {
  return Math.min(longestDelaySeconds, firstDelaySeconds * 2 ** attempt) * (0.6 + 0.4 * chance);
}
