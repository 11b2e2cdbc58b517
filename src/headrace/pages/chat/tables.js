// A table of an answer: it scrolls by itself where it is too wide, and is copied as CSV.
import { copyingButton } from "./copying.js";
import { say } from "./words.js";

/** Puts what a table needs round it. @param {HTMLTableElement} table */
export function frame(table) {
  const scroller = document.createElement("div");
  scroller.className = "scroll";
  scroller.dir = table.dir;
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "group");
  scroller.setAttribute("aria-label", say("table"));
  const copy = copyingButton(say("table.copy"), () => asCsv(table));
  const figure = document.createElement("figure");
  figure.className = "table";
  table.replaceWith(figure);
  scroller.append(table);
  figure.append(scroller, copy);
}

/** The cells as RFC 4180 has them. @param {HTMLTableElement} table */
export function asCsv(table) {
  const rows = [...table.rows].map((row) => [...row.cells].map((cell) => quoted(cell.textContent ?? "")).join(","));
  return rows.join("\r\n") + "\r\n";
}

/** @param {string} text */
function quoted(text) {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
