// A headrace server as a program in JavaScript sees it: questions, streams, models. No dependencies but the SSE parser.
import { PATIENT } from "./connection.js";
import { HeadraceError, errorOf } from "./errors.js";
import { Stream } from "./stream.js";

const HEARTBEAT_SECONDS = 5;
/** How long an answer may take that is not a stream: a connection can be dead without anybody having been told. */
const ANSWER_SECONDS = 15;

/** A client of one server. Nothing is opened before something is asked. */
export class Client {
  #url;
  #key;

  /**
   * @param {{ url?: string, key?: string | null, resuming?: Partial<import("./connection.js").Resuming>, heartbeatSeconds?: number }} options
   *   `url`: of the server; left out: the one the page came from. `resuming`: when a reader that was cut off gives up.
   */
  constructor({ url = "", key = null, resuming = {}, heartbeatSeconds = HEARTBEAT_SECONDS } = {}) {
    /** How often a server that has nothing to say shall say so. */
    this.heartbeatSeconds = heartbeatSeconds;
    /** When a reader that was cut off gives up. */
    this.resuming = { ...PATIENT, ...resuming };
    this.#url = url.replace(/\/+$/, "");
    this.#key = key;
  }

  /**
   * The page's way to ask. The stream has its id before the request leaves, so it can be resumed whatever happens to that.
   * @param {Record<string, unknown>} question The body of `POST /chat/{assistant}`.
   * @param {{ assistant?: string, id?: string }} options `id`: left out, one that nobody else has.
   * @internal
   */
  ask(question, { assistant = "basic", id } = {}) {
    return new Stream(this, { id: id ?? newId(), unique: id === undefined, question, assistant });
  }

  /**
   * Joins a stream that exists, behind the event `after`.
   * @param {string} id
   * @param {{ after?: number }} options
   */
  resume(id, { after = -1 } = {}) {
    return new Stream(this, { id, after });
  }

  /**
   * Stops a stream for everybody, up to its upstream. One that has ended stays as it is.
   * @param {string} id
   * @returns {Promise<{ id: string, state: string, cancelled: boolean }>} `cancelled`: false where it had ended by itself.
   */
  async cancel(id) {
    return this.#json(`/v1/streams/${encodeURIComponent(id)}/cancel`, { method: "POST" });
  }

  /** What is known of a stream. @param {string} id @returns {Promise<any>} */
  async show(id) {
    return this.#json(`/v1/streams/${encodeURIComponent(id)}`);
  }

  /**
   * Your streams, newest first.
   * @param {Record<string, string | number>} query
   * @returns {Promise<{ data: any[], has_more: boolean, last_id: string | null }>}
   */
  async streams(query = {}) {
    const words = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    return this.#json(`/v1/streams?${words}`);
  }

  /** Forgets a stream. @param {string} id */
  async forget(id) {
    return this.#json(`/v1/streams/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  /** The models that can be asked. @returns {Promise<{ id: string, [field: string]: any }[]>} */
  async models() {
    return (await this.#json("/v1/models")).data;
  }

  /** How the server and its upstreams are. @returns {Promise<any>} */
  async health() {
    return this.#json("/health");
  }

  /** Exchanges a key for a cookie. @param {string} key */
  async login(key) {
    return this.#json("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key }),
    });
  }

  /** A request to the server, with the key where there is one. @param {string} path @param {RequestInit} options */
  async fetch(path, options = {}) {
    const headers = new Headers(options.headers);
    if (this.#key !== null) headers.set("Authorization", `Bearer ${this.#key}`);
    try {
      return await fetch(this.#url + path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error; // it was left: that is nobody's fault
      const server = this.#url || "the server";
      throw new HeadraceError(`nothing answers at ${server}`, { code: "upstream_unreachable", cause: error });
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} options
   * @returns {Promise<any>}
   */
  async #json(path, options = {}) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), ANSWER_SECONDS * 1000);
    try {
      const response = await this.fetch(path, { ...options, signal: late.signal });
      if (!response.ok) throw await errorOf(response);
      return await response.json();
    } catch (cause) {
      if (cause instanceof HeadraceError) throw cause;
      const what = late.signal.aborted ? `the server did not answer in ${ANSWER_SECONDS} s` : "the connection broke";
      throw new HeadraceError(what, { code: "upstream_reset", cause });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** An id that nobody guesses: 128 bits of chance, as streams and conversations have. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
