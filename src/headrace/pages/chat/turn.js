// One question and the answer to it that is shown.
import { html } from "./html.js";
import { Ending, Figures, Phase, Rationale, Sources } from "./answer_parts.js";
import { Icon } from "./icons.js";
import { Connection } from "./connection_line.js";
import { Prose } from "./prose.js";
import { WORDS } from "./words.js";

/** @param {{ turn: import("./conversation.js").Turn, house: import("./house.js").House, ondrawn: () => void }} properties */
export function Turn({ turn, house, ondrawn }) {
  const answers = turn.answers.value;
  const place = turn.shown.value;
  const answer = answers[place];
  return html`<article class="turn">
    <h2 class="unseen">Question</h2>
    <div class="question"><div dir="auto">${turn.question}</div></div>
    <div class="answer" key=${place} aria-busy=${answer.running ? "true" : "false"}>
      <h2 class="unseen">Answer</h2>
      ${answer.thinks.value && html`<${Rationale} answer=${answer} />`}
      <${Phase} answer=${answer} />
      <${Prose} answer=${answer} ondrawn=${ondrawn} key=${answer} />
      <${Connection} answer=${answer} />
      <${Ending} answer=${answer} oncontinue=${() => house.continue(turn)} />
      ${answer.sources.value.length > 0 && html`<${Sources} answer=${answer} />`}
      ${answer.ending.value !== null &&
      html`<footer>
        ${answers.length > 1 &&
        html`<span class="versions">
          <button
            type="button"
            class="sign"
            aria-label=${WORDS.previous}
            disabled=${place === 0}
            onClick=${() => turn.shown.value--}
          >
            <${Icon} name="left" />
          </button>
          ${place + 1}/${answers.length}
          <button
            type="button"
            class="sign"
            aria-label=${WORDS.next}
            disabled=${place === answers.length - 1}
            onClick=${() => turn.shown.value++}
          >
            <${Icon} name="right" />
          </button>
        </span>`}
        <button
          type="button"
          class="sign"
          title=${WORDS.again}
          aria-label=${WORDS.again}
          onClick=${() => house.again(turn)}
        >
          <${Icon} name="again" />
        </button>
        <${CopyText} answer=${answer} />
        <${Figures} answer=${answer} />
      </footer>`}
    </div>
  </article>`;
}

function CopyText({ answer }) {
  const copy = async ({ currentTarget }) => {
    try {
      await navigator.clipboard.writeText(answer.text);
      currentTarget.classList.add("done");
      setTimeout(() => currentTarget.classList.remove("done"), 1200);
    } catch {
      // Without https a browser keeps the clipboard to itself; the text can be selected.
    }
  };
  return html`<button type="button" class="sign" title=${WORDS.copy} aria-label="Copy the answer" onClick=${copy}>
    <${Icon} name="copy" />
  </button>`;
}
