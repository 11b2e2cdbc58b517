// How a reader is connected to its stream, as a table: which state follows which, and what a person is told of it.
// Pure: it opens nothing and waits for nothing; time and chance come in as arguments.

/**
 * @typedef {"connecting" | "live" | "waiting" | "offline" | "ended" | "elsewhere" | "lost"} ConnectionName
 * @typedef {"asked" | "opened" | "cut" | "cut_offline" | "again" | "ended" | "ended_elsewhere" | "refused"} Happened
 * @typedef {{ name: ConnectionName, attempt: number, seconds: number }} Connection
 *   `attempt`: how many times in a row it was tried in vain; `seconds`: until it is tried again, where it waits.
 */

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

const FIRST_SECONDS = 0.25;
const MOST_SECONDS = 20;

/**
 * How long to wait before the next attempt: twice as long each time, and never as long as everybody else.
 * @param {number} attempt In vain so far.
 * @param {number} chance From 0 to 1.
 */
export function backOff(attempt, chance) {
  return Math.min(MOST_SECONDS, FIRST_SECONDS * 2 ** attempt) * (0.6 + 0.4 * chance);
}
