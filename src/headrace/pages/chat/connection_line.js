// How a running answer is connected, said only where it is not as one would expect.
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { html } from "./html.js";
import { WORDS } from "./words.js";

export function Connection({ answer }) {
  const left = useSignal(0);
  const state = answer.connection.value;
  useEffect(() => {
    if (state?.name !== "waiting") return;
    const count = () => (left.value = Math.max(0, Math.ceil(state.seconds - (Date.now() - state.since) / 1000)));
    count();
    const timer = setInterval(count, 250);
    return () => clearInterval(timer);
  }, [state]);
  switch (state?.name) {
    case "waiting":
      // The first attempt follows at once: saying so would only flicker.
      if (state.attempt < 3) return null;
      return html`<div class="connection waiting" role="alert">
        <span class="pulse"></span><span>${WORDS.reconnecting(left.value)}</span>
        <button type="button" onClick=${() => answer.hurry()}>${WORDS.tryNow}</button>
      </div>`;
    case "connecting":
      if (state.attempt < 3) return null;
      return html`<div class="connection waiting"><span class="pulse"></span><span>${WORDS.connection.connecting}</span></div>`;
    case "offline":
      return html`<div class="connection offline" role="alert">${WORDS.connection.offline}</div>`;
    case "elsewhere":
      if (answer.ending.value === "cancelled") return null;
      return html`<div class="connection">${WORDS.connection.elsewhere}</div>`;
    default:
      return null;
  }
}
