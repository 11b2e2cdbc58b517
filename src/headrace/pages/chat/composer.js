// Where a question is written. Focus stays here while answers come; what is written is kept until it is sent.
import { useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { DocumentButton } from "./document_sheet.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { keep, kept } from "./kept.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function Composer({ house }) {
  const field = useRef(/** @type {HTMLTextAreaElement | null} */ (null));
  const conversation = house.conversation.value;
  // A conversation that nobody has begun has no address yet: its draft is that of whichever comes next.
  const draft = conversation.turns.value.length || conversation.state.value !== "new" ? `draft.${conversation.id}` : "draft";
  const text = useSignal(kept(draft) ?? "");
  const running = house.running.value !== null;
  // Before anything more can be typed: what is typed then belongs to the other draft.
  useLayoutEffect(() => {
    text.value = kept(draft) ?? "";
  }, [draft]);
  useLayoutEffect(() => {
    // On a screen that is touched, the keyboard would cover half of it.
    if (matchMedia("(min-width: 40rem) and (pointer: fine)").matches) field.current?.focus();
  }, [conversation]);

  const send = () => {
    const question = text.value.trim();
    if (!question || running) return;
    keep(draft, null);
    text.value = "";
    house.ask(question);
    field.current?.focus();
  };
  const typed = (/** @type {any} */ event) => {
    text.value = event.currentTarget.value;
    keep(draft, text.value || null);
  };
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    // While a word is still composed (Chinese, Japanese, Korean), Enter chooses it.
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && text.value === "" && !running) {
      const last = conversation.turns.value.at(-1);
      if (!last) return;
      event.preventDefault();
      house.edited.value = last;
    }
  };
  return html`<form
    class="composer column"
    onSubmit=${(/** @type {Event} */ event) => {
      event.preventDefault();
      send();
    }}
  >
    <div class="field">
      <textarea
        ref=${field}
        id="question"
        rows="1"
        dir=${text.value ? "auto" : undefined}
        aria-label=${say("question.ask")}
        placeholder=${say("question.ask")}
        value=${text.value}
        onInput=${typed}
        onKeyDown=${pressed}
      ></textarea>
      <${DocumentButton} house=${house} />
      ${running
        ? html`<button key="stop" type="button" class="go stop" aria-label=${say("question.stop")} title=${`${say("question.stop")} (Esc)`} onClick=${() => house.stop()}>
            <${Icon} name="stop" />
          </button>`
        : html`<button key="send" type="submit" class="go" aria-label=${say("question.send")} title=${say("question.send")} disabled=${!text.value.trim()}>
            <${Icon} name="send" />
          </button>`}
    </div>
  </form>`;
}
