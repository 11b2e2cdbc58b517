// What was measured of an answer, exactly as its streams tell it; what is only estimated says so.
import * as amounts from "./amounts.js";
import { html } from "./html.js";
import { say } from "./words.js";

/** Below this, a rate says more of the clock than of the model. */
const MEASURABLE_SECONDS = 0.1;

/** @typedef {import("./answer.js").Told} Told */
/** @typedef {{ name: string, value: string, short?: string }} Figure */

/** Tokens a second, from the first to the last; `null` where they came at once. @param {Told["metadata"]} metadata */
export function rateOf({ usage, timing, ttft_ms: first, duration_ms: total }) {
  if (!usage || first == null || total == null) return null;
  const seconds = (total - (timing?.queue_ms ?? 0) - first) / 1000;
  return usage.completion_tokens > 1 && seconds >= MEASURABLE_SECONDS ? (usage.completion_tokens - 1) / seconds : null;
}

/**
 * The figures of one stream, in the order they are shown.
 * @param {Told} told
 * @returns {Figure[]}
 */
export function figuresOf({ stream, model, metadata, moves }) {
  const { usage, timing, ttft_ms: first, duration_ms: total, cost_usd: cost, cache } = metadata;
  const rate = rateOf(metadata);
  const mark = usage?.completion_source === "estimated" ? "≈ " : "";
  const failedOver = moves.filter((each) => each.phase === "failed_over");
  const continued = moves.filter((each) => each.phase === "continued");
  const trimmed = moves.find((each) => each.phase === "trimmed");
  const source = (/** @type {string} */ known) => `(${say(`figure.${known}`)})`;
  /** @type {(Figure | false | null | undefined)[]} */
  const all = [
    { name: "model", value: model, short: model },
    usage && usage.by !== "headrace" && { name: "upstream", value: usage.by },
    first != null && { name: "first", value: amounts.duration(first), short: say("figure.first.short", { duration: amounts.duration(first) }) },
    rate !== null && { name: "rate", value: mark + amounts.rate(rate), short: mark + say("figure.rate.short", { rate: amounts.rate(rate) }) },
    usage && {
      name: "tokens",
      value: `${mark}${amounts.number(usage.completion_tokens)} ${source(usage.completion_source)}`,
      short: usage.completion_tokens > 0 ? say("figure.tokens.short", { mark, count: usage.completion_tokens }) : "",
    },
    usage && { name: "prompt", value: `${usage.prompt_source === "estimated" ? "≈ " : ""}${amounts.number(usage.prompt_tokens)} ${source(usage.prompt_source)}` },
    usage?.reasoning_tokens > 0 && { name: "reasoning", value: amounts.number(usage.reasoning_tokens) },
    usage?.cached_tokens > 0 && { name: "cached", value: amounts.number(usage.cached_tokens) },
    cost != null && { name: "cost", value: mark + amounts.money(cost), short: mark + amounts.money(cost) },
    cache === "hit" && { name: "cache", value: "✓", short: say("figure.cache.short") },
    total != null && { name: "total", value: amounts.duration(total), short: say("figure.total.short", { duration: amounts.duration(total) }) },
    timing?.queue_ms >= 1 && { name: "waited", value: amounts.duration(timing.queue_ms) },
    timing?.attempts > 1 && { name: "attempts", value: amounts.number(timing.attempts), short: say("figure.attempts.short", { count: timing.attempts }) },
    failedOver.length > 0 && { name: "failover", value: failedOver.map(way).join(", "), short: say("figure.failover.short") },
    continued.length > 0 && { name: "continued", value: continued.map(way).join(", ") },
    trimmed && { name: "trimmed", value: trimmed.message, short: say("figure.trimmed.short") },
    { name: "stream", value: stream },
  ];
  return /** @type {Figure[]} */ (all.filter((each) => each && each.value));
}

const way = (/** @type {import("../client/frames.js").Frame} */ move) => [move.from, move.to].filter(Boolean).join(" → ");

/** The few that stand below an answer. @param {{ answer: import("./answer.js").Answer }} properties */
export function Figures({ answer }) {
  const last = answer.told.value.at(-1);
  if (!last) return null;
  return html`<ul class="figures">
    ${figuresOf(last)
      .filter((each) => each.short)
      .map(({ name, short }) => html`<li class=${CLASSES[name] ?? name} key=${name} title=${say(`figure.${name}`)}>${short}</li>`)}
  </ul>`;
}

/** @type {Record<string, string>} */
const CLASSES = { first: "ttft" };

/** All of them, of every stream that the answer consists of. @param {{ answer: import("./answer.js").Answer }} properties */
export function AllFigures({ answer }) {
  return html`<div class="details">
    ${answer.told.value.map(
      (told) => html`<dl key=${told.stream}>
        ${figuresOf(told).map(
          ({ name, value }) => html`<div key=${name} data-figure=${name}><dt>${say(`figure.${name}`)}</dt><dd dir="auto">${value}</dd></div>`,
        )}
      </dl>`,
    )}
  </div>`;
}
