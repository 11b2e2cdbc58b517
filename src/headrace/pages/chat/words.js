// Every word that the page says by itself, in the language that is chosen: one file for each, from our own server.
import { signal } from "@preact/signals";
import { keep, kept } from "./kept.js";

/** The languages there are, each under the name it has for itself. */
export const LANGUAGES = { en: "English", de: "Deutsch", ar: "العربية" };
const RIGHT_TO_LEFT = new Set(["ar"]);
const AGAIN_MILLISECONDS = 500;

/** The language that is spoken. @type {import("@preact/signals").Signal<string>} */
export const language = signal("en");
/** The language that was chosen; `null`: the browser's. @type {import("@preact/signals").Signal<string | null>} */
export const chosenLanguage = signal(kept("language"));

/** @typedef {string | { [category: string]: string }} Saying Its forms by the number, where it has several. */
/** @type {import("@preact/signals").Signal<{ [name: string]: Saying }>} */
const sayings = signal({});
let plural = new Intl.PluralRules("en");
let digits = new Intl.NumberFormat("en");

/** Reads the words; nothing can be said before. */
export async function openWords() {
  await speak(spoken(chosenLanguage.peek(), navigator.languages));
  addEventListener("languagechange", () => speak(spoken(chosenLanguage.peek(), navigator.languages)));
}

/** Speaks another language from now on. @param {string | null} code `null`: the browser's. */
export async function chooseLanguage(code) {
  keep("language", code);
  chosenLanguage.value = code;
  await speak(spoken(code, navigator.languages));
}

/**
 * The first language that is wanted and there is.
 * @param {string | null} chosen
 * @param {readonly string[]} wanted As a browser lists them, the dearest first.
 */
export function spoken(chosen, wanted) {
  const known = [chosen ?? "", ...wanted].map((each) => each.toLowerCase().split("-")[0]);
  return known.find((each) => Object.hasOwn(LANGUAGES, each)) ?? "en";
}

/**
 * What is said under a name.
 * @param {string} name
 * @param {{ [place: string]: string | number }} values What stands in its braces; `count` chooses the form.
 */
export function say(name, values = {}) {
  const known = sayings.value[name] ?? name;
  const text = typeof known === "string" ? known : (known[plural.select(Number(values.count))] ?? known.other);
  return text.replace(/\{(\w+)\}/g, (place, each) => {
    const value = values[each];
    return value === undefined ? place : typeof value === "number" ? digits.format(value) : value;
  });
}

/** @param {string} code */
async function speak(code) {
  if (code === language.peek() && Object.keys(sayings.peek()).length) return;
  const read = await sayingsOf(code);
  plural = new Intl.PluralRules(code);
  digits = new Intl.NumberFormat(code);
  document.documentElement.lang = code;
  document.documentElement.dir = RIGHT_TO_LEFT.has(code) ? "rtl" : "ltr";
  sayings.value = read;
  language.value = code;
}

/** Without words there is no page: a line that breaks just now is waited for. @param {string} code */
async function sayingsOf(code) {
  for (;;) {
    try {
      return await (await fetch(new URL(`languages/${code}.json`, import.meta.url))).json();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MILLISECONDS));
    }
  }
}
