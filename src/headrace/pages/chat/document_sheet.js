// The sheet of documents: where files are chosen, what is on its way, what is there, and how one is taken away again.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { moment, size } from "./amounts.js";
import { dragged } from "./dropping.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Sheet } from "./sheet.js";
import { say } from "./words.js";

const OFFLINE = "offline";

/** @typedef {import("./documents.js").Document} Document */
/** @typedef {import("./documents.js").Sending} Sending */
/** @typedef {{ house: import("./house.js").House }} OfHouse */

/** @param {OfHouse} properties */
export function DocumentSheet({ house }) {
  const shown = house.sheet.value === "documents";
  return html`<${Sheet} shown=${shown} title=${say("documents")} kind="documents" onclose=${() => house.close("documents")}>
    <${Inside} house=${house} />
  <//>`;
}

/** Over the page while files are dragged over it. */
export function DropHint() {
  return dragged.value && html`<div class="drop-hint" aria-hidden="true"><p><${Icon} name="file" />${say("documents.drop")}</p></div>`;
}

/** The button that opens the sheet, with a sign while files are on their way. @param {OfHouse} properties */
export function DocumentButton({ house }) {
  const { documents } = house;
  const count = documents.underway.value.length;
  const name = count ? say("documents.underway", { count }) : say("documents.open");
  return html`<button type="button" class="sign documents" aria-label=${name} title=${name} onClick=${() => (house.sheet.value = "documents")}>
    <${Icon} name="file" />
    ${count > 0 && html`<span class="pulse"></span>`}
    ${count === 0 && documents.failed.value.length > 0 && html`<span class="health" data-state="unwell"></span>`}
  </button>`;
}

/** @param {OfHouse} properties */
function Inside({ house }) {
  const { documents } = house;
  useEffect(() => void documents.look(), []);
  return html`
    <${Choosing} house=${house} />
    <${Underway} documents=${documents} />
    <${Failed} documents=${documents} />
    <${All} documents=${documents} />`;
}

/** @param {OfHouse} properties */
function Choosing({ house }) {
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  const { documents, models } = house;
  const chosen = (/** @type {any} */ event) => {
    documents.add([...event.currentTarget.files].map((file) => ({ name: file.name, file })));
    event.currentTarget.value = ""; // the same file can be chosen again
  };
  const elsewhere = models.all.value.some(({ id }) => id === OFFLINE) && models.chosen.value?.id !== OFFLINE;
  return html`<div class="zone" data-dragged=${dragged.value ? "yes" : undefined}>
      <button type="button" class="first" onClick=${() => field.current?.click()}><${Icon} name="new" />${say("documents.choose")}</button>
      <p>${say("documents.kinds")}</p>
      <input ref=${field} type="file" multiple hidden accept=".md,.markdown,.txt,.text,text/markdown,text/plain" onChange=${chosen} />
    </div>
    ${elsewhere &&
    html`<p class="quiet about">
      ${say("documents.onlyOffline", { model: OFFLINE })}${" "}
      <button type="button" onClick=${() => models.choose(OFFLINE)}>${say("documents.askOffline", { model: OFFLINE })}</button>
    </p>`}`;
}

/** What is on its way, each file with how far it has come. @param {{ documents: import("./documents.js").Documents }} properties */
function Underway({ documents }) {
  const underway = documents.underway.value;
  const these = documents.sendings.value.filter(({ batch }) => batch === documents.batch);
  const failed = these.filter(({ state }) => state.value === "failed").length;
  const done = these.length - underway.length - failed;
  let told = "";
  if (underway.length) told = say("documents.progress", { count: these.length, done: done + failed });
  else if (documents.deleted.value !== null) told = say("documents.deleted", { name: documents.deleted.value });
  else if (these.length) told = `${say("documents.done", { count: done })} ${failed ? say("documents.failed", { count: failed }) : ""}`;
  return html`<div class="progress">
    <p class=${underway.length ? "count" : "unseen"} role="status">${told}</p>
    ${underway.length > 0 &&
    html`<ul>
      ${underway.map((each) => html`<${OneUnderway} key=${each} sending=${each} />`)}
    </ul>`}
  </div>`;
}

