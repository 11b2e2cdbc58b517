// A block of code: its language, wrap, copy; highlighted once, when it is whole and the page has nothing else to do.
import { copyingButton } from "./copying.js";
import { cleanHighlight } from "./markdown.js";
import { say } from "./words.js";

/** Longer code stays plain: colouring it would hold up the page for longer than anybody should notice. */
const MOST_HIGHLIGHTED = 20_000;
const whenIdle = globalThis.requestIdleCallback ?? ((act) => setTimeout(act, 50));
/** @type {any} Read when the first fence has closed. */
let library = null;

/** A block of code that can still grow. */
export class CodeBlock {
  /** @param {string} language @param {string} text */
  constructor(language, text = "") {
    this.element = document.createElement("figure");
    this.element.className = "code";
    this._language = language;
    this._code = document.createElement("code");
    this._text = document.createTextNode(text);
    this._code.append(this._text);
    const pre = document.createElement("pre");
    pre.tabIndex = 0;
    pre.setAttribute("role", "group");
    pre.setAttribute("aria-label", language ? say("code.in", { language }) : say("code"));
    pre.dir = "ltr";
    pre.append(this._code);
    this._wrap = button(say("code.wrap"), () => {
      const wrapped = this.element.classList.toggle("wrapped");
      this._wrap.textContent = say(wrapped ? "code.unwrap" : "code.wrap");
    });
    const copy = copyingButton(say("copy"), () => this.text);
    const bar = document.createElement("figcaption");
    const name = document.createElement("span");
    name.textContent = language || say("code.text");
    bar.append(name, this._wrap, copy);
    this.element.append(bar, pre);
  }

  /** The code as it was written. */
  get text() {
    return this._code.textContent;
  }

  /** Grows to `text`. @param {string} text */
  grow(text) {
    const known = this._text.data;
    if (text.startsWith(known)) this._text.appendData(text.slice(known.length));
    else this._text.data = text;
  }

  /** The code is whole: it is highlighted as soon as nobody is kept waiting by that. */
  finish() {
    if (!this._language || this.text.length > MOST_HIGHLIGHTED) return;
    whenIdle(async () => {
      library ??= (await import("highlight")).default;
      if (!library.getLanguage(this._language)) return;
      const { value } = library.highlight(this.text, { language: this._language, ignoreIllegals: true });
      this._code.replaceChildren(cleanHighlight(value));
    });
  }
}

/** @param {string} words @param {() => void} act */
function button(words, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = words;
  made.addEventListener("click", act);
  return made;
}
