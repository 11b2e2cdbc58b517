// A button that opens a few more: closed by Escape, by a click elsewhere, and when the focus leaves it.
import { useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { html } from "./html.js";
import { Icon } from "./icons.js";

/** What cuts off a panel that reaches out of it. */
const CLIPS = ".entries";
/** How far a panel stays away from the edges of the window, in pixels. */
const EDGE = 8;

/**
 * @param {{ name: string, icon?: string, label?: any, kind?: string, children: any }} properties
 *   `name`: what is read out; `label`: what is shown instead of the icon; `kind`: a class of the panel.
 */
export function Menu({ name, icon = "more", label = null, kind = "", children }) {
  const open = useSignal(false);
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  useLayoutEffect(() => {
    if (!open.value) return undefined;
    const element = /** @type {HTMLElement} */ (place.current);
    const elsewhere = (/** @type {Event} */ event) => {
      if (!element.contains(/** @type {Node} */ (event.target))) open.value = false;
    };
    const pressed = (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // nothing else is closed, or stopped, by it
      open.value = false;
      element.querySelector("button")?.focus();
    };
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("focusin", elsewhere);
    const scrolled = () => (open.value = false);
    const clip = element.closest(CLIPS);
    clip?.addEventListener("scroll", scrolled);
    element.addEventListener("keydown", pressed);
    keepInside(element.querySelector(".panel"), clip !== null);
    return () => {
      document.removeEventListener("pointerdown", elsewhere);
      document.removeEventListener("focusin", elsewhere);
      clip?.removeEventListener("scroll", scrolled);
      element.removeEventListener("keydown", pressed);
    };
  }, [open.value]);
  const close = (/** @type {Event} */ event) => {
    if (event.target instanceof Element && event.target.closest("[data-closes]")) open.value = false;
  };
  return html`<span class="menu" ref=${place}>
    <button
      type="button"
      class=${label ? "named" : "sign"}
      aria-label=${label ? undefined : name}
      title=${name}
      aria-expanded=${open.value ? "true" : "false"}
      onClick=${() => (open.value = !open.value)}
    >
      ${label ?? html`<${Icon} name=${icon} />`}
    </button>
    ${open.value && html`<div class=${`panel ${kind}`} role="group" aria-label=${name} onClick=${close}>${children}</div>`}
  </span>`;
}

/**
 * Opens a panel upwards where there is no room below it, and moves it into the window.
 * @param {HTMLElement | null} panel
 * @param {boolean} lifted Whether it is lifted out of a list that would cut it off.
 */
function keepInside(panel, lifted) {
  if (!panel) return;
  const { top, bottom, left, right, height } = panel.getBoundingClientRect();
  const up = bottom > innerHeight - EDGE;
  if (lifted) {
    const button = /** @type {HTMLElement} */ (panel.parentElement).getBoundingClientRect();
    panel.style.position = "fixed";
    panel.style.inset = `${up ? button.top - height - EDGE / 2 : top}px auto auto ${Math.max(EDGE, left)}px`;
    return;
  }
  panel.classList.toggle("up", up);
  const aside = left < EDGE ? EDGE - left : Math.min(0, innerWidth - EDGE - right);
  if (aside) panel.style.marginInline = document.dir === "rtl" ? `${aside}px 0` : `0 ${-aside}px`;
}
