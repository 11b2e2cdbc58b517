// The page of the API: /openapi.json, drawn. Everything shown comes from that document.
import { element, prose } from "./elements.js";
import { badge, route } from "./route.js";
import { Schemas } from "./schemas.js";

/** @typedef {import("./route.js").OpenAPI} OpenAPI */
/** @typedef {import("./route.js").Route} Route */

const METHODS = ["get", "head", "post", "put", "patch", "delete", "options"];
const content = byId("content");
const state = byId("state");

try {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  draw(await response.json());
} catch (error) {
  state.setAttribute("role", "alert");
  state.textContent = `The document could not be read: ${/** @type {Error} */ (error).message}. Load the page anew.`;
} finally {
  content.removeAttribute("aria-busy");
}

/** @param {OpenAPI} api */
function draw(api) {
  const schemas = new Schemas(api.components.schemas);
  const groups = grouped(api);
  byId("version").textContent = api.info.version;
  byId("contents").append(contents(groups));
  content.replaceChildren(
    introduction(api),
    ...[...groups].map(([name, routes]) =>
      element(
        "section",
        { "aria-labelledby": `group-${name}` },
        element("h2", { id: `group-${name}` }, name),
        ...routes.map((each) => route(each, api, schemas)),
      ),
    ),
    errorCodes(api),
    element("p.quiet", { id: "nothing", hidden: true, role: "status" }, "No route has these words."),
  );
  search();
  // The browser looked for the address's target before it was drawn.
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

/** The routes by group. One that is another route's double under a second address is told there. @param {OpenAPI} api */
function grouped(api) {
  /** @type {Map<string, Route[]>} */
  const groups = new Map();
  /** @type {Map<string, Route>} */
  const known = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((each) => each in methods)) {
      const operation = methods[method];
      const double = known.get(method + operation.summary);
      if (double) {
        double.also.push(path);
        continue;
      }
      /** @type {Route} */
      const one = { path, method, operation, also: [] };
      known.set(method + operation.summary, one);
      const [group] = operation.tags;
      groups.set(group, [...(groups.get(group) ?? []), one]);
    }
  }
  return groups;
}

/** @param {Map<string, Route[]>} groups */
function contents(groups) {
  const lists = [...groups].flatMap(([name, routes]) => [
    element("h2", {}, name),
    element(
      "ul",
      {},
      ...routes.map(({ path, method, operation }) =>
        element(
          "li",
          { "data-for": operation.operationId },
          element("a", { href: `#${operation.operationId}` }, badge(method), element("code", {}, ...breakable(path))),
        ),
      ),
    ),
  ]);
  lists.push(
    element("h2", {}, "More"),
    element("ul", {}, element("li", {}, element("a", { href: "#errors" }, "Error codes"))),
  );
  const wide = matchMedia("(min-width: 60.01rem)");
  const made = element("details", { open: wide.matches }, element("summary", {}, "All routes"), ...lists);
  const folded = /** @type {HTMLDetailsElement} */ (made);
  wide.addEventListener("change", () => (folded.open = wide.matches));
  folded.addEventListener("click", (event) => {
    if (!wide.matches && /** @type {Element} */ (event.target).closest("a")) folded.open = false;
  });
  return folded;
}

/** @param {OpenAPI} api */
function introduction(api) {
  const [first, ...rest] = api.info.description.trim().split(/\n\s*\n/);
  return element(
    "div.intro",
    {},
    element("h1", {}, "The API"),
    element("p", {}, ...prose(first)),
    ...rest.map((/** @type {string} */ each) => element("p", {}, ...prose(each))),
    element(
      "p.quiet",
      {},
      "Where keys are asked for, send one as ",
      element("code", {}, "Authorization: Bearer <key>"),
      ".",
    ),
  );
}

/** @param {OpenAPI} api */
function errorCodes(api) {
  const rows = api["x-headrace-errors"].map((/** @type {{ [field: string]: any }} */ each) =>
    element(
      "tr",
      {},
      element("td", {}, element("code", {}, each.code)),
      element("td", {}, String(each.status)),
      element("td", {}, each.retryable ? "yes" : "no"),
      element("td", {}, ...prose(each.told)),
    ),
  );
  return element(
    "section",
    { id: "errors", "aria-labelledby": "errors-title" },
    element("h2", { id: "errors-title" }, "Error codes"),
    element(
      "p",
      {},
      "Every error is an object with a ",
      element("code", {}, "message"),
      " that says what to do, and a ",
      element("code", {}, "code"),
      " that never changes.",
    ),
    element(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": "Table of the error codes" },
      element(
        "table",
        {},
        element(
          "thead",
          {},
          element(
            "tr",
            {},
            ...["code", "status", "try again", "what happened"].map((each) => element("th", { scope: "col" }, each)),
          ),
        ),
        element("tbody", {}, ...rows),
      ),
    ),
  );
}

/** A path that is broken at its slashes where it is too long for one line. @param {string} path */
function breakable(path) {
  return path.split(/(?<=.)(?=\/)/).flatMap((piece, place) => (place ? [element("wbr"), piece] : [piece]));
}

/** Shows the routes that have all the words that are looked for. */
function search() {
  const find = /** @type {HTMLInputElement} */ (byId("find"));
  const nothing = byId("nothing");
  const routes = all(".route").map((each) => ({
    each,
    text: (each.textContent ?? "").toLowerCase(),
  }));
  const look = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { each, text } of routes) {
      each.hidden = !words.every((word) => text.includes(word));
      for (const entry of all(`[data-for="${each.id}"]`)) entry.hidden = each.hidden;
    }
    for (const section of all("main > section")) {
      const inside = all(".route", section);
      section.hidden = inside.length
        ? inside.every((each) => each.hidden)
        : words.length > 0 && !words.every((word) => (section.textContent ?? "").toLowerCase().includes(word));
    }
    nothing.hidden = all("main > section").some((each) => !each.hidden);
  };
  find.addEventListener("input", look);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && document.activeElement !== find) {
      event.preventDefault();
      find.focus();
    }
  });
}

/** What the page surely has. @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {string} selector @param {ParentNode} within @returns {HTMLElement[]} */
function all(selector, within = document) {
  return [...within.querySelectorAll(selector)].map((each) => /** @type {HTMLElement} */ (each));
}
