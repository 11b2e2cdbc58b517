// Answers and conversations as files and links: Markdown, JSON, and events that `headrace replay FILE` plays again.
import { CONTINUE } from "./conversation.js";

/** The address of one answer. @param {string} stream */
export function linkTo(stream) {
  return new URL(`#stream=${stream}`, location.href.split("#")[0]).href;
}

/** @param {import("./branches.js").Turn[]} turns */
export function asMarkdown(turns) {
  return turns.map(({ question, answer }) => `## ${question.replaceAll("\n", "\n\n")}\n\n${answer.text.trim()}\n${sourcesOf(answer)}`).join("\n");
}

/** @param {import("./answer.js").Answer} answer */
function sourcesOf(answer) {
  const sources = answer.sources.value;
  return sources.length ? `\n${sources.map((each) => `- [${each.n}] ${each.title}`).join("\n")}\n` : "";
}

/** @param {import("./branches.js").Turn[]} turns @param {string | null} conversation */
export function asJson(turns, conversation) {
  const body = {
    ...(conversation && { conversation_id: conversation }),
    turns: turns.map(({ question, answer }) => ({
      question,
      answer: answer.text,
      ...(answer.rationale && { rationale: answer.rationale }),
      sources: answer.sources.value,
      ending: answer.ending.value,
      streams: answer.told.value.map(({ stream, model, metadata: { type, ...figures } }) => ({ id: stream, model, ...figures })),
    })),
  };
  return JSON.stringify(body, null, 2) + "\n";
}

/**
 * The events of a stream, one JSON object a line.
 * @param {import("../client/client.js").Client} client
 * @param {string} stream
 */
export async function asEvents(client, stream) {
  const response = await client.fetch(`/v1/streams/${encodeURIComponent(stream)}/events`);
  const text = await response.text();
  const lines = text.split("\n").filter((line) => line.startsWith("data: {"));
  return lines.map((line) => line.slice("data: ".length)).join("\n") + "\n";
}

/** Gives a file to the person. @param {string} name @param {string} text @param {string} type */
export function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A name for a file, out of a title. @param {string} title */
export function fileName(title) {
  return title === CONTINUE ? "answer" : title.slice(0, 60).replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").toLowerCase() || "answer";
}

/** Copies a text; whether the browser let it. @param {string} text */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // without https, a browser keeps the clipboard to itself
  }
}
