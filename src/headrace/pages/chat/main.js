// The page: a bar, the conversation, and where one writes. What lives as long as the page is opened here.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { Composer } from "./composer.js";
import { House } from "./house.js";
import { html } from "./html.js";
import { blocksOf, elementsOf } from "./markdown.js";
import { Conversations, Keys } from "./side.js";
import { Login, Start } from "./start.js";
import { Top } from "./top.js";
import { Transcript } from "./transcript.js";
import { WORDS } from "./words.js";

const house = new House();

function Page() {
  const empty = house.conversation.value.turns.value.length === 0;
  return html`
    <${Top} house=${house} />
    <main class=${empty ? "empty" : ""}>
      ${house.keyNeeded.value
        ? html`<${Login} house=${house} />`
        : html`
            ${empty ? html`<${Start} house=${house} />` : html`<${Transcript} house=${house} />`}
            <${Composer} house=${house} />
          `}
    </main>
    <${Conversations} house=${house} />
    <${Keys} house=${house} />
    <${Spoken} house=${house} />
  `;
}

/** The one thing that is read out by itself: that an answer begins, and how it ended. */
function Spoken({ house }) {
  const said = useSignal("");
  const running = house.running.value;
  useEffect(() => {
    if (running === null) return undefined;
    said.value = WORDS.generating;
    return () => {
      const words = running.text.split(/\s+/).filter(Boolean).length;
      said.value = running.ending.peek() === "cancelled" ? WORDS.stopped : WORDS.complete(words);
    };
  }, [running]);
  return html`<p class="unseen" role="status">${said.value}</p>`;
}

document.addEventListener("keydown", (event) => {
  const writes = event.target instanceof Element && event.target.closest("input, textarea, select");
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) house.stop();
  else if (event.key.toLowerCase() === "o" && event.shiftKey && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    house.begin();
  } else if (event.key === "/" && plain && !writes) {
    event.preventDefault();
    document.getElementById("question")?.focus();
  } else if (event.key === "?" && plain && (!writes || event.target.value === "")) {
    event.preventDefault();
    house.keysShown.value = true;
  }
});

// Made ready while nobody waits: the first block would take several times as long as the next.
(globalThis.requestIdleCallback ?? setTimeout)(() => elementsOf(blocksOf("# a\n\n**b** `c` [d](https://e)\n\n- f\n")));
house.open();
render(html`<${Page} />`, document.getElementById("page"));
