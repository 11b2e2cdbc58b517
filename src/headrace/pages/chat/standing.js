// How an answer that is being made stands: what it is doing, how quickly it comes, how it is connected, who else reads.
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import * as amounts from "./amounts.js";
import { html } from "./html.js";
import { Pace } from "./pace.js";
import { say } from "./words.js";

/** The first attempts follow at once: saying so would only flicker. */
const QUIET_ATTEMPTS = 3;
/** Below this, a phase is not timed: most are over by then. */
const TIMED_SECONDS = 2;

/** @typedef {import("./answer.js").Answer} Answer */
/** @typedef {"connecting" | "waiting" | "queued" | "searching" | "loading" | "retrying" | "failed_over" | "continued" | "thinking" | "live" | "reconnecting" | "offline" | "lost" | "elsewhere"} Standing */

/**
 * Its standing in one word; `null` where there is nothing to say. Pure, but for what it reads.
 * @param {Answer} answer
 * @returns {Standing | null}
 */
export function standingOf(answer) {
  const connection = answer.connection.value;
  if (!answer.live.value) return null;
  if (connection?.name === "lost") return "lost";
  if (!answer.running) return connection?.name === "elsewhere" && answer.ending.value !== "cancelled" ? "elsewhere" : null;
  if (connection?.name === "offline") return "offline";
  const broken = connection?.name === "waiting" || connection?.name === "connecting";
  if (broken && connection.attempt >= QUIET_ATTEMPTS) return "reconnecting";
  const phase = answer.phase.value;
  if (phase) return phase.phase === "waiting" ? "queued" : /** @type {Standing} */ (phase.phase);
  if (answer.thinkingSince.value !== null) return "thinking";
  if (answer.speaks.value || answer.thinks.value) return "live";
  return connection?.name === "connecting" ? "connecting" : "waiting";
}

/** The line below an answer that is being made. @param {{ answer: Answer }} properties */
export function StandingLine({ answer }) {
  const standing = standingOf(answer);
  switch (standing) {
    case null:
      return null;
    case "reconnecting":
      return html`<${Reconnecting} answer=${answer} />`;
    case "offline":
      return html`<div class="connection offline" data-state=${standing} role="alert">${say("away.offline")}</div>`;
    case "lost":
      return html`<div class="connection" data-state=${standing}>${say("away.gone")}</div>`;
    case "elsewhere":
      return html`<div class="connection" data-state=${standing}>${say("away.elsewhere")}</div>`;
    case "thinking":
      return null; // the thoughts themselves say so, with the time
    case "live":
      return html`<${Live} answer=${answer} />`;
    default:
      return html`<${Doing} answer=${answer} standing=${standing} key=${standing} />`;
  }
}

/** @param {{ answer: Answer, standing: Standing }} properties */
function Doing({ answer, standing }) {
  const phase = answer.phase.value;
  const waiting = useRef(performance.now());
  const seconds = useSeconds(phase?.since ?? waiting.current);
  const words = say(`phase.${standing}`, { to: phase?.to ?? "" });
  return html`<p class="standing phase" data-state=${standing} title=${phase?.message}>
    <span class="pulse"></span>
    <span>${seconds >= TIMED_SECONDS ? say("phase.timed", { phase: words, seconds }) : words}</span>
    <${Readers} answer=${answer} />
  </p>`;
}

/** @param {{ answer: Answer }} properties */
function Live({ answer }) {
  const rate = useSignal(/** @type {number | null} */ (null));
  useEffect(() => {
    const pace = new Pace();
    const look = () => (rate.value = pace.look(answer.text, performance.now()));
    look();
    const timer = setInterval(look, 500);
    return () => clearInterval(timer);
  }, [answer]);
  return html`<p class="standing" data-state="live">
    <span class="pulse"></span>
    <span>${say("phase.live")}</span>
    ${rate.value !== null && html`<span class="rate">${say("phase.rate", { rate: amounts.rate(rate.value) })}</span>`}
    <${Readers} answer=${answer} />
  </p>`;
}

/** @param {{ answer: Answer }} properties */
function Readers({ answer }) {
  const count = answer.readers.value;
  return count > 1 ? html`<span class="readers">${say("phase.readers", { count })}</span>` : null;
}

/** @param {{ answer: Answer }} properties */
function Reconnecting({ answer }) {
  const state = answer.connection.value;
  const left = useSecondsUntil(state?.name === "waiting" ? state.since + state.seconds * 1000 : null);
  // Said aloud once; what is counted is to be looked at.
  return html`<div class="connection waiting" data-state="reconnecting" role="alert">
    <span class="pulse"></span>
    <span>${say("away.lost")}</span>
    <span aria-hidden="true">${left === null ? say("away.connecting") : say("away.again", { count: left })}</span>
    <button type="button" onClick=${() => answer.hurry()}>${say("away.now")}</button>
  </div>`;
}

/** Whole seconds since a moment of `performance.now()`. @param {number | null} since */
export function useSeconds(since) {
  const seconds = useSignal(0);
  useEffect(() => {
    if (since === null) return undefined;
    const count = () => (seconds.value = Math.floor((performance.now() - since) / 1000));
    count();
    const timer = setInterval(count, 250);
    return () => clearInterval(timer);
  }, [since]);
  return seconds.value;
}

/** Whole seconds until a moment of `Date.now()`; `null` where none is given. @param {number | null} until */
export function useSecondsUntil(until) {
  const seconds = useSignal(0);
  useEffect(() => {
    if (until === null) return undefined;
    const count = () => (seconds.value = Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    count();
    const timer = setInterval(count, 250);
    return () => clearInterval(timer);
  }, [until]);
  return until === null ? null : seconds.value;
}
