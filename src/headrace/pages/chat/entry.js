// One conversation in the list: opened, named anew, saved, and deleted with a way back.
import { useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { moment } from "./amounts.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";
import { say } from "./words.js";

const KINDS = /** @type {const} */ ([
  { kind: "md", named: "export.md" },
  { kind: "json", named: "export.json" },
  { kind: "ndjson", named: "export.events" },
]);

/** @param {{ entry: import("./shelf.js").Entry, house: import("./house.js").House }} properties */
export function Entry({ entry, house }) {
  const { id, title, at, running } = entry;
  const here = id === house.conversation.value.id;
  const named = useSignal(false);
  if (named.value) return html`<li><${Naming} entry=${entry} house=${house} ondone=${() => (named.value = false)} /></li>`;
  return html`<li>
    <a href=${`#c=${id}`} aria-current=${here ? "page" : undefined} title=${moment(at)} onClick=${() => house.close("list")}>
      <span dir="auto">${title}</span>
      ${running && html`<span class="pulse" role="img" aria-label=${say("conversations.running")}></span>`}
    </a>
    <${Menu} name=${say("conversation.actions", { title })} kind="list">
      <button type="button" data-closes onClick=${() => (named.value = true)}><${Icon} name="edit" />${say("conversation.rename")}</button>
      <hr />
      <h3>${say("export")}</h3>
      ${KINDS.map(
        ({ kind, named }) => html`<button key=${kind} type="button" data-closes onClick=${() => house.saveConversation(entry, kind)}>
          <${Icon} name="save" />${say(named)}
        </button>`,
      )}
      <hr />
      <button type="button" data-closes onClick=${() => house.delete(entry)}><${Icon} name="delete" />${say("conversation.delete")}</button>
    <//>
  </li>`;
}

/** @param {{ entry: import("./shelf.js").Entry, house: import("./house.js").House, ondone: () => void }} properties */
function Naming({ entry, house, ondone }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useLayoutEffect(() => field.current?.select(), []);
  const done = (/** @type {boolean} */ kept) => {
    const title = field.current?.value.trim();
    if (kept && title && title !== entry.title) house.rename(entry, title);
    ondone();
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    event.stopPropagation();
    done(event.key === "Enter");
  };
  return html`<input
    ref=${field}
    class="naming"
    dir="auto"
    aria-label=${say("conversation.title")}
    defaultValue=${entry.title}
    maxlength="200"
    onKeyDown=${pressed}
    onBlur=${() => done(true)}
  />`;
}
