// A sheet over the page: shown while it is asked for, closed by Escape and by a click beside it.
import { useLayoutEffect, useRef } from "preact/hooks";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { say } from "./words.js";

/** @param {{ shown: boolean, title: string, kind: string, onclose: () => void, children: any }} properties */
export function Sheet({ shown, title, kind, onclose, children }) {
  const sheet = useRef(/** @type {HTMLDialogElement | null} */ (null));
  // Not a moment later: the next key may be pressed already.
  useLayoutEffect(() => {
    const element = /** @type {HTMLDialogElement} */ (sheet.current);
    if (shown && !element.open) element.showModal();
    if (!shown && element.open) element.close();
  }, [shown]);
  const clicked = (/** @type {Event} */ event) => event.target === sheet.current && onclose();
  return html`<dialog ref=${sheet} class=${`sheet ${kind}`} aria-label=${title} onClose=${onclose} onClick=${clicked}>
    <div class="inside">
      <div class="heading">
        <h2>${title}</h2>
        <button type="button" class="sign" aria-label=${say("close")} title=${say("close")} onClick=${onclose}><${Icon} name="close" /></button>
      </div>
      ${shown && children}
    </div>
  </dialog>`;
}
