// What can be done with an answer that has ended, and its figures.
import { useSignal } from "@preact/signals";
import { AllFigures, Figures } from "./figures.js";
import { CopyButton } from "./copy_button.js";
import { asEvents, asJson, asMarkdown, copied, fileName, linkTo, save } from "./files.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";
import { Versions } from "./versions.js";
import { say } from "./words.js";

/** @param {{ turn: import("./branches.js").Turn, answer: import("./answer.js").Answer, house: import("./house.js").House }} properties */
export function AnswerFoot({ turn, answer, house }) {
  const all = useSignal(false);
  return html`<footer>
      <${Versions}
        count=${turn.answers.value.length}
        shown=${turn.shown}
        previous=${say("answer.previous")}
        next=${say("answer.next")}
      />
      ${house.mayAsk &&
      html`<button
        type="button"
        class="sign"
        title=${say("answer.again")}
        aria-label=${say("answer.again")}
        disabled=${house.running.value !== null}
        onClick=${() => house.again(turn)}
      >
        <${Icon} name="again" />
      </button>`}
      <${CopyButton} name=${say("answer.copy")} text=${() => answer.text} />
      ${answer.streams.length > 0 && html`<${More} turn=${turn} answer=${answer} house=${house} />`}
      ${answer.told.value.length > 0 &&
      html`<button
        type="button"
        class="sign"
        title=${say("answer.figures")}
        aria-label=${say("answer.figures")}
        aria-expanded=${all.value ? "true" : "false"}
        onClick=${() => (all.value = !all.value)}
      >
        <${Icon} name="bars" />
      </button>`}
      <${Figures} answer=${answer} />
    </footer>
    ${all.value && html`<${AllFigures} answer=${answer} />`}`;
}

/** @param {{ turn: import("./branches.js").Turn, answer: import("./answer.js").Answer, house: import("./house.js").House }} properties */
function More({ turn, answer, house }) {
  const linked = useSignal(false);
  const name = fileName(turn.question);
  const last = answer.streams[answer.streams.length - 1];
  const link = async () => {
    linked.value = await copied(linkTo(last));
    setTimeout(() => (linked.value = false), 1600);
  };
  const events = async () => {
    for (const [place, stream] of answer.streams.entries()) {
      const behind = answer.streams.length > 1 ? `-${place + 1}` : "";
      save(`${name}${behind}.ndjson`, await asEvents(house.client, stream), "application/x-ndjson");
    }
  };
  return html`<${Menu} name=${say("answer.more")} kind="list">
    <button type="button" onClick=${link}><${Icon} name="link" />${linked.value ? say("answer.linkCopied") : say("answer.link")}</button>
    <hr />
    <h3>${say("export")}</h3>
    <button type="button" data-closes onClick=${() => save(`${name}.md`, asMarkdown([turn]), "text/markdown")}>
      <${Icon} name="save" />${say("export.md")}
    </button>
    <button type="button" data-closes onClick=${() => save(`${name}.json`, asJson([turn], null), "application/json")}>
      <${Icon} name="save" />${say("export.json")}
    </button>
    <button type="button" data-closes onClick=${events}><${Icon} name="save" />${say("export.events")}</button>
  <//>`;
}
