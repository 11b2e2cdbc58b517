// A button that copies a text, and says whether it did.
import { useSignal } from "@preact/signals";
import { copied } from "./files.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { say } from "./words.js";

const SHOWN_MILLISECONDS = 1600;

/** @param {{ name: string, text: () => string }} properties `name`: what is copied, as it is read out. */
export function CopyButton({ name, text }) {
  const done = useSignal("");
  const copy = async () => {
    done.value = (await copied(text())) ? "copied" : "byHand";
    setTimeout(() => (done.value = ""), SHOWN_MILLISECONDS);
  };
  const title = { copied: say("copied"), byHand: say("copy.byHand") }[done.value] ?? name;
  return html`<button type="button" class=${`sign ${done.value}`} title=${title} aria-label=${title} onClick=${copy}>
    <${Icon} name=${done.value === "copied" ? "check" : "copy"} />
  </button>`;
}
