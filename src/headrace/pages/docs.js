// The page of the API: /openapi.json, drawn. Everything shown comes from that document.
import { copyable, element, prose } from "./elements.js";
import { Schemas } from "./schemas.js";

const METHODS = ["get", "post", "put", "delete"];
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
      element("section", { "aria-labelledby": `group-${name}` }, element("h2", { id: `group-${name}` }, name), ...routes.map((each) => route(each, api, schemas))),
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
    element("ul", {}, ...routes.map(({ path, method, operation }) => element("li", { "data-for": operation.operationId }, element("a", { href: `#${operation.operationId}` }, badge(method), element("code", {}, ...breakable(path)))))),
  ]);
  lists.push(element("h2", {}, "More"), element("ul", {}, element("li", {}, element("a", { href: "#errors" }, "Error codes"))));
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
    "div.intro", {},
    element("h1", {}, "The API"),
    element("p", {}, ...prose(first)),
    ...rest.map((each) => element("p", {}, ...prose(each))),
    element("p.quiet", {}, "Where keys are asked for, send one as ", element("code", {}, "Authorization: Bearer <key>"), "."),
  );
}

function route({ path, method, operation, also }, api, schemas) {
  const identifier = operation.operationId;
  return element(
    "article.route", { id: identifier },
    element("h3", {}, badge(method), element("a", { href: `#${identifier}` }, element("code", {}, path))),
    element("p.lead", {}, ...prose(operation.summary), "."),
    operation.description && element("p", {}, ...prose(operation.description)),
    also.length > 0 && element("p.also.quiet", {}, "Also at ", ...also.flatMap((each, place) => [place ? ", " : "", element("code", {}, each)])),
    copyable(curl(path, method, operation), `curl for ${method.toUpperCase()} ${path}`),
    ...parameters(operation, api, schemas),
    body(operation, schemas),
    answers(operation, schemas),
  );
}

function curl(path, method, operation) {
  const values = Object.fromEntries((operation.parameters ?? []).filter((each) => each.in === "path").map((each) => [each.name, each.example]));
  const address = location.origin + path.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
  const example = operation.requestBody?.content["application/json"].example;
  if (!example) return method === "get" ? `curl '${address}'` : `curl -X ${method.toUpperCase()} '${address}'`;
  return `curl -N '${address}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(example)}'`;
}

function parameters(operation, api, schemas) {
  const all = (operation.parameters ?? []).map((each) => (each.$ref ? { ...api.components.parameters[each.$ref.split("/").pop()], shared: true } : each));
  const listed = (title, some) =>
    some.length > 0 &&
    element(
      "details", { open: title === "Parameters" },
      element("summary", {}, title, " ", element("span.quiet", {}, `(${some.length})`)),
      element("dl.fields", {}, ...some.map((each) =>
        element("div", {},
          element("dt", {}, element("code", {}, each.name), each.required && element("span.needed", {}, "needed")),
          element("dd", {}, element("div", {}, ...prose(each.description)), element("div.kind", {}, `${each.in}, ${schemas.words(each.schema)}`))))),
    );
  return [listed("Parameters", all.filter((each) => !each.shared)), listed("Header options", all.filter((each) => each.shared))];
}

function body(operation, schemas) {
  const given = operation.requestBody?.content["application/json"].schema;
  if (!given) return null;
  const { name, schema } = schemas.resolve(given);
  const folded = element("details", {}, element("summary", {}, "Body ", element("span.quiet", {}, name)), element("p.quiet", {}, ...prose(schema.description ?? "")));
  folded.addEventListener("toggle", () => folded.childElementCount === 2 && folded.append(schemas.fields(schema)));
  return folded;
}

function answers(operation, schemas) {
  const listed = Object.entries(operation.responses);
  return element(
    "details", {},
    element("summary", {}, "Answers ", element("span.quiet", {}, listed.map(([status]) => status).join(" "))),
    ...listed.map(([status, response]) => {
      const kinds = Object.entries(response.content ?? {}).map(([type, media]) => {
        const shown = media["x-headrace-frame"] ?? media.schema;
        const inner = status < "400" ? schemas.objects(shown) : [];
        return element("div", {}, element("div.kind", {}, type, media["x-headrace-frame"] ? ", each with JSON" : ""), ...inner.map((each) => schemas.foldable(each)));
      });
      const kind = status >= "500" ? ".failed" : status >= "400" ? ".wrong" : "";
      return element("div.answer", {}, element(`span.status${kind}`, {}, status), element("div", {}, element("p", {}, ...prose(response.description)), ...(status < "400" ? kinds : [])));
    }),
  );
}

function errorCodes(api) {
  const rows = api["x-headrace-errors"].map((each) =>
    element("tr", {}, element("td", {}, element("code", {}, each.code)), element("td", {}, String(each.status)), element("td", {}, each.retryable ? "yes" : "no"), element("td", {}, ...prose(each.told))));
  return element(
    "section", { id: "errors", "aria-labelledby": "errors-title" },
    element("h2", { id: "errors-title" }, "Error codes"),
    element("p", {}, "Every error is an object with a ", element("code", {}, "message"), " that says what to do, and a ", element("code", {}, "code"), " that never changes."),
    element("div.scroll", { tabindex: 0, role: "region", "aria-label": "Table of the error codes" }, element("table", {},
      element("thead", {}, element("tr", {}, ...["code", "status", "try again", "what happened"].map((each) => element("th", { scope: "col" }, each)))),
      element("tbody", {}, ...rows))),
  );
}

/** A path that is broken at its slashes where it is too long for one line. */
function breakable(path) {
  return path.split(/(?<=.)(?=\/)/).flatMap((piece, place) => (place ? [element("wbr"), piece] : [piece]));
}

function badge(method) {
  return element(`span.method.${method}`, {}, method.toUpperCase());
}

/** Shows the routes that have all the words that are looked for. */
function search() {
  const find = document.getElementById("find");
  const routes = [...document.querySelectorAll(".route")].map((each) => ({ each, text: each.textContent.toLowerCase() }));
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
      section.hidden = inside.length ? inside.every((each) => each.hidden) : words.length > 0 && !words.every((word) => section.textContent.toLowerCase().includes(word));
    }
    document.getElementById("nothing").hidden = [...document.querySelectorAll("main > section")].some((each) => !each.hidden);
  };
  find.addEventListener("input", look);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && document.activeElement !== find) {
      event.preventDefault();
      find.focus();
    }
  });
}
