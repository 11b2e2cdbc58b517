// A headrace server as a program sees it.
import { Stream } from "./stream.js";
import { Client as Carrier, newId } from "./transport/client.js";
import { HeadraceError } from "./transport/errors.js";

/** A program gives up where a page waits: nobody sees how it stands. @type {Readonly<import("./transport/connection.js").Resuming>} */
export const BOUNDS = { attempts: 8, seconds: 30, knocks: 3, firstDelaySeconds: 0.25, longestDelaySeconds: 5 };

/** @typedef {{ role: string, content: unknown, [field: string]: unknown }} Message As OpenAI's chat API has them. */

/**
 * What a question may say beside its prompt.
 * @typedef {object} StreamOptions
 * @property {string} [model] The model that answers; left out: the assistant's own.
 * @property {string} [system] Instructions put before the prompt.
 * @property {number} [maxTokens] The most tokens of the answer.
 * @property {string} [conversationId] The conversation it is part of.
 * @property {string} [assistant] Who answers, as in `POST /chat/{assistant}`; left out: `basic`.
 * @property {string} [streamId] 128 random bits of your own, as `newId()` gives them; left out: the client draws them.
 * @property {string} [idempotencyKey] A request with the same key and body joins the stream of the first.
 * @property {number} [timeoutSeconds] The most the answer may take; left out: as the server has it.
 * @property {"continue" | "cancel" | number} [onDisconnect] What the server does when the last reader has left: lets it go
 *   on, cancels it, or waits so many seconds for one that returns. Left out: `continue`.
 * @property {AbortSignal} [signal] Leaves the stream, which goes on: the loop throws the signal's reason.
 * @property {Record<string, unknown>} [fields] Anything else of the request, such as `{ temperature: 0 }`.
 */

/**
 * @typedef {object} ResumeOptions
 * @property {number} [after] The offset of the last event that is known already; left out: from its beginning.
 * @property {AbortSignal} [signal] Leaves the stream, which goes on: the loop throws the signal's reason.
 */

/**
 * @typedef {object} ClientOptions
 * @property {string} [url] Of the server; left out, in a browser: the one the page came from.
 * @property {string | null} [key] Where the server asks for one.
 * @property {Partial<import("./transport/connection.js").Resuming>} [resuming] When a reader that was cut off gives up.
 * @property {number} [heartbeatSeconds] How often a server that has nothing to say shall say so; left out: 5. One that does
 *   not three times in a row is gone.
 */

/** A client of one server. Nothing is opened before something is asked. */
export class Client extends Carrier {
  /** @param {ClientOptions} [options] */
  constructor({ resuming = {}, ...options } = {}) {
    super({ ...options, resuming: { ...BOUNDS, ...resuming } });
  }

  /**
   * A new answer, read as it is made. It is asked for when it is read.
   * @param {string | Message[]} prompt A question, or messages, the last of them the user's.
   * @param {StreamOptions} options
   */
  stream(prompt, { signal, ...options } = {}) {
    const { assistant, streamId } = options;
    const asked = { assistant, question: bodyOf(prompt, options), headers: headersOf(options) };
    return new Stream(this, { id: streamId ?? newId(), unique: streamId === undefined, ...asked }, signal);
  }

  /**
   * A stream that is there already.
   * @override
   * @param {string} streamId
   * @param {ResumeOptions} options
   */
  resume(streamId, { after = -1, signal } = {}) {
    return new Stream(this, { id: streamId, after }, signal);
  }
}

/** @param {string | Message[]} prompt @param {StreamOptions} options @returns {Record<string, unknown>} */
function bodyOf(prompt, { model, system, maxTokens, conversationId, fields = {} }) {
  const messages = typeof prompt === "string" ? [{ role: "user", content: prompt }] : [...prompt];
  const last = messages.pop();
  if (last?.role !== "user" || typeof last.content !== "string") {
    throw new HeadraceError('the last message must be the user\'s, with a text as its "content"', {
      code: "invalid_request",
      retryable: false,
    });
  }
  const history = system === undefined ? messages : [{ role: "system", content: system }, ...messages];
  // What is undefined is left out where it becomes JSON.
  return {
    ...fields,
    query: last.content,
    history: history.length ? history : undefined,
    model,
    max_tokens: maxTokens,
    conversation_id: conversationId,
  };
}

/** @param {StreamOptions} options */
function headersOf({ onDisconnect = "continue", idempotencyKey, timeoutSeconds }) {
  return {
    "Headrace-On-Disconnect": String(onDisconnect),
    ...(idempotencyKey !== undefined && { "Idempotency-Key": idempotencyKey }),
    ...(timeoutSeconds !== undefined && { "Headrace-Timeouts": `total=${timeoutSeconds}` }),
  };
}
