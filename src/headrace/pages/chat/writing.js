// Markdown that is still being written. Finished blocks are drawn once and never touched again; only the unfinished
// tail is drawn anew, at most once a frame. A fence that is still open just grows.
import remend from "remend";
import { CodeBlock } from "./code.js";
import { blocksOf, elementsOf } from "./markdown.js";

const OPEN_FENCE = /^ {0,3}(`{3,}|~{3,})[^\n]*(?:\n|$)/;

/** How much is read at once, in characters, and how long it is drawn in one frame. */
const MOST_READ = 2048;
const MOST_MILLISECONDS = 8;

/** Draws a growing text into `element`. */
export class Writing {
  /**
   * @param {HTMLElement} element
   * @param {(block: HTMLElement) => void} finished Called with each block once it is there to stay.
   */
  constructor(element, finished = () => {}) {
    this.element = element;
    this._finished = finished;
    this._done = 0;
    this._defines = false;
    /** @type {CodeBlock | null} The fence that is still open. */
    this._fence = null;
    this._tail = document.createElement("div");
    this._tail.className = "block tail";
    element.append(this._tail);
  }

  /**
   * Draws what is there, or as much of it as one frame has room for.
   * @param {string} text All of it so far.
   * @param {boolean} whole Whether nothing comes after it.
   * @returns {boolean} Whether everything is drawn; if not, call it again in the next frame.
   */
  draw(text, whole) {
    const began = performance.now();
    const all = text.includes("\r") ? text.replaceAll("\r", "") : text;
    for (let length = MOST_READ; ; ) {
      const rest = all.slice(this._done, this._done + length);
      const last = this._done + rest.length === all.length;
      const before = this._done;
      this._drawPiece(rest, whole && last, last);
      if (last) {
        if (whole && this._defines) this._drawAnew(all);
        return true;
      }
      // One block that is longer than what was read: more of it is needed to see where it ends.
      if (this._done === before) length *= 2;
      else length = MOST_READ;
      if (performance.now() - began > MOST_MILLISECONDS && this._done !== before) return false;
    }
  }

  /** Draws a piece that begins behind what is finished. @param {string} rest @param {boolean} whole @param {boolean} drawsTail */
  _drawPiece(rest, whole, drawsTail) {
    const tokens = blocksOf(rest);
    this._defines ||= Object.keys(tokens.links).length > 0;
    let last = tokens.length - 1;
    while (last >= 0 && tokens[last].type === "space") last -= 1;
    const staying = whole ? tokens.length : last >= 0 && isClosedFence(tokens[last], last + 1 < tokens.length) ? last + 1 : Math.max(0, last);
    for (const token of tokens.slice(0, staying)) this._stay(token);
    if (drawsTail) this._drawTail(whole || staying > last ? null : tokens[last]);
    else if (staying > 0) this._drawTail(null); // the rest of it follows at once
  }

  /** Once, at the end: an address at the foot of the text belongs to links in blocks that were finished before it. @param {string} text */
  _drawAnew(text) {
    this._defines = false;
    this._done = 0;
    this._tail.replaceChildren();
    this.element.replaceChildren(this._tail);
    for (const token of blocksOf(text)) this._stay(token);
  }

  /** @param {import("marked").Token} token */
  _stay(token) {
    this._done += token.raw.length;
    if (token.type === "space" || token.type === "def") return;
    const block = document.createElement("div");
    block.className = "block";
    if (this._fence !== null && token.type === "code") {
      // It has stood there since it was opened, and stays where it is.
      this._fence.grow(token.text);
      this._fence.finish();
      this._fence = null;
      this._tail.className = "block";
      const kept = this._tail;
      this._tail = document.createElement("div");
      this._tail.className = "block tail";
      kept.after(this._tail);
      this._finished(kept);
      return;
    }
    block.append(elementsOf([token]));
    for (const pre of block.querySelectorAll("pre")) {
      const code = new CodeBlock(pre.dataset.language ?? "", pre.textContent ?? "");
      pre.replaceWith(code.element);
      code.finish();
    }
    this._tail.before(block);
    this._finished(block);
  }

  /** @param {import("marked").Token | null} token */
  _drawTail(token) {
    if (token === null) {
      this._fence = null;
      this._tail.replaceChildren();
      return;
    }
    const code = token.type === "code" ? /** @type {import("marked").Tokens.Code} */ (token) : null;
    const opening = OPEN_FENCE.exec(code?.raw ?? "");
    if (code !== null && opening !== null && opening[0].endsWith("\n")) {
      if (this._fence === null) {
        this._fence = new CodeBlock((code.lang ?? "").trim().split(/\s/)[0]);
        this._tail.replaceChildren(this._fence.element);
      }
      this._fence.grow(code.text);
      return;
    }
    this._fence = null;
    this._tail.replaceChildren(elementsOf(blocksOf(remend(token.raw))));
  }
}

/** Whether a fence has its closing line, whole. @param {import("marked").Token} token @param {boolean} followed */
function isClosedFence(token, followed) {
  if (token.type !== "code") return false;
  const opening = OPEN_FENCE.exec(token.raw);
  if (opening === null) return false;
  const lines = token.raw.trimEnd().split("\n");
  return lines.length > 1 && (followed || token.raw.endsWith("\n")) && lines[lines.length - 1].trim().startsWith(opening[1]);
}
