// The list of conversations: beside them where there is room, else over them while it is asked for.
import { ageOf } from "./amounts.js";
import { Brand } from "./brand.js";
import { Entry } from "./entry.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Notice } from "./notice.js";
import { Sheet } from "./sheet.js";
import { say } from "./words.js";

const AGES = /** @type {const} */ (["today", "yesterday", "week", "older"]);

/** @param {{ house: import("./house.js").House, wide: boolean }} properties */
export function Side({ house, wide }) {
  if (wide) {
    if (!house.choices.side.value) return null;
    return html`<nav class="side list" aria-label=${say("conversations")}>
      <div class="heading">
        <${Brand} />
        <button
          type="button"
          class="sign"
          aria-label=${say("conversations")}
          title=${`${say("conversations")} (Ctrl+B)`}
          aria-expanded="true"
          onClick=${() => house.toggleList()}
        >
          <${Icon} name="menu" />
        </button>
      </div>
      <${List} house=${house} />
    </nav>`;
  }
  const shown = house.sheet.value === "list";
  return html`<${Sheet} shown=${shown} title=${say("conversations")} kind="list" onclose=${() => house.close("list")}>
    <${List} house=${house} />
    <${Notice} house=${house} />
  <//>`;
}

/** @param {{ house: import("./house.js").House }} properties */
function List({ house }) {
  const { shelf } = house;
  const entries = shelf.entries.value;
  const now = new Date();
  return html`
    <button type="button" class="wide" onClick=${() => house.begin()}>
      <${Icon} name="new" /><span>${say("conversation.new")}</span>
    </button>
    <button type="button" class="wide" onClick=${() => (house.sheet.value = "search")}>
      <${Icon} name="search" /><span>${say("search")}</span><kbd>Ctrl K</kbd>
    </button>
    <div class="entries">
      ${shelf.read.value && entries.length === 0 && html`<p class="quiet">${say("conversations.none")}</p>`}
      ${AGES.map((age) => {
        const these = entries.filter((each) => ageOf(each.at, now) === age);
        return (
          these.length > 0 &&
          html`<h3 key=${age}>${say(`conversations.${age}`)}</h3>
            <ul>
              ${these.map((each) => html`<${Entry} key=${each.id} entry=${each} house=${house} />`)}
            </ul>`
        );
      })}
      ${shelf.more.value && html`<button type="button" class="wide" onClick=${() => house.listFurther()}>${say("conversations.more")}</button>`}
    </div>`;
}
