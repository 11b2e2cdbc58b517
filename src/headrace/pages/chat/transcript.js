// The conversation, and where in it the reader is: it follows the answer until the reader scrolls up, and then not.
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Turn } from "./turn.js";
import { say } from "./words.js";

/** How near to the end counts as being there. */
const NEAR_PIXELS = 40;

/** @param {{ house: import("./house.js").House }} properties */
export function Transcript({ house }) {
  const scroller = useRef(/** @type {any} */ (null));
  const following = useRef(true);
  const away = useSignal(false);
  const conversation = house.conversation.value;
  const turns = conversation.turns.value;

  const toEnd = () => {
    const element = scroller.current;
    element.scrollTop = element.scrollHeight;
  };
  const drawn = () => {
    if (following.current && scroller.current) toEnd();
  };
  useEffect(() => {
    const element = scroller.current;
    let height = element.scrollTop;
    const scrolled = () => {
      const atEnd = element.scrollHeight - element.clientHeight - element.scrollTop < NEAR_PIXELS;
      if (atEnd) following.current = true;
      else if (element.scrollTop < height) following.current = false;
      height = element.scrollTop;
      away.value = !following.current;
    };
    element.addEventListener("scroll", scrolled, { passive: true });
    const grown = new ResizeObserver(drawn);
    grown.observe(element);
    grown.observe(element.firstElementChild);
    return () => {
      element.removeEventListener("scroll", scrolled);
      grown.disconnect();
    };
  }, []);
  useEffect(() => {
    following.current = true;
    away.value = false;
    toEnd();
  }, [conversation, turns.length]);

  return html`<div class="middle">
    <div
      class="transcript"
      role="log"
      aria-live="off"
      aria-label=${say("conversation")}
      tabindex="0"
      ref=${scroller}
      data-following=${away.value ? "no" : "yes"}
    >
      <div class="column">
        ${turns.map((turn) => html`<${Turn} key=${turn.key} turn=${turn} house=${house} ondrawn=${drawn} />`)}
      </div>
    </div>
    ${away.value &&
    html`<button
      type="button"
      class="jump"
      onClick=${() => {
        following.current = true;
        away.value = false;
        toEnd();
      }}
    >
      <${Icon} name="down" />${say("jump")}
    </button>`}
  </div>`;
}
