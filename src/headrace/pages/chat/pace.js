// How quickly an answer is coming, while it comes: an estimate, since nobody has counted its tokens yet.

/** Over how long it is measured: the last seconds, not all of the past. */
const WINDOW_MILLISECONDS = 4000;

// Scripts written without spaces, where a token is about one character; and those with about two characters a token.
const DENSE = /[\u0e00-\u0e7f\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u{10000}-\u{10ffff}]/gu;
const MIDDLING = /[\u0370-\u0dff\u1000-\u1fff]/g;

/** About how many tokens a text is; by the same rule as the server's own estimate (`headrace.usage`). @param {string} text */
export function estimateTokens(text) {
  const dense = text.match(DENSE)?.length ?? 0;
  const middling = text.match(MIDDLING)?.length ?? 0;
  return dense + middling / 2 + (text.length - dense - middling) / 4;
}

/** Looks at a growing text now and then, and says how quickly it grows. */
export class Pace {
  constructor() {
    /** @type {{ at: number, tokens: number }[]} */
    this._seen = [];
    this._length = 0;
    this._tokens = 0;
  }

  /**
   * Tokens a second, or `null` where it is too early to say.
   * @param {string} text All of it so far.
   * @param {number} now In milliseconds.
   */
  look(text, now) {
    this._tokens += estimateTokens(text.slice(this._length));
    this._length = text.length;
    this._seen.push({ at: now, tokens: this._tokens });
    while (this._seen.length > 2 && now - this._seen[0].at > WINDOW_MILLISECONDS) this._seen.shift();
    const first = this._seen[0];
    if (now - first.at < 900) return null;
    return ((this._tokens - first.tokens) / (now - first.at)) * 1000;
  }
}
