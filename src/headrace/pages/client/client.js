// A headrace server as a program in JavaScript sees it: questions, streams, models. No dependencies but the SSE parser.
import { HeadraceError, errorOf } from "./errors.js";
import { Stream } from "./stream.js";

/** How long an answer may take that is not a stream: a connection can be dead without anybody having been told. */
const ANSWER_SECONDS = 15;

/** A client of one server. Nothing is opened before something is asked. */
export class Client {
  /** @param {{ url?: string, key?: string | null }} options `url`: of the server; left out: the one the page came from. */
  constructor({ url = "", key = null } = {}) {
    this._url = url;
    this._key = key;
  }

  /**
   * Asks a question. The stream has its id before the request leaves, so it can be resumed whatever happens to that.
   * @param {Record<string, unknown>} question The body of `POST /chat/{assistant}`.
   * @param {{ assistant?: string, id?: string }} options `id`: left out, one that nobody else has.
   */
  ask(question, { assistant = "basic", id } = {}) {
    return new Stream(this, { id: id ?? newId(), unique: id === undefined, question, assistant });
  }

  /**
   * Joins a stream that exists, behind the event `after`.
   * @param {string} id
   * @param {number} after
   */
  resume(id, after = -1) {
    return new Stream(this, { id, after });
  }

  /** Stops a stream for everybody. @param {string} id */
  async cancel(id) {
    return this._json(`/v1/streams/${encodeURIComponent(id)}/cancel`, { method: "POST" });
  }

  /** What is known of a stream. @param {string} id */
  async show(id) {
    return this._json(`/v1/streams/${encodeURIComponent(id)}`);
  }

  /**
   * Your streams, newest first.
   * @param {Record<string, string | number>} query
   * @returns {Promise<{ data: any[], has_more: boolean, last_id: string | null }>}
   */
  async streams(query = {}) {
    const words = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)]));
    return this._json(`/v1/streams?${words}`);
  }

  /** Forgets a stream. @param {string} id */
  async forget(id) {
    return this._json(`/v1/streams/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  async models() {
    return (await this._json("/v1/models")).data;
  }

  async health() {
    return this._json("/health");
  }

  /** Exchanges a key for a cookie. @param {string} key */
  async login(key) {
    return this._json("/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key }),
    });
  }

  /** A request to the server, with the key where there is one. @param {string} path @param {RequestInit} options */
  async fetch(path, options = {}) {
    const key = this._key === null ? {} : { Authorization: `Bearer ${this._key}` };
    try {
      return await fetch(this._url + path, { ...options, headers: { ...options.headers, ...key } });
    } catch (error) {
      throw new HeadraceError("the server cannot be reached", { body: error });
    }
  }

  async _json(path, options = {}) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), ANSWER_SECONDS * 1000);
    try {
      const response = await this.fetch(path, { ...options, signal: late.signal });
      if (!response.ok) throw await errorOf(response);
      return await response.json();
    } catch (error) {
      if (!late.signal.aborted) throw error;
      throw new HeadraceError(`the server did not answer in ${ANSWER_SECONDS} s`, { body: error });
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
