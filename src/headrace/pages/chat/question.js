// A question as it was asked, and the field in which it is edited: what is sent then is a branch, and both stay.
import { useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { CopyButton } from "./copy_button.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Versions } from "./versions.js";
import { say } from "./words.js";

/** @param {{ turn: import("./branches.js").Turn, house: import("./house.js").House }} properties */
export function Question({ turn, house }) {
  const edited = house.edited.value === turn;
  return html`<section class="asked">
    <h2 class="unseen">${say("question")}</h2>
    ${edited
      ? html`<${Editing} turn=${turn} house=${house} />`
      : html`<div class="question"><div dir="auto">${turn.question}</div></div>`}
    ${!edited &&
    html`<div class="beneath">
      ${house.mayAsk &&
      html`<button type="button" class="sign" aria-label=${say("question.edit")} title=${say("question.edit")} onClick=${() => (house.edited.value = turn)}>
        <${Icon} name="edit" />
      </button>`}
      <${CopyButton} name=${say("question.copy")} text=${() => turn.question} />
      <${Versions}
        count=${turn.among.turns.value.length}
        shown=${turn.among.shown}
        previous=${say("question.previous")}
        next=${say("question.next")}
      />
    </div>`}
  </section>`;
}

/** @param {{ turn: import("./branches.js").Turn, house: import("./house.js").House }} properties */
function Editing({ turn, house }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const text = useSignal(turn.question);
  useLayoutEffect(() => {
    const element = /** @type {HTMLTextAreaElement} */ (field.current);
    element.focus();
    element.setSelectionRange(element.value.length, element.value.length);
  }, []);
  const leave = () => {
    house.edited.value = null;
    document.getElementById("question")?.focus();
  };
  const send = (/** @type {Event} */ event) => {
    event.preventDefault();
    const question = text.value.trim();
    if (!question || house.running.value) return;
    house.edit(turn, question);
    document.getElementById("question")?.focus();
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      leave();
    } else if (event.key === "Enter" && !event.shiftKey) send(event);
  };
  return html`<form class="editing" onSubmit=${send}>
    <textarea
      ref=${field}
      dir="auto"
      rows="1"
      aria-label=${say("question.edit")}
      value=${text.value}
      onInput=${(/** @type {any} */ event) => (text.value = event.currentTarget.value)}
      onKeyDown=${pressed}
    ></textarea>
    <div>
      <button type="button" onClick=${leave}>${say("question.cancel")}</button>
      <button type="submit" class="first" disabled=${!text.value.trim() || house.running.value !== null}>${say("question.resend")}</button>
    </div>
  </form>`;
}
