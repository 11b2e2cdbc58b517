// Numbers in brackets as signs that lead to their sources: the passage is shown while one is pointed at or focused, and a
// press opens it below the answer, to stay.
import { say } from "./words.js";

/** @typedef {import("./answer.js").Answer} Answer */
/** @typedef {{ n: number, title: string, passage: string }} Source */

const NUMBER = /\[(\d{1,3})\]/g;
/** How far the card stays away from its sign and from the edges of the window, in pixels. */
const APART = 6;
const EDGE = 8;
/** How long it stays when the pointer has left: enough to move onto it, and to read on there. */
const STAYS_MILLISECONDS = 200;

/**
 * Makes the `[n]` of a finished block lead to source n, where there is one. The text stays as it is.
 * @param {HTMLElement} block
 * @param {Answer} answer
 */
export function cite(block, answer) {
  const sources = answer.sources.peek();
  if (!sources.length) return;
  const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
  /** @type {Text[]} */
  const texts = [];
  while (walker.nextNode()) {
    const text = /** @type {Text} */ (walker.currentNode);
    if (!text.parentElement?.closest("code, a, pre")) texts.push(text);
  }
  for (const text of texts) {
    const pieces = [];
    let behind = 0;
    for (const found of text.data.matchAll(NUMBER)) {
      const source = sources.find((each) => each.n === Number(found[1]));
      if (!source) continue;
      pieces.push(text.data.slice(behind, found.index), signOf(found[0], source));
      behind = found.index + found[0].length;
    }
    if (pieces.length) text.replaceWith(...pieces, text.data.slice(behind));
  }
}

/** @param {string} text @param {Source} source */
function signOf(text, source) {
  const sign = document.createElement("button");
  sign.type = "button";
  sign.className = "cite";
  sign.textContent = text;
  sign.setAttribute("aria-label", say("source.named", { number: source.n, title: source.title }));
  sign.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && card.show(sign, source));
  sign.addEventListener("pointerleave", () => card.hideSoon());
  // A press focuses as well, and opens the passage elsewhere: only who came by the keyboard is shown it here.
  sign.addEventListener("focus", () => sign.matches(":focus-visible") && card.show(sign, source));
  sign.addEventListener("blur", () => card.hide());
  sign.addEventListener("click", () => {
    card.hide();
    open(sign, source.n);
  });
  return sign;
}

/** Opens the passage below the answer. @param {HTMLElement} sign @param {number} number */
function open(sign, number) {
  const panel = sign.closest(".answer")?.querySelector(".sources");
  const entry = panel?.querySelector(`[data-n="${number}"]`);
  if (!(panel instanceof HTMLDetailsElement && entry instanceof HTMLDetailsElement)) return;
  panel.open = true;
  entry.open = true;
  entry.querySelector("summary")?.focus();
  entry.scrollIntoView({ block: "nearest" });
}

/** The passage beside its sign: one for the whole page, in the browser's top layer. */
class Card {
  constructor() {
    this._timer = 0;
    /** @type {HTMLElement | null} The sign it stands at. */
    this._sign = null;
    /** @type {HTMLElement | null} */
    this._element = null;
    this._pressed = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // no answer is stopped by it
      this.hide();
    };
    this._scrolled = (/** @type {Event} */ event) => {
      if (event.target !== this._element) this._place();
    };
  }

  /** @param {HTMLElement} sign @param {Source} source */
  show(sign, source) {
    this.hide();
    const element = this._made();
    const [title, passage] = element.children;
    title.textContent = `${source.n} · ${source.title}`;
    passage.textContent = source.passage;
    sign.closest(".answer")?.append(element); // gone with what it belongs to, and no part of the text
    if (!element.isConnected) return;
    element.showPopover();
    element.scrollTop = 0;
    this._sign = sign;
    sign.setAttribute("aria-describedby", element.id);
    this._place();
    addEventListener("keydown", this._pressed, { capture: true });
    addEventListener("scroll", this._scrolled, { capture: true, passive: true });
  }

  hideSoon() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this.hide(), STAYS_MILLISECONDS);
  }

  hide() {
    clearTimeout(this._timer);
    removeEventListener("keydown", this._pressed, { capture: true });
    removeEventListener("scroll", this._scrolled, { capture: true });
    this._sign?.removeAttribute("aria-describedby");
    this._sign = null;
    this._element?.remove();
  }

  /** Below the sign, or above it where there is more room; gone where the sign is out of sight. */
  _place() {
    const element = this._element;
    const sign = this._sign?.getBoundingClientRect();
    if (!element || !sign) return;
    if (sign.bottom < 0 || sign.top > innerHeight) {
      this.hide();
      return;
    }
    element.style.maxHeight = "";
    const below = innerHeight - sign.bottom - APART - EDGE;
    const above = sign.top - APART - EDGE;
    const up = element.offsetHeight > below && above > below;
    const height = Math.min(element.offsetHeight, up ? above : below);
    element.style.maxHeight = `${height}px`;
    element.style.top = `${up ? sign.top - APART - height : sign.bottom + APART}px`;
    const left = (sign.left + sign.right - element.offsetWidth) / 2;
    element.style.left = `${Math.max(EDGE, Math.min(left, innerWidth - element.offsetWidth - EDGE))}px`;
  }

  _made() {
    if (this._element) return this._element;
    const element = document.createElement("span");
    element.id = "passage";
    element.className = "passage";
    element.setAttribute("role", "tooltip");
    element.popover = "manual";
    for (const name of ["title", "text"]) {
      const part = document.createElement("span");
      part.className = name;
      part.dir = "auto";
      element.append(part);
    }
    element.addEventListener("pointerenter", () => clearTimeout(this._timer));
    element.addEventListener("pointerleave", () => this.hideSoon());
    this._element = element;
    return element;
  }
}

const card = new Card();
