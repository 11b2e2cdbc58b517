// Where a question is written. Focus stays here while answers come.
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { keep, kept } from "./kept.js";
import { WORDS } from "./words.js";

export function Composer({ house }) {
  const field = useRef(null);
  const text = useSignal(kept("draft") ?? "");
  const running = house.running.value !== null;
  const wide = matchMedia("(min-width: 40rem) and (pointer: fine)").matches;
  useEffect(() => {
    if (wide) field.current.focus();
  }, [house.conversation.value]);

  const send = () => {
    const question = text.value.trim();
    if (!question || running) return;
    text.value = "";
    keep("draft", null);
    house.ask(question);
    field.current.focus();
  };
  const typed = (event) => {
    text.value = event.currentTarget.value;
    keep("draft", text.value || null);
  };
  const pressed = (event) => {
    // While a word is still composed (Chinese, Japanese, Korean), Enter chooses it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  };
  return html`<form
    class="composer column"
    onSubmit=${(event) => {
      event.preventDefault();
      send();
    }}
  >
    <div class="field">
      <textarea
        ref=${field}
        id="question"
        rows="1"
        dir="auto"
        aria-label=${WORDS.ask}
        placeholder=${WORDS.ask}
        value=${text.value}
        onInput=${typed}
        onKeyDown=${pressed}
      ></textarea>
      ${running
        ? html`<button key="stop" type="button" class="go stop" aria-label=${WORDS.stop} title="Stop (Esc)" onClick=${() => house.stop()}>
            <${Icon} name="stop" />
          </button>`
        : html`<button key="send" type="submit" class="go" aria-label=${WORDS.send} disabled=${!text.value.trim()}>
            <${Icon} name="send" />
          </button>`}
    </div>
  </form>`;
}
