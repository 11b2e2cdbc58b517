// The keys of the page: what they do, and the sheet that says so.
import { html } from "./html.js";
import { Sheet } from "./sheet.js";
import { say } from "./words.js";

const SHOWN = [
  ["Enter", "keys.send"],
  ["Shift + Enter", "keys.line"],
  ["Esc", "keys.stop"],
  ["↑", "keys.edit"],
  ["Ctrl + K", "keys.search"],
  ["Ctrl + Shift + O", "keys.new"],
  ["Ctrl + B", "keys.list"],
  ["/", "keys.question"],
  ["?", "keys.these"],
];

/** Listens for them, as long as the page lives. @param {import("./house.js").House} house */
export function listenForKeys(house) {
  document.addEventListener("keydown", (event) => {
    const target = event.target instanceof HTMLElement ? event.target : document.body;
    const field = target.closest("input:not([type=radio], [type=checkbox]), textarea, select");
    const writes = field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement;
    const withControl = (event.ctrlKey || event.metaKey) && !event.altKey;
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    const does = (/** @type {() => void} */ act) => {
      event.preventDefault();
      act();
    };
    const key = event.key.toLowerCase();
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) house.stop();
    else if (key === "k" && withControl && !event.shiftKey) does(() => (house.sheet.value = "search"));
    else if (key === "o" && withControl && event.shiftKey) does(() => house.begin());
    else if (key === "b" && withControl && !event.shiftKey) does(() => house.toggleList());
    else if (event.key === "/" && plain && !field) does(() => document.getElementById("question")?.focus());
    else if (event.key === "?" && plain && (!field || (writes && field.value === ""))) does(() => (house.sheet.value = "keys"));
  });
}

/** @param {{ house: import("./house.js").House }} properties */
export function Keys({ house }) {
  const shown = house.sheet.value === "keys";
  return html`<${Sheet} shown=${shown} title=${say("keys")} kind="keys" onclose=${() => house.close("keys")}>
    <dl>
      ${SHOWN.map(([key, what]) => html`<div key=${key}><dt><kbd dir="ltr">${key}</kbd></dt><dd>${say(what)}</dd></div>`)}
    </dl>
  <//>`;
}
