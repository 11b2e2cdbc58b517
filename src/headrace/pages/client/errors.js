// What can go wrong between a program and a headrace server, as one class.

/** An answer that was an error. `code` is one of the server's error codes, which never change. */
export class HeadraceError extends Error {
  /**
   * @param {string} message What happened and what to do about it.
   * @param {{ code?: string | null, status?: number | null, body?: any, retryAfterSeconds?: number | null }} known
   */
  constructor(message, { code = null, status = null, body = null, retryAfterSeconds = null } = {}) {
    super(message);
    this.name = "HeadraceError";
    this.code = code;
    this.status = status;
    this.body = body;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may succeed later: the server or what stands before it is away, or has too much to do. */
  get passing() {
    return this.status === null || [429, 502, 503, 504].includes(this.status);
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
  return new HeadraceError(told.message ?? `the server answered ${response.status}`, {
    code: told.code ?? null,
    status: response.status,
    body,
    retryAfterSeconds: Number.isFinite(after) ? after : null,
  });
}
