// JSON schemas in words and lists: what a value may be, and what an object holds. Asks for nothing.
import { element, prose } from "./elements.js";

/** @typedef {{ [keyword: string]: any }} Schema A JSON schema. */
/** @typedef {{ name: string | null, schema: Schema }} Named It, and the name it has in the document. */

/** Reads the schemas of one document. */
export class Schemas {
  /** @param {Record<string, Schema>} components The document's named schemas. */
  constructor(components) {
    this.components = components;
  }

  /** The schema itself. @param {Schema | undefined} schema @returns {Named} */
  resolve(schema) {
    const name = schema?.$ref?.split("/").pop();
    return name ? { name, schema: this.components[name] } : { name: null, schema: schema ?? {} };
  }

  /** What a value may be, in a few words. @param {Schema} given @returns {string} */
  words(given) {
    const { name, schema } = this.resolve(given);
    if (schema.anyOf) {
      if (schema.discriminator) return `one of ${schema.anyOf.length} kinds`;
      return [...new Set((/** @type {Schema[]} */ (schema.anyOf)).filter((each) => each.type !== "null").map((each) => this.words(each)))].join(
        " or ",
      );
    }
    if (schema.enum)
      return /** @type {unknown[]} */ (schema.enum)
        .filter((value) => value !== null)
        .slice(0, 10)
        .map((value) => JSON.stringify(value))
        .join(" · ");
    if ("const" in schema) return JSON.stringify(schema.const);
    if (schema.type === "array") return `list of ${this.words(schema.items ?? {})}`;
    if (schema.type === "object") return name ?? "object";
    /** @type {{ [type: string]: string }} */
    const kinds = { string: "text", integer: "whole number", number: "number", boolean: "true or false", null: "null" };
    const bounds = [
      schema.minimum != null && `from ${schema.minimum}`,
      schema.maximum != null && `to ${schema.maximum}`,
    ];
    return [kinds[schema.type] ?? "anything", ...bounds.filter(Boolean)].join(" ");
  }

  /** The objects that can be looked into: behind lists, and each of several kinds. @param {Schema} given @returns {Named[]} */
  objects(given) {
    const { name, schema } = this.resolve(given);
    if (schema.anyOf) return (/** @type {Schema[]} */ (schema.anyOf)).flatMap((each) => this.objects(each));
    if (schema.type === "array") return this.objects(schema.items ?? {});
    return schema.type === "object" && schema.properties ? [{ name, schema }] : [];
  }

  /** The fields of an object as a list; those that hold objects can be opened. @param {Schema} schema */
  fields(schema, depth = 0) {
    const needed = new Set(schema.required ?? []);
    const listed = Object.entries(schema.properties ?? {});
    const sorted = [...listed.filter(([name]) => needed.has(name)), ...listed.filter(([name]) => !needed.has(name))];
    const rows = sorted.map(([name, field]) => this.field(name, field, needed.has(name), depth));
    return element("dl.fields", {}, ...rows);
  }

  /** @param {string} name @param {Schema} field @param {boolean} needed @param {number} depth */
  field(name, field, needed, depth) {
    const inner = depth < 4 ? this.objects(field) : [];
    return element(
      "div",
      {},
      element("dt", {}, element("code", {}, name), needed && element("span.needed", {}, "needed")),
      element(
        "dd",
        {},
        field.description && element("div", {}, ...prose(field.description)),
        (inner.length !== 1 || this.words(field) !== inner[0].name) && element("div.kind", {}, this.words(field)),
        ...inner.map((each) => this.foldable(each, depth)),
      ),
    );
  }

  /** @param {Named} named */
  foldable({ name, schema }, depth = 0) {
    const folded = element(
      "details",
      {},
      element("summary", {}, name ?? "object", " ", element("span.quiet", {}, ...prose(schema.description ?? ""))),
    );
    // Filled when it is opened: most never are, and a page of all of them is long.
    folded.addEventListener(
      "toggle",
      () => folded.childElementCount === 1 && folded.append(this.fields(schema, depth + 1)),
    );
    return folded;
  }
}
