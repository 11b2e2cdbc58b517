// The answer as far as it was read: a fold over the events that were given. Pure.

/**
 * @typedef {{ id: string | null, name: string | null, arguments: string }} ToolCall A tool that the model wants to be called.
 * @typedef {{ code: string, message: string }} Failure Why a stream did not end well.
 */

/**
 * An answer as far as it was read.
 * @typedef {object} Final
 * @property {string} text
 * @property {string} reasoning What a reasoning model thought first; empty where it did not, or did not say.
 * @property {ToolCall[]} toolCalls Each with all of its arguments.
 * @property {import("./events.js").Source[]} sources The passages it rests on, where it was answered from documents.
 * @property {string | null} model As it was asked for.
 * @property {string | null} conversationId
 * @property {import("./events.js").Ending | null} ending Why the stream closed; `null` as long as its end was not read.
 * @property {Failure | null} failure Why it did not end well; `null` where it did.
 * @property {import("./events.js").Usage | null} usage Tokens in and out, and how they are known; told at the end.
 * @property {import("./events.js").Timing | null} timing How long it took, as the server measured it; told at the end.
 */

/** @returns {Final} An answer of which nothing was read. */
export function nothing() {
  return {
    text: "",
    reasoning: "",
    toolCalls: [],
    sources: [],
    model: null,
    conversationId: null,
    ending: null,
    failure: null,
    usage: null,
    timing: null,
  };
}

/**
 * The answer with one event more. What was given before stays as it is.
 * @param {Final} answer
 * @param {import("./events.js").StreamEvent} event
 * @returns {Final}
 */
export function folded(answer, event) {
  switch (event.type) {
    case "start":
      return { ...answer, model: event.model, conversationId: event.conversation_id };
    case "sources":
      return { ...answer, sources: [...answer.sources, ...event.sources] };
    case "rationale":
      return { ...answer, reasoning: answer.reasoning + event.content };
    case "token":
      return { ...answer, text: answer.text + event.content };
    case "tool_call":
      return { ...answer, toolCalls: withPiece(answer.toolCalls, event) };
    case "so_far":
      return { ...answer, text: event.content };
    case "done":
      return { ...answer, ending: event.finish_reason };
    case "metadata":
      return { ...answer, usage: event.usage ?? null, timing: event.timing ?? null };
    case "error":
      return { ...answer, ending: event.ending ?? "error", failure: { code: event.code, message: event.content } };
    default:
      return answer; // a type of a newer server
  }
}

/** @param {ToolCall[]} calls @param {import("./events.js").ToolCallEvent} piece */
function withPiece(calls, piece) {
  const known = calls[piece.index] ?? { id: null, name: null, arguments: "" };
  const grown = [...calls];
  grown[piece.index] = {
    id: piece.id ?? known.id,
    name: piece.name ?? known.name,
    arguments: known.arguments + piece.arguments,
  };
  return grown;
}
