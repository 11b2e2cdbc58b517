// ‹1/2›: which of several is shown.
import { html } from "./html.js";
import { Icon } from "./icons.js";

/**
 * @param {{ count: number, shown: import("@preact/signals").Signal<number>, previous: string, next: string }} properties
 *   `previous` and `next`: what the two buttons are called.
 */
export function Versions({ count, shown, previous, next }) {
  if (count < 2) return null;
  const place = shown.value;
  return html`<span class="versions">
    <button type="button" class="sign" aria-label=${previous} title=${previous} disabled=${place === 0} onClick=${() => shown.value--}>
      <${Icon} name="left" />
    </button>
    ${place + 1}/${count}
    <button type="button" class="sign" aria-label=${next} title=${next} disabled=${place === count - 1} onClick=${() => shown.value++}>
      <${Icon} name="right" />
    </button>
  </span>`;
}
