// @headrace/client: reads the streams of a headrace server, in browsers, node, Deno and Bun.

/**
 * @typedef {import("./client.js").ClientOptions} ClientOptions
 * @typedef {import("./client.js").StreamOptions} StreamOptions
 * @typedef {import("./client.js").ResumeOptions} ResumeOptions
 * @typedef {import("./client.js").Message} Message
 * @typedef {import("./stream.js").Numbered} Numbered
 * @typedef {import("./folding.js").Final} Final
 * @typedef {import("./folding.js").ToolCall} ToolCall
 * @typedef {import("./folding.js").Failure} Failure
 * @typedef {import("./measuring.js").Stats} Stats
 * @typedef {import("./events.js").StreamEvent} StreamEvent
 * @typedef {import("./events.js").Ending} Ending
 * @typedef {import("./events.js").Provenance} Provenance
 * @typedef {import("./events.js").Source} Source
 * @typedef {import("./events.js").Usage} Usage
 * @typedef {import("./events.js").Timing} Timing
 * @typedef {import("./transport/connection.js").Connection} Connection
 * @typedef {import("./transport/connection.js").Resuming} Resuming
 */

export { Client } from "./client.js";
export { Stream, StreamFailed } from "./stream.js";
export { newId } from "./transport/client.js";
export { HeadraceError } from "./transport/errors.js";