/** @param {{ sending: Sending }} properties */
function OneUnderway({ sending }) {
  const state = sending.state.value;
  const words = say(`documents.${state}`);
  return html`<li data-state=${state}>
    <bdi class="name">${sending.name}</bdi>
    <small>${words}</small>
    ${state === "indexing"
      ? html`<progress aria-label=${words}></progress>`
      : html`<progress aria-label=${words} value=${sending.share.value} max="1"></progress>`}
  </li>`;
}

/** What could not be indexed, and why. @param {{ documents: import("./documents.js").Documents }} properties */
function Failed({ documents }) {
  const failed = documents.failed.value;
  const empty = documents.empty.value;
  const count = failed.length + empty.length;
  if (count === 0) return null;
  return html`<section class="failed" aria-label=${say("documents.failed", { count })}>
    <div class="heading">
      <h3>${say("documents.failed", { count })}</h3>
      <button type="button" onClick=${() => documents.forgetFailed()}>${say("documents.forget")}</button>
    </div>
    <ul>
      ${empty.map((each) => html`<li key=${`/${each}`}><bdi class="name">${each}</bdi><p>${say("documents.emptyFolder")}</p></li>`)}
      ${failed.map(
        (each) => html`<li key=${each}>
          <bdi class="name">${each.name}</bdi>
          ${each.passing && html`<button type="button" onClick=${() => documents.again(each)}>${say("documents.again")}</button>`}
          <p dir="auto">${each.error.value}</p>
        </li>`,
      )}
    </ul>
  </section>`;
}

/** @param {{ documents: import("./documents.js").Documents }} properties */
function All({ documents }) {
  const all = documents.all.value;
  const deleted = useSignal(/** @type {string | null} */ (null));
  if (!documents.read.value) return null;
  if (all.length === 0) return html`<p class="quiet about">${say("documents.none")}</p>`;
  return html`<section aria-label=${say("documents.yours")}>
    <h3>${say("documents.yours")}</h3>
    <ul class="all">
      ${all.map((each) => html`<${One} key=${each.id} held=${each} documents=${documents} deleted=${deleted} />`)}
    </ul>
    ${documents.more.value && html`<button type="button" class="more" onClick=${() => documents.lookFurther()}>${say("documents.more")}</button>`}
  </section>`;
}

/** @param {{ held: Document, documents: import("./documents.js").Documents, deleted: import("@preact/signals").Signal<string | null> }} properties */
function One({ held, documents, deleted }) {
  const { id, name } = held;
  const became = documents.added.get(id);
  const first = useRef(/** @type {HTMLButtonElement | null} */ (null));
  const asked = deleted.value === id;
  const deleting = async () => {
    if (await documents.delete(held)) toChoosing();
  };
  useLayoutEffect(() => {
    if (asked) first.current?.focus();
  }, [asked]);
  return html`<li data-document=${id}>
    <bdi class="name">${name}</bdi>
    ${asked
      ? html`<span class="sure">
          <button type="button" class="danger" ref=${first} aria-label=${say("documents.deleteNamed", { name })} onClick=${deleting}>
            ${say("documents.delete")}
          </button>
          <button type="button" onClick=${() => (deleted.value = null)}>${say("documents.keep")}</button>
        </span>`
      : html`<button
          type="button"
          class="sign"
          aria-label=${say("documents.deleteNamed", { name })}
          title=${say("documents.delete")}
          onClick=${() => (deleted.value = id)}
        >
          <${Icon} name="delete" />
        </button>`}
    <small>
      ${[size(held.size_bytes), say("documents.passages", { count: held.passages }), became ? say(`documents.became.${became}`) : moment(held.created_at)].join(" · ")}
    </small>
  </li>`;
}

/** Where the focus goes when what held it is gone. */
function toChoosing() {
  const button = document.querySelector(".sheet.documents .zone button");
  if (button instanceof HTMLElement) button.focus();
}
