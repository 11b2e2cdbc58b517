// Where one writes in a conversation, an answer that is shown by its link says what it is, and where it belongs.
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Linked } from "./linked.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function LinkedFoot({ house }) {
  const shown = house.conversation.value;
  const conversation = shown instanceof Linked ? shown.belongsTo.value : null;
  return html`<div class="composer column">
    <div class="linked">
      <span>${say("link.one")}</span>
      ${house.running.value !== null &&
      html`<button type="button" onClick=${() => house.stop()}><${Icon} name="stop" />${say("question.stop")}</button>`}
      ${conversation && html`<a href=${`#c=${conversation}`}>${say("link.conversation")}</a>`}
    </div>
  </div>`;
}
