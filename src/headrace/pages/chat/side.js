// The list of conversations, and the sheet of keys: both stand beside the conversation only while they are asked for.
import { useEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { WORDS } from "./words.js";

export function Conversations({ house }) {
  const shown = house.listShown.value;
  useEffect(() => {
    if (shown) house.lookForConversations();
  }, [shown]);
  return html`<${Sheet} shown=${shown} title=${WORDS.conversations} kind="list" onclose=${() => (house.listShown.value = false)}>
    <button
      type="button"
      class="wide"
      onClick=${() => {
        house.listShown.value = false;
        house.begin();
      }}
    >
      <${Icon} name="new" />${WORDS.newConversation}
    </button>
    ${house.conversations.value.length === 0 && html`<p class="quiet">${WORDS.none}</p>`}
    <ul>
      ${house.conversations.value.map(
        ({ id, title, at, running }) => html`<li key=${id}>
          <a
            href=${`#c=${id}`}
            aria-current=${id === house.conversation.value.id ? "page" : undefined}
            onClick=${() => (house.listShown.value = false)}
          >
            <span dir="auto">${title}</span>
            <small>${running && html`<span class="pulse"></span>`}${at && when(at)}</small>
          </a>
        </li>`,
      )}
    </ul>
  <//>`;
}

export function Keys({ house }) {
  return html`<${Sheet} shown=${house.keysShown.value} title="Keys" kind="keys" onclose=${() => (house.keysShown.value = false)}>
    <dl>
      ${WORDS.keys.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}
    </dl>
  <//>`;
}

function Sheet({ shown, title, kind, onclose, children }) {
  const sheet = useRef(null);
  useEffect(() => {
    if (shown && !sheet.current.open) sheet.current.showModal();
    if (!shown && sheet.current.open) sheet.current.close();
  }, [shown]);
  const clicked = (event) => event.target === sheet.current && onclose();
  return html`<dialog ref=${sheet} class=${`sheet ${kind}`} aria-label=${title} onClose=${onclose} onClick=${clicked}>
    <div class="inside">
      <div class="heading">
        <h2>${title}</h2>
        <button type="button" class="sign" aria-label="Close" onClick=${onclose}><${Icon} name="close" /></button>
      </div>
      ${shown && children}
    </div>
  </dialog>`;
}

function when(at) {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return date.toLocaleString(undefined, today ? { timeStyle: "short" } : { dateStyle: "medium" });
}
