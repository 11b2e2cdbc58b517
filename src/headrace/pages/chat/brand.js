// The sign and the name of what is served here.
import { html } from "./html.js";

const SIGN = new URL("../headrace.svg", import.meta.url).href;

/** The name, which leads to a new conversation. */
export function Brand() {
  return html`<a class="brand" href="/chat"><${Sign} />headrace</a>`;
}

export function Sign() {
  return html`<img class="mark" src=${SIGN} alt="" width="24" height="24" />`;
}
