// Markdown into elements that can do no harm: what a model writes is text that somebody else chose.
// Raw HTML in it is shown as the text it is; images are links, since the page asks no other host; what comes out is
// cleaned by DOMPurify as well, so that a mistake here is not enough.
import DOMPurify from "dompurify";
import { Marked } from "marked";
import { frame } from "./tables.js";

/** @type {Record<string, string>} */
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escaped = (/** @type {string} */ text) => text.replace(/[&<>"']/g, (sign) => ESCAPES[sign]);
const HARMLESS = /^<(?:br\s*\/?|\/?(?:sub|sup|kbd))>$/i;

const marked = new Marked({
  gfm: true,
  renderer: {
    html: (/** @type {any} */ { text }) => (HARMLESS.test(text.trim()) ? text : escaped(text)),
    image: (/** @type {any} */ { href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    checkbox: (/** @type {any} */ { checked }) => (checked ? "☑ " : "☐ "),
    code: (/** @type {any} */ { text, lang }) =>
      `<pre data-language="${escaped((lang ?? "").trim().split(/\s/)[0])}"><code>${escaped(text)}</code></pre>`,
  },
});

const ALLOWED = {
  ALLOWED_TAGS: (
    "a b blockquote br code del em h1 h2 h3 h4 h5 h6 hr i kbd li ol p pre s strong sub sup table tbody td th thead tr ul"
  ).split(" "),
  ALLOWED_ATTR: ["align", "data-language", "href", "start", "title"],
  ALLOW_DATA_ATTR: false,
  ADD_URI_SAFE_ATTR: ["align", "data-language", "start"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  RETURN_DOM_FRAGMENT: /** @type {const} */ (true),
};
const TEXT_BLOCKS = "p, li, h1, h2, h3, h4, h5, h6, blockquote, td, th";

DOMPurify.addHook("afterSanitizeAttributes", (/** @type {Element} */ node) => {
  if (node.nodeName !== "A") return;
  if (!node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
});

/** The blocks of a text. @param {string} text @returns {import("marked").TokensList} */
export function blocksOf(text) {
  return marked.lexer(text);
}

/**
 * Blocks as elements.
 * @param {import("marked").Token[]} tokens
 * @returns {DocumentFragment}
 */
export function elementsOf(tokens) {
  const made = DOMPurify.sanitize(marked.parser(tokens), ALLOWED);
  for (const block of made.querySelectorAll(TEXT_BLOCKS)) block.setAttribute("dir", "auto");
  // A list's signs, and a table's first column, stand on the side where their words begin; `auto` would not look into
  // items that have their own.
  for (const block of made.querySelectorAll("ul, ol, table")) block.setAttribute("dir", directionOf(block.textContent));
  for (const table of made.querySelectorAll("table")) frame(table);
  return made;
}

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;

/** @param {string} text */
function directionOf(text) {
  return RIGHT_TO_LEFT.test(/\p{L}/u.exec(text)?.[0] ?? "") ? "rtl" : "ltr";
}

/** The language and text of highlighted code: markup out of highlight.js, cleaned like everything else. @param {string} markup */
export function cleanHighlight(markup) {
  return DOMPurify.sanitize(markup, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true });
}
