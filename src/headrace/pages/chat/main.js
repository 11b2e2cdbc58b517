// The page: the list, a bar, the conversation, and where one writes. What lives as long as the page is opened here.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { Banner } from "./banner.js";
import { Composer } from "./composer.js";
import { DocumentSheet, DropHint } from "./document_sheet.js";
import { House } from "./house.js";
import { html } from "./html.js";
import { Keys, listenForKeys } from "./keys.js";
import { LinkedFoot } from "./linked_foot.js";
import { blocksOf, elementsOf } from "./markdown.js";
import { Notice } from "./notice.js";
import { Search } from "./search.js";
import { Side } from "./side.js";
import { Gone, Loading, Login, Start } from "./start.js";
import { Top } from "./top.js";
import { Transcript } from "./transcript.js";
import { language, openWords, say } from "./words.js";

/** @param {{ house: House }} properties */
function Page({ house }) {
  const wide = house.wide.value;
  const listOver = !wide && house.sheet.value === "list"; // then it is said on that sheet, over which nothing else can stand
  return html`
    ${hasField(house) && html`<a class="skip" href="#question" onClick=${toQuestion}>${say("skip")}</a>`}
    <${Side} house=${house} wide=${wide} />
    <div class="page">
      <${Top} house=${house} wide=${wide} />
      <${Main} house=${house} />
    </div>
    ${!listOver && html`<${Notice} house=${house} />`}
    <${Search} house=${house} />
    <${Keys} house=${house} />
    <${DocumentSheet} house=${house} />
    <${DropHint} />
    <${Spoken} house=${house} />
  `;
}

/** @param {{ house: House }} properties */
function Main({ house }) {
  const conversation = house.conversation.value;
  const state = conversation.state.value;
  if (house.keyNeeded.value) return html`<main class="empty"><${Login} house=${house} /></main>`;
  if (conversation.turns.value.length > 0) {
    // In another language everything is made anew: what is not Preact's, too.
    return html`<main>
      <h1 class="unseen">${say("conversation")}</h1>
      <${Transcript} key=${language.value} house=${house} />
      <${Banner} house=${house} />
      ${house.mayAsk ? html`<${Composer} house=${house} />` : html`<${LinkedFoot} house=${house} />`}
    </main>`;
  }
  if (state === "gone") return html`<main class="empty"><${Gone} house=${house} /></main>`;
  if (state === "loading" || !house.mayAsk) {
    return html`<main><${Loading} /><${Banner} house=${house} />${house.mayAsk && html`<${Composer} house=${house} />`}</main>`;
  }
  return html`<main class="empty">
    <${Start} house=${house} />
    <${Banner} house=${house} />
    <${Composer} house=${house} />
  </main>`;
}

/** Whether there is a field to ask in. @param {House} house */
function hasField(house) {
  if (house.keyNeeded.value || !house.mayAsk) return false;
  const { turns, state } = house.conversation.value;
  return turns.value.length > 0 || state.value !== "gone";
}

/** @param {Event} event */
function toQuestion(event) {
  event.preventDefault(); // the address is the conversation's
  document.getElementById("question")?.focus();
}

/** The one thing that is read out by itself: that an answer begins, how it ended, and what was deleted. @param {{ house: House }} properties */
function Spoken({ house }) {
  const said = useSignal("");
  const running = house.running.value;
  useEffect(() => {
    if (running === null) return undefined;
    said.value = say("answer.generating");
    return () => {
      const ending = running.ending.peek();
      const count = running.text.split(/\s+/).filter(Boolean).length;
      if (ending === "cancelled") said.value = say("answer.stopped");
      else if (running.error.peek()) said.value = say("answer.failed");
      else said.value = ending === null ? "" : say("answer.complete", { count });
    };
  }, [running]);
  const notice = house.notice.value;
  useEffect(() => {
    if (notice !== null) said.value = notice.words;
  }, [notice]);
  return html`<p class="unseen" role="status">${said.value}</p>`;
}

await openWords();
const house = new House();
listenForKeys(house);
house.open();
document.title = say("title");
render(html`<${Page} house=${house} />`, /** @type {HTMLElement} */ (document.getElementById("page")));
// Made ready while nobody waits: the first block would take several times as long as the next.
(globalThis.requestIdleCallback ?? setTimeout)(() => elementsOf(blocksOf("# a\n\n**b** `c` [d](https://e)\n\n- f\n")));
