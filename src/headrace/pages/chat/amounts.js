// Times, rates, sums and dates as they are written in the language of the page.
import { language, say } from "./words.js";

/** @param {number} value @param {number} digits Behind the point, at most. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits }).format(value);
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  if (milliseconds < 1000) return say("unit.milliseconds", { value: number(milliseconds) });
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  return say("unit.seconds", { value: new Intl.NumberFormat(language.value, digits).format(milliseconds / 1000) });
}

const SIZES = ["byte", "kilobyte", "megabyte", "gigabyte"];

/** How large a file is. @param {number} bytes */
export function size(bytes) {
  const step = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), SIZES.length - 1);
  const unit = { style: "unit", unit: SIZES[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: step ? 1 : 0 };
  return new Intl.NumberFormat(language.value, /** @type {Intl.NumberFormatOptions} */ (unit)).format(bytes / 1000 ** step);
}

/** Tokens a second: the slower, the more exactly. @param {number} rate */
export function rate(rate) {
  return number(rate, rate < 20 ? 1 : 0);
}

/** @param {number} dollars */
export function money(dollars) {
  const digits = { style: "currency", currency: "USD", maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(language.value, /** @type {Intl.NumberFormatOptions} */ (digits)).format(dollars);
}

/** When something was: the time where it was today, else the day. @param {string} at As the server writes it. */
export function moment(at) {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return date.toLocaleString(language.value, today ? { timeStyle: "short" } : { dateStyle: "medium" });
}

/**
 * Under which heading of a list something stands.
 * @param {string} at
 * @param {Date} now
 * @returns {"today" | "yesterday" | "week" | "older"}
 */
export function ageOf(at, now) {
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  const days = Math.ceil((midnight.getTime() - new Date(at).getTime()) / 86_400_000);
  if (days <= 0) return "today";
  if (days === 1) return "yesterday";
  return days <= 7 ? "week" : "older";
}
