// A button beside code and tables that copies them; those are no part of what Preact draws.
import { copied } from "./files.js";
import { say } from "./words.js";

const SHOWN_MILLISECONDS = 1600;

/** @param {string} name What it is called. @param {() => string} text What it copies. */
export function copyingButton(name, text) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = name;
  made.addEventListener("click", async () => {
    made.textContent = say((await copied(text())) ? "copied" : "copy.byHand");
    setTimeout(() => (made.textContent = name), SHOWN_MILLISECONDS);
  });
  return made;
}
