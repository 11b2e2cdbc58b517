// Ctrl+K: the conversations whose words are looked for, found while one types, chosen with the arrows and Enter.
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { moment } from "./amounts.js";
import { html } from "./html.js";
import { Sheet } from "./sheet.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function Search({ house }) {
  const shown = house.sheet.value === "search";
  return html`<${Sheet} shown=${shown} title=${say("search.in")} kind="search" onclose=${() => house.close("search")}>
    <${Field} house=${house} />
  <//>`;
}

/** @param {{ house: import("./house.js").House }} properties */
function Field({ house }) {
  const words = useSignal("");
  const found = useSignal(/** @type {import("./shelf.js").Found[]} */ ([]));
  const chosen = useSignal(0);
  const asked = useRef(0);
  useEffect(() => {
    const turn = ++asked.current;
    const timer = setTimeout(async () => {
      const answer = await house.search(words.value);
      if (answer === null || turn !== asked.current) return; // something else has been typed since
      found.value = answer;
      chosen.value = 0;
    }, words.value ? 120 : 0);
    return () => clearTimeout(timer);
  }, [words.value]);
  const go = (/** @type {string} */ id) => {
    house.close("search");
    location.hash = `c=${id}`;
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const count = found.value.length;
    if (step && count) {
      event.preventDefault();
      chosen.value = (chosen.value + step + count) % count;
      document.getElementById(`found-${chosen.value}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && count) {
      event.preventDefault();
      go(found.value[chosen.value].id);
    }
  };
  return html`
    <input
      type="text"
      enterkeyhint="search"
      autofocus
      role="combobox"
      aria-label=${say("search.in")}
      placeholder=${say("search.in")}
      aria-expanded="true"
      aria-controls="found"
      aria-activedescendant=${found.value.length ? `found-${chosen.value}` : undefined}
      autocomplete="off"
      value=${words.value}
      onInput=${(/** @type {any} */ event) => (words.value = event.currentTarget.value)}
      onKeyDown=${pressed}
    />
    <p class="unseen" role="status">${words.value && say("search.found", { count: found.value.length })}</p>
    ${words.value && found.value.length === 0 && html`<p class="quiet">${say("search.none", { words: words.value })}</p>`}
    <ul id="found" role="listbox" aria-label=${say("conversations")}>
      ${found.value.map(
        (each, place) => html`<li
          key=${each.id}
          id=${`found-${place}`}
          role="option"
          aria-selected=${place === chosen.value ? "true" : "false"}
          onClick=${() => go(each.id)}
          onPointerMove=${() => (chosen.value = place)}
        >
          <span class="line"><span class="title" dir="auto">${each.title}</span><small>${moment(each.at)}</small></span>
          ${each.snippet.length > 0 &&
          html`<span class="snippet" dir="auto">${each.snippet.map((piece) => (piece.match ? html`<mark>${piece.text}</mark>` : plain(piece.text)))}</span>`}
        </li>`,
      )}
    </ul>`;
}

/** Words without the marks of Markdown, which cannot be drawn in half a line of it. @param {string} text */
function plain(text) {
  return text.replace(/[*`~#|]+|(?<=\s):?-{3,}:?(?=\s)/g, "").replace(/\s+/g, " ");
}
