// What is there before anything was asked, while a conversation is read, where there is none, and where a key is given.
import { useSignal } from "@preact/signals";
import { Sign } from "./brand.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function Start({ house }) {
  const questions = [say("start.1"), say("start.2"), say("start.3")];
  return html`<div class="start column">
    <${Sign} />
    <h1>${say("start.title")}</h1>
    <ul>
      ${questions.map(
        (each) => html`<li key=${each}><button type="button" onClick=${() => house.ask(each)}>${each}</button></li>`,
      )}
    </ul>
  </div>`;
}

/** While a conversation is being read: its shape, and nothing that could be taken for it. */
export function Loading() {
  return html`<div class="middle loading" role="status" aria-label=${say("conversation.loading")}>
    <div class="column">
      <span class="ghost question"></span>
      <span class="ghost"></span>
      <span class="ghost"></span>
      <span class="ghost short"></span>
    </div>
  </div>`;
}

/** A conversation, or an answer, that is not there. @param {{ house: import("./house.js").House }} properties */
export function Gone({ house }) {
  return html`<div class="start gone column">
    <h1>${say(house.mayAsk ? "conversation.gone" : "link.gone")}</h1>
    <button type="button" class="first" onClick=${() => house.begin()}><${Icon} name="new" />${say("conversation.new")}</button>
  </div>`;
}

/** @param {{ house: import("./house.js").House }} properties */
export function Login({ house }) {
  const problem = useSignal(/** @type {string | null} */ (null));
  const send = async (/** @type {any} */ event) => {
    event.preventDefault();
    problem.value = null;
    try {
      await house.login(event.currentTarget.elements.key.value);
    } catch (error) {
      problem.value = /** @type {Error} */ (error).message;
    }
  };
  return html`<form class="start login column" onSubmit=${send}>
    <h1>${say("key.needed")}</h1>
    <label>${say("key")}<input name="key" type="password" autocomplete="current-password" required /></label>
    ${problem.value && html`<p role="alert" class="ending failed" dir="auto">${problem.value}</p>`}
    <button type="submit" class="first">${say("key.logIn")}</button>
  </form>`;
}
