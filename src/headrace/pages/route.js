// One route of the API as an element: what it is asked, what it answers, and a line to paste.
import { copyable, element, prose } from "./elements.js";

/** @typedef {import("./schemas.js").Schema} Schema */
/** @typedef {import("./schemas.js").Schemas} Schemas */
/** @typedef {{ [field: string]: any }} OpenAPI The document. */
/** @typedef {{ [field: string]: any }} Operation One method of one path in it. */
/** @typedef {{ [field: string]: any }} Parameter */
/** @typedef {{ path: string, method: string, operation: Operation, also: string[] }} Route `also`: its other addresses. */

/** One route with all that the document says of it. @param {Route} route @param {OpenAPI} api @param {Schemas} schemas */
export function route({ path, method, operation, also }, api, schemas) {
  const identifier = operation.operationId;
  return element(
    "article.route",
    { id: identifier },
    element("h3", {}, badge(method), element("a", { href: `#${identifier}` }, element("code", {}, path))),
    element("p.lead", {}, ...prose(operation.summary), "."),
    operation.description && element("p", {}, ...prose(operation.description)),
    also.length > 0 &&
      element(
        "p.also.quiet",
        {},
        "Also at ",
        ...also.flatMap((each, place) => [place ? ", " : "", element("code", {}, each)]),
      ),
    copyable(curl(path, method, operation), `curl for ${method.toUpperCase()} ${path}`),
    ...parameters(operation, api, schemas),
    body(operation, schemas),
    answers(operation, schemas),
  );
}

/** @param {string} path @param {string} method @param {Operation} operation */
function curl(path, method, operation) {
  /** @type {Parameter[]} */
  const given = operation.parameters ?? [];
  const values = Object.fromEntries(
    given.filter((each) => each.in === "path").map((each) => [each.name, each.example]),
  );
  const address = location.origin + path.replace(/\{(\w+)\}/g, (/** @type {string} */ whole, /** @type {string} */ name) => values[name] ?? whole);
  const bodies = operation.requestBody?.content ?? {};
  if (bodies["text/markdown"]) {
    const asked = given.find((each) => each.in === "query" && each.example);
    const query = asked ? `?${asked.name}=${asked.example}` : "";
    return `curl '${address}${query}' \\\n  -H 'Content-Type: text/markdown' --data-binary @guide.md`;
  }
  const example = bodies["application/json"]?.example;
  if (!example) return method === "get" ? `curl '${address}'` : `curl -X ${method.toUpperCase()} '${address}'`;
  return `curl -N '${address}' \\\n  -H 'Content-Type: application/json' \\\n  -d '${JSON.stringify(example)}'`;
}

/** @param {Operation} operation @param {OpenAPI} api @param {Schemas} schemas */
function parameters(operation, api, schemas) {
  /** @type {Parameter[]} */
  const all = (operation.parameters ?? []).map((/** @type {Parameter} */ each) =>
    each.$ref ? { ...api.components.parameters[each.$ref.split("/").pop()], shared: true } : each,
  );
  const listed = (/** @type {string} */ title, /** @type {Parameter[]} */ some) =>
    some.length > 0 &&
    element(
      "details",
      { open: title === "Parameters" },
      element("summary", {}, title, " ", element("span.quiet", {}, `(${some.length})`)),
      element(
        "dl.fields",
        {},
        ...some.map((each) =>
          element(
            "div",
            {},
            element("dt", {}, element("code", {}, each.name), each.required && element("span.needed", {}, "needed")),
            element(
              "dd",
              {},
              element("div", {}, ...prose(each.description)),
              element("div.kind", {}, `${each.in}, ${schemas.words(each.schema)}`),
            ),
          ),
        ),
      ),
    );
  return [
    listed(
      "Parameters",
      all.filter((each) => !each.shared),
    ),
    listed(
      "Header options",
      all.filter((each) => each.shared),
    ),
  ];
}

/** @param {Operation} operation @param {Schemas} schemas */
function body(operation, schemas) {
  const given = operation.requestBody?.content["application/json"]?.schema;
  if (!given) return null;
  const { name, schema } = schemas.resolve(given);
  const folded = element(
    "details",
    {},
    element("summary", {}, "Body ", element("span.quiet", {}, name)),
    element("p.quiet", {}, ...prose(schema.description ?? "")),
  );
  folded.addEventListener("toggle", () => folded.childElementCount === 2 && folded.append(schemas.fields(schema)));
  return folded;
}

/** @param {Operation} operation @param {Schemas} schemas */
function answers(operation, schemas) {
  const listed = Object.entries(operation.responses);
  return element(
    "details",
    {},
    element("summary", {}, "Answers ", element("span.quiet", {}, listed.map(([status]) => status).join(" "))),
    ...listed.map(([status, response]) => {
      const kinds = Object.entries(response.content ?? {}).map(([type, media]) => {
        const shown = media["x-headrace-frame"] ?? media.schema;
        const inner = status < "400" ? schemas.objects(shown) : [];
        return element(
          "div",
          {},
          element("div.kind", {}, type, media["x-headrace-frame"] ? ", each with JSON" : ""),
          ...inner.map((each) => schemas.foldable(each)),
        );
      });
      const kind = status >= "500" ? ".failed" : status >= "400" ? ".wrong" : "";
      return element(
        "div.answer",
        {},
        element(`span.status${kind}`, {}, status),
        element("div", {}, element("p", {}, ...prose(response.description)), ...(status < "400" ? kinds : [])),
      );
    }),
  );
}

/** The method as a small sign. @param {string} method */
export function badge(method) {
  return element(`span.method.${method}`, {}, method.toUpperCase());
}
