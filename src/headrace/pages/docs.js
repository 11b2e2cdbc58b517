// The page of the API: /openapi.json, drawn. Everything shown comes from that document.
import { element, prose } from "./elements.js";
import { badge, route } from "./route.js";
import { Schemas } from "./schemas.js";

const METHODS = ["get", "head", "post", "put", "patch", "delete", "options"];
const content = document.getElementById("content");
const state = document.getElementById("state");

try {
  const response = await fetch("/openapi.json");
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  draw(await response.json());
} catch (error) {
  state.setAttribute("role", "alert");
  state.textContent = `The document could not be read: ${error.message}. Load the page anew.`;
} finally {
  content.removeAttribute("aria-busy");
}

function draw(api) {
  const schemas = new Schemas(api.components.schemas);
  const groups = grouped(api);
  document.getElementById("version").textContent = api.info.version;
  document.getElementById("contents").append(contents(groups));
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

/** The routes by group. One that is another route's double under a second address is told there. */
function grouped(api) {
  const groups = new Map();
  const known = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((each) => each in methods)) {
      const operation = methods[method];
      const double = known.get(method + operation.summary);
      if (double) {
        double.also.push(path);
        continue;
      }
      const one = { path, method, operation, also: [] };
      known.set(method + operation.summary, one);
      const [group] = operation.tags;
      groups.set(group, [...(groups.get(group) ?? []), one]);
    }
  }
  return groups;
}

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
  const folded = element("details", { open: wide.matches }, element("summary", {}, "All routes"), ...lists);
  wide.addEventListener("change", () => (folded.open = wide.matches));
  folded.addEventListener("click", (event) => {
    if (!wide.matches && event.target.closest("a")) folded.open = false;
  });
  return folded;
}

function introduction(api) {
  const [first, ...rest] = api.info.description.trim().split(/\n\s*\n/);
  return element(
    "div.intro",
    {},
    element("h1", {}, "The API"),
    element("p", {}, ...prose(first)),
    ...rest.map((each) => element("p", {}, ...prose(each))),
    element(
      "p.quiet",
      {},
      "Where keys are asked for, send one as ",
      element("code", {}, "Authorization: Bearer <key>"),
      ".",
    ),
  );
}

function errorCodes(api) {
  const rows = api["x-headrace-errors"].map((each) =>
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

/** A path that is broken at its slashes where it is too long for one line. */
function breakable(path) {
  return path.split(/(?<=.)(?=\/)/).flatMap((piece, place) => (place ? [element("wbr"), piece] : [piece]));
}

/** Shows the routes that have all the words that are looked for. */
function search() {
  const find = document.getElementById("find");
  const routes = [...document.querySelectorAll(".route")].map((each) => ({
    each,
    text: each.textContent.toLowerCase(),
  }));
  const look = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { each, text } of routes) {
      each.hidden = !words.every((word) => text.includes(word));
      shown += !each.hidden;
      document.querySelector(`[data-for="${each.id}"]`).hidden = each.hidden;
    }
    for (const section of document.querySelectorAll("main > section")) {
      const inside = [...section.querySelectorAll(".route")];
      section.hidden = inside.length
        ? inside.every((each) => each.hidden)
        : words.length > 0 && !words.every((word) => section.textContent.toLowerCase().includes(word));
    }
    document.getElementById("nothing").hidden = [...document.querySelectorAll("main > section")].some(
      (each) => !each.hidden,
    );
  };
  find.addEventListener("input", look);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && document.activeElement !== find) {
      event.preventDefault();
      find.focus();
    }
  });
}
