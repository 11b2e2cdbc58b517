// What stands round the text of an answer: thoughts, sources, how it ended.
import { useEffect, useRef } from "preact/hooks";
import { drawing } from "./frames_of_time.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { useSeconds } from "./standing.js";
import { say } from "./words.js";

/** @typedef {import("./answer.js").Answer} Answer */

/** The model's thoughts: folded, with the time they took. @param {{ answer: Answer }} properties */
export function Rationale({ answer }) {
  const text = useRef(/** @type {HTMLElement | null} */ (null));
  const since = answer.thinkingSince.value;
  const seconds = useSeconds(since);
  const took = answer.thoughtSeconds.value;
  useEffect(() => {
    const draw = drawing(() => {
      const element = text.current;
      if (element) element.append(answer.rationale.slice(element.textContent?.length ?? 0));
    });
    answer.listeners.add(draw);
    draw();
    return () => void answer.listeners.delete(draw);
  }, [answer]);
  const over = took === null ? say("thoughts") : say("thoughts.for", { count: took });
  return html`<details class="rationale" data-state=${since === null ? "thought" : "thinking"}>
    <summary>
      ${since === null ? html`<${Icon} name="fold" />` : html`<span class="pulse"></span>`}
      ${since === null ? over : say("phase.timed", { phase: say("phase.thinking"), seconds })}
    </summary>
    <p ref=${text} dir="auto"></p>
  </details>`;
}

/** The passages an answer stands on, numbered as it cites them. @param {{ answer: Answer }} properties */
export function Sources({ answer }) {
  const sources = answer.sources.value;
  return html`<details class="sources">
    <summary><${Icon} name="fold" />${say("sources", { count: sources.length })}</summary>
    <ol>
      ${sources.map(
        (each) => html`<li key=${each.n}>
          <details data-n=${each.n}>
            <summary><span class="number">${each.n}</span><span dir="auto">${each.title}</span></summary>
            <p dir="auto">${each.passage}</p>
          </details>
        </li>`,
      )}
    </ol>
  </details>`;
}

/** How it ended, where that is not as it should be. @param {{ answer: Answer, oncontinue: null | (() => void), onagain: null | (() => void) }} properties */
export function Ending({ answer, oncontinue, onagain }) {
  const error = answer.error.value;
  const cut = answer.cut;
  if (answer.ending.value === "cancelled") {
    return html`<p class="ending">${say(answer.stoppedElsewhere.value ? "answer.stoppedElsewhere" : "answer.stopped")}</p>`;
  }
  if (!error && !cut) return null;
  return html`<div class=${cut ? "ending cut" : "ending failed"} role=${answer.live.value ? "alert" : undefined}>
    <p dir="auto">
      ${cut ? say(`cut.${answer.ending.value}`) : error?.message}${error?.code && !cut && html` <code>${error.code}</code>`}
    </p>
    ${cut && oncontinue && html`<button type="button" onClick=${oncontinue}>${say("cut.continue")}</button>`}
    ${!cut && onagain && html`<button type="button" onClick=${onagain}>${say("answer.retry")}</button>`}
  </div>`;
}
