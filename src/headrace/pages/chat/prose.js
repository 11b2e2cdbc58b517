// The text of an answer, drawn while it is written; numbers in brackets become signs that lead to their sources.
import { useEffect, useRef } from "preact/hooks";
import { drawing } from "./frames_of_time.js";
import { html } from "./html.js";
import { say } from "./words.js";
import { Writing } from "./writing.js";

/** @param {{ answer: import("./answer.js").Answer, ondrawn: () => void }} properties */
export function Prose({ answer, ondrawn }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useEffect(() => {
    const writing = new Writing(/** @type {HTMLElement} */ (place.current), (block) => cite(block, answer));
    let drawn = "";
    const draw = drawing(() => {
      const whole = answer.ending.peek() !== null;
      const state = `${answer.text.length} ${whole}`;
      if (state === drawn) return;
      const complete = writing.draw(answer.text, whole);
      if (complete) drawn = state;
      else draw();
      place.current?.setAttribute("aria-busy", String(!(whole && complete)));
      ondrawn();
    });
    answer.listeners.add(draw);
    draw();
    return () => void answer.listeners.delete(draw);
  }, [answer]);
  // What is inside belongs to Writing; Preact keeps its hands off an element without children.
  return html`<div class="prose" ref=${place}></div>`;
}

const NUMBER = /\[(\d{1,3})\]/g;

/** Makes the `[n]` of a finished block lead to source n, where there is one. The text stays as it is. */
/** @param {HTMLElement} block @param {import("./answer.js").Answer} answer */
function cite(block, answer) {
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
      const sign = document.createElement("button");
      sign.type = "button";
      sign.className = "cite";
      sign.textContent = found[0];
      sign.title = source.title;
      sign.setAttribute("aria-label", say("source.named", { number: source.n, title: source.title }));
      sign.addEventListener("click", () => open(block, source.n));
      pieces.push(text.data.slice(behind, found.index), sign);
      behind = found.index + found[0].length;
    }
    if (pieces.length) text.replaceWith(...pieces, text.data.slice(behind));
  }
}

/** @param {HTMLElement} block @param {number} number */
function open(block, number) {
  const panel = block.closest(".answer")?.querySelector(".sources");
  const entry = panel?.querySelector(`[data-n="${number}"]`);
  if (!(panel instanceof HTMLDetailsElement && entry instanceof HTMLDetailsElement)) return;
  panel.open = true;
  entry.open = true;
  entry.querySelector("summary")?.focus();
  entry.scrollIntoView({ block: "nearest" });
}
