// What stands round the text of an answer: thoughts, sources, how it ended, its figures.
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { drawing } from "./frames_of_time.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { WORDS } from "./words.js";

/** The model's thoughts: folded, with the time they took. */
export function Rationale({ answer }) {
  const text = useRef(null);
  const seconds = useSignal(0);
  const since = answer.thinkingSince.value;
  useEffect(() => {
    const draw = drawing(() => {
      if (!text.current) return;
      const known = text.current.textContent;
      text.current.append(answer.rationale.slice(known.length));
    });
    answer.listeners.add(draw);
    draw();
    return () => answer.listeners.delete(draw);
  }, [answer]);
  useEffect(() => {
    if (since === null) return;
    const count = () => (seconds.value = Math.floor((performance.now() - since) / 1000));
    count();
    const timer = setInterval(count, 1000);
    return () => clearInterval(timer);
  }, [since]);
  return html`<details class="rationale">
    <summary>
      <${Icon} name="fold" />
      ${since === null ? WORDS.thought(answer.thoughtSeconds.value) : WORDS.thinking(seconds.value)}
    </summary>
    <p ref=${text} dir="auto"></p>
  </details>`;
}

/** The passages an answer stands on, numbered as it cites them. */
export function Sources({ answer }) {
  const sources = answer.sources.value;
  return html`<details class="sources">
    <summary><${Icon} name="fold" />${WORDS.sources(sources.length)}</summary>
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

/** What an answer is doing while it says nothing. */
export function Phase({ answer }) {
  const phase = answer.phase.value;
  const connection = answer.connection.value;
  const waits = connection?.name === "waiting" || connection?.name === "offline";
  if (!answer.running || waits || (answer.speaks.value && !phase) || (answer.thinks.value && !phase)) return null;
  return html`<p class="phase"><span class="pulse"></span>${phase?.message ?? WORDS.waiting}</p>`;
}

/** How it ended, where that is not as it should be. */
export function Ending({ answer, oncontinue }) {
  const error = answer.error.value;
  const cut = answer.cut ? WORDS.cut[answer.ending.value] : null;
  if (answer.ending.value === "cancelled") {
    return html`<p class="ending">
      ${answer.stoppedElsewhere.value ? WORDS.connection.stoppedElsewhere : WORDS.stopped}
    </p>`;
  }
  if (!error && !cut) return null;
  return html`<div class=${cut ? "ending cut" : "ending failed"} role=${answer.live.value ? "alert" : undefined}>
    <p dir="auto">${cut ?? error.message}${error && !cut && error.code && html` <code>${error.code}</code>`}</p>
    ${cut && html`<button type="button" onClick=${oncontinue}>${WORDS.continue}</button>`}
  </div>`;
}

/** What was measured, as the stream tells it. */
export function Figures({ answer }) {
  const told = answer.figures.value;
  if (!told) return null;
  const { usage, timing, ttft_ms: first, duration_ms: total } = told;
  const tokens = usage?.completion_tokens;
  const mark = usage?.completion_source === "estimated" ? "≈ " : "";
  const speaking = first == null || total == null ? null : (total - (timing?.queue_ms ?? 0) - first) / 1000;
  const rate = tokens > 1 && speaking >= MEASURABLE_SECONDS ? (tokens - 1) / speaking : null;
  const shown = [
    ["model", "Model", answer.model.value],
    ["ttft", "Time to the first token", first == null ? null : `${duration(first)} to first token`],
    ["rate", "Tokens a second", rate === null ? null : `${mark}${rounded(rate)} tokens/s`],
    ["tokens", usage ? `Tokens, ${usage.completion_source}` : "", tokens ? `${mark}${tokens} tokens` : null],
    ["total", "Whole time", total == null ? null : `${duration(total)} in all`],
    ["attempts", "Times an upstream was asked", timing?.attempts > 1 ? `${timing.attempts} attempts` : null],
  ];
  return html`<ul class="figures">
    ${shown.filter(([, , text]) => text).map(([name, title, text]) => html`<li class=${name} title=${title}>${text}</li>`)}
  </ul>`;
}

/** Below this, a rate says more of the clock than of the model. */
const MEASURABLE_SECONDS = 0.1;
const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
const rounded = (rate) => (rate < 20 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en"));
