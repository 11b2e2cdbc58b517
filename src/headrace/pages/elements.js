// Making elements without markup: text stays text, so nothing that a document says can become part of the page.

/**
 * An element.
 * @param {string} name Of its tag, with its classes: `div.route`.
 * @param {Record<string, unknown>} attributes Set as they are; functions become listeners of that event.
 * @param {...(Node | string | null | undefined | false)} children What is nothing is left out.
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const made = document.createElement(tag);
  if (classes.length) made.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(key, /** @type {EventListener} */ (value));
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, String(value));
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

/**
 * A text in which what stands between backticks is code.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function prose(text) {
  return text
    .split("`")
    .map((piece, place) => (place % 2 ? element("code", {}, piece) : piece))
    .filter((piece) => piece !== "");
}

/**
 * Lines of code with a button that copies them.
 * @param {string} text
 * @param {string} label What they are, for those who cannot see them.
 */
export function copyable(text, label) {
  const button = element("button", { type: "button", "aria-label": `Copy: ${label}`, click: copy }, "Copy");
  return element(
    "div.code",
    {},
    button,
    element("pre", { tabindex: 0, role: "region", "aria-label": label }, element("code", {}, text)),
  );

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it to copy"; // without https, a browser keeps the clipboard to itself
    }
    setTimeout(() => (button.textContent = "Copy"), 1600);
  }
}
