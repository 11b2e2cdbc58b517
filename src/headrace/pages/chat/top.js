// The bar at the top: the list of conversations, the title, the model and how it is, what can be chosen.
import { Brand } from "./brand.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Picker } from "./picker.js";
import { Settings } from "./settings.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House, wide: boolean }} properties */
export function Top({ house, wide }) {
  const listed = wide ? house.choices.side.value : house.sheet.value === "list";
  const shown = house.conversation.value;
  const title = house.shelf.titleOf(shown.id) ?? shown.turns.value[0]?.question;
  return html`<header class="top">
    ${!(wide && listed) &&
    html`<button
        type="button"
        class="sign"
        aria-label=${say("conversations")}
        title=${`${say("conversations")} (Ctrl+B)`}
        aria-expanded=${listed ? "true" : "false"}
        onClick=${() => house.toggleList()}
      >
        <${Icon} name="menu" />
      </button>
      <${Brand} />`}
    <p class="title" dir="auto">${title}</p>
    <${Picker} house=${house} />
    <${Settings} house=${house} />
    ${!(wide && listed) &&
    html`<button type="button" class="sign" aria-label=${say("conversation.new")} title=${`${say("conversation.new")} (Ctrl+Shift+O)`} onClick=${() => house.begin()}>
      <${Icon} name="new" />
    </button>`}
  </header>`;
}
