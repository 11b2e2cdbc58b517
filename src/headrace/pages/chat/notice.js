// What was just done, with the way back from it, for a few seconds.
import { html } from "./html.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function Notice({ house }) {
  const told = house.notice.value;
  if (told === null) return null;
  return html`<section class="notice" aria-label=${say("conversation.undo")}>
    <span>${told.words}</span>
    <button type="button" onClick=${told.undo}>${say("conversation.undo")}</button>
  </section>`;
}
