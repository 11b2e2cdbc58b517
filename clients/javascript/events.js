// What a stream says, as types: the typed events of a headrace server. docs/reference/events.md says what they mean.

/**
 * @typedef {"stop" | "length" | "tool_calls" | "content_filter" | "cancelled" | "incomplete" | "interrupted" | "error"} Ending
 *   Why a stream closed. The first four: the model was done. The others: what was said may be half of the answer.
 * @typedef {"reported" | "counted" | "estimated"} Provenance
 *   Where a number of tokens is from: told by the upstream, counted by headrace, or estimated from the text.
 */

/**
 * A passage that the answer rests on.
 * @typedef {object} Source
 * @property {number} n Its number, in the order used.
 * @property {string} id
 * @property {string} title
 * @property {string} passage
 * @property {number} score
 */

/**
 * The tokens of an answer, and how they are known.
 * @typedef {object} Usage
 * @property {number} prompt_tokens
 * @property {number} completion_tokens
 * @property {number} total_tokens
 * @property {number | null} cached_tokens
 * @property {number | null} reasoning_tokens
 * @property {Provenance} source Of both numbers: that of the less certain one.
 * @property {Provenance} prompt_source
 * @property {Provenance} completion_source
 * @property {string} by Who says so.
 */

/**
 * How long an answer took, as the server measured it. `null`: not known.
 * @typedef {object} Timing
 * @property {number | null} queue_ms
 * @property {number | null} connect_ms
 * @property {number | null} first_byte_ms
 * @property {number | null} first_token_ms
 * @property {number | null} total_ms
 * @property {"text" | "reasoning" | "tool_call" | null} first_token_kind
 * @property {number} attempts
 */

/**
 * The first event.
 * @typedef {object} StartEvent
 * @property {"start"} type
 * @property {string} timestamp
 * @property {string} language
 * @property {string} stream_id
 * @property {string} conversation_id
 * @property {string} model As it was asked for.
 */

/**
 * A phase that a person may want to know about while nothing is said yet, or when the upstream changes.
 * @typedef {object} StatusEvent
 * @property {"status"} type
 * @property {string} phase `searching`, `waiting`, `retrying`, `failed_over`, `continued`, `trimmed`; more may come.
 * @property {string} message
 * @property {string} [from] The upstream left.
 * @property {string} [to] The upstream gone to.
 * @property {number} [offset] Of this event, where another attempt said the events after it.
 */

/** @typedef {{ type: "sources", sources: Source[] }} SourcesEvent Passages found. A later one adds to the earlier ones. */
/** @typedef {{ type: "rationale", content: string }} RationaleEvent A piece of what a reasoning model thinks. */
/** @typedef {{ type: "token", content: string }} TokenEvent A piece of the answer. */

/**
 * A piece of a tool call. The first one of a call carries `id` and `name`.
 * @typedef {object} ToolCallEvent
 * @property {"tool_call"} type
 * @property {number} index Which call, from 0.
 * @property {string} [id]
 * @property {string} [name]
 * @property {string} arguments A piece of the JSON of the arguments.
 */

/**
 * What a very long stream said before the events that are still kept one by one: it stands in place of those.
 * @typedef {{ type: "so_far", content: string }} SoFarEvent
 */

/**
 * The model was done.
 * @typedef {object} DoneEvent
 * @property {"done"} type
 * @property {string} content The whole answer.
 * @property {Source[]} sources
 * @property {Ending} finish_reason
 */

/**
 * Figures, beside `done` or before `error`.
 * @typedef {object} MetadataEvent
 * @property {"metadata"} type
 * @property {number} token_count
 * @property {number} duration_ms
 * @property {number | null} ttft_ms
 * @property {Usage} [usage]
 * @property {Timing} [timing]
 */

/**
 * The answer did not end well.
 * @typedef {object} ErrorEvent
 * @property {"error"} type
 * @property {string} content What happened.
 * @property {string} code One of the server's error codes, which never change.
 * @property {Ending} ending
 * @property {boolean} partial Whether something was said before.
 */

/**
 * One event of a stream. A newer server may send types that are not listed: pass over what you do not know.
 * @typedef {StartEvent | StatusEvent | SourcesEvent | RationaleEvent | TokenEvent | ToolCallEvent | SoFarEvent | DoneEvent
 *   | MetadataEvent | ErrorEvent} StreamEvent
 */

/** The endings of answers that are as whole as the model made them. @type {ReadonlySet<string>} */
export const FINISHED = new Set(["stop", "length", "tool_calls", "content_filter"]);
