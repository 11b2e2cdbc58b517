// What is there before anything was asked, and where a key is given.
import { useSignal } from "@preact/signals";
import { html } from "./html.js";
import { WORDS } from "./words.js";

const SUGGESTIONS = [
  "How does headrace resume a stream?",
  "What happens when I press Stop?",
  "Which APIs can I call it with?",
];

export function Start({ house }) {
  return html`<div class="start column">
    <h1>What would you like to know?</h1>
    <ul>
      ${SUGGESTIONS.map(
        (each) => html`<li key=${each}><button type="button" onClick=${() => house.ask(each)}>${each}</button></li>`,
      )}
    </ul>
  </div>`;
}

export function Login({ house }) {
  const problem = useSignal(null);
  const send = async (event) => {
    event.preventDefault();
    problem.value = null;
    try {
      await house.login(event.currentTarget.elements.key.value);
    } catch (error) {
      problem.value = error.message;
    }
  };
  return html`<form class="start login column" onSubmit=${send}>
    <h1>${WORDS.keyNeeded}</h1>
    <label>${WORDS.key}<input name="key" type="password" autocomplete="current-password" required /></label>
    ${problem.value && html`<p role="alert" class="ending failed">${problem.value}</p>`}
    <button type="submit">${WORDS.logIn}</button>
  </form>`;
}
