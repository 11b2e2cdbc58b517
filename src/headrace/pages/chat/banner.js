// What is wrong with the line as a whole, said above the field; what is wrong with one answer stands with the answer.
import { html } from "./html.js";
import { useSecondsUntil } from "./standing.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function Banner({ house }) {
  const until = house.awayUntil.value;
  const left = useSecondsUntil(until);
  if (house.running.value !== null) return null;
  if (!house.online.value) return html`<div class="banner column" data-state="offline"><p role="alert">${say("away.offlineIdle")}</p></div>`;
  if (until === null) return null;
  return html`<div class="banner column" data-state="away">
    <p role="alert">
      <span>${say("away.server")}</span>
      <span aria-hidden="true">${say("away.again", { count: left ?? 0 })}</span>
      <button type="button" onClick=${() => house.look()}>${say("away.now")}</button>
    </p>
  </div>`;
}
