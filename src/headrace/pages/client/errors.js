// What can go wrong between a program and a headrace server, as one class.

/** Statuses below 500 after which the same request may succeed later. */
const RETRYABLE = new Set([408, 425, 429]);

/**
 * What is known of an error beside its message.
 * @typedef {object} Known
 * @property {string | null} [code]
 * @property {number | null} [status]
 * @property {any} [body]
 * @property {number | null} [retryAfterSeconds]
 * @property {boolean} [retryable]
 * @property {unknown} [cause]
 */

/** Something went wrong: the server refused, or there was none. `code` is one of the server's error codes, which never change. */
export class HeadraceError extends Error {
  /**
   * @param {string} message What happened and what to do about it.
   * @param {Known} known
   */
  constructor(message, { code = null, status = null, body = null, retryAfterSeconds = null, retryable, cause } = {}) {
    super(message, { cause });
    this.name = "HeadraceError";
    this.code = code;
    /** Of the HTTP answer; `null`: there was none. */
    this.status = status;
    /** What the answer said, where it was JSON. */
    this.body = body;
    /** How long the server wants to be left alone, where it says so. */
    this.retryAfterSeconds = retryAfterSeconds;
    /** Whether the same request may succeed later. */
    this.retryable = retryable ?? (status === null || status >= 500 || RETRYABLE.has(status));
    /** The stream it is about. @type {string | null} */
    this.streamId = null;
    /** What was said before it. */
    this.partial = "";
    /** Whether anything was said before it: text, reasoning, or a tool call. */
    this.afterFirstToken = false;
  }

  /** Whether to knock again at once: the server or what stands before it is away, or has too much to do. @internal */
  get passing() {
    return this.status === null ? this.retryable : [429, 502, 503, 504].includes(this.status);
  }
}

/**
 * The error in an answer that is not a success.
 * @param {Response} response
 */
export async function errorOf(response) {
  const text = await response.text().catch(() => "");
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // Not headrace's own: a proxy in front answers in its own words, which are of no use here.
  }
  const told = body?.error ?? {};
  const after = Number.parseFloat(response.headers.get("retry-after") ?? "");
  const repeatHelps = response.headers.get("x-should-retry") !== "false";
  return new HeadraceError(told.message ?? `the server answered ${response.status}`, {
    code: told.code ?? null,
    status: response.status,
    body,
    retryAfterSeconds: Number.isFinite(after) ? after : null,
    ...(!repeatHelps && { retryable: false }),
  });
}
