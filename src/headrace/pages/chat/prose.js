// The text of an answer, drawn while it is written; numbers in brackets become signs that lead to their sources.
import { useEffect, useRef } from "preact/hooks";
import { cite } from "./citations.js";
import { drawing } from "./frames_of_time.js";
import { html } from "./html.js";
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
