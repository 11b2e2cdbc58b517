// One question and the answer to it that is shown.
import { useEffect } from "preact/hooks";
import { html } from "./html.js";
import { AnswerFoot } from "./answer_foot.js";
import { Ending, Rationale, Sources } from "./answer_parts.js";
import { Prose } from "./prose.js";
import { Question } from "./question.js";
import { StandingLine } from "./standing.js";
import { say } from "./words.js";

/** @param {{ turn: import("./branches.js").Turn, house: import("./house.js").House, ondrawn: () => void }} properties */
export function Turn({ turn, house, ondrawn }) {
  const answer = turn.answer;
  useEffect(() => answer.open(), [answer]);
  return html`<article class="turn">
    <${Question} turn=${turn} house=${house} />
    <div class="answer" key=${answer} aria-busy=${answer.running ? "true" : "false"}>
      <h2 class="unseen">${say("answer")}</h2>
      ${answer.thinks.value && html`<${Rationale} answer=${answer} />`}
      <${Prose} answer=${answer} ondrawn=${ondrawn} key=${answer} />
      <${StandingLine} answer=${answer} />
      <${Ending}
        answer=${answer}
        oncontinue=${house.mayAsk ? () => house.continue(turn) : null}
        onagain=${house.mayAsk ? () => house.again(turn) : null}
      />
      ${answer.sources.value.length > 0 && html`<${Sources} answer=${answer} />`}
      ${answer.ending.value !== null && html`<${AnswerFoot} turn=${turn} answer=${answer} house=${house} />`}
    </div>
  </article>`;
}
