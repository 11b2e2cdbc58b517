// The page's signs, drawn with lines of one weight.
import { html } from "./html.js";

/** @type {Record<string, string>} */
const PATHS = {
  send: "M12 19V5M5.500 11.500 12 5l6.500 6.500",
  menu: "M4 7h16M4 12h16M4 17h10",
  new: "M12 5v14M5 12h14",
  down: "M12 5v14M5.500 12.500 12 19l6.500-6.500",
  again: "M20 11a8 8 0 1 0-2.300 6.300M20 5v6h-6",
  left: "M14.500 6 8.500 12l6 6",
  right: "M9.500 6l6 6-6 6",
  light: "M12 4V2M12 22v-2M4 12H2M22 12h-2M6.300 6.300 4.900 4.900M19.100 19.100l-1.400-1.400M6.300 17.700l-1.400 1.400M19.100 4.900l-1.400 1.400M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0",
  dark: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h11v11H9zM15 9V4H4v11h5",
  fold: "M9 6l6 6-6 6",
  open: "M7 10l5 5 5-5",
  edit: "M4 20h4L19 9l-4-4L4 16zM13 7l4 4",
  check: "M5 12.500l4.500 4.500L19 7.500",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1",
  save: "M12 4v11M7.500 10.500 12 15l4.500-4.500M5 19.500h14",
  bars: "M5 20V11M12 20V4M19 20v-6",
  search: "M20 20l-4.300-4.300M17.500 11a6.500 6.500 0 1 1-13 0 6.500 6.500 0 0 1 13 0",
  settings: "M4 7h9M19 7h1M16 4.500v5M4 17h3M12 17h8M9.500 14.500v5",
  file: "M14 3.500H7A1.500 1.500 0 0 0 5.500 5v14A1.500 1.500 0 0 0 7 20.500h10a1.500 1.500 0 0 0 1.500-1.500V8zM14 3.500V8h4.500M12 17v-5.500M9.500 13.800 12 11.300l2.500 2.500",
  delete: "M5 7h14M10 7V4.500h4V7M7 7l.800 13h8.400L17 7M10.500 11v5.500M13.500 11v5.500",
};

/** @param {{ name: string }} properties One of the names above, or `stop` or `more`, which are no lines. */
export function Icon({ name }) {
  return html`<svg class="icon" data-icon=${name} viewBox="0 0 24 24" aria-hidden="true">
    ${name === "stop"
      ? html`<rect x="7" y="7" width="10" height="10" rx="2" fill="currentColor" />`
      : name === "more"
        ? [5.5, 12, 18.5].map((x) => html`<circle key=${x} cx=${x} cy="12" r="1.600" fill="currentColor" />`)
        : html`<path
          d=${PATHS[name]}
          fill="none"
          stroke="currentColor"
          stroke-width="1.75"
          stroke-linecap="round"
          stroke-linejoin="round"
        />`}
  </svg>`;
}
