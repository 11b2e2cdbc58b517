// Which model is asked, and how each is: the same as /health says, and why an upstream is unwell.
import { useSignal } from "@preact/signals";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";
import { say } from "./words.js";

/** From here on, a model is quicker found by its name than by looking. */
const MANY = 8;

/** @param {{ house: import("./house.js").House }} properties */
export function Picker({ house }) {
  const { models } = house;
  const chosen = models.chosen.value;
  const away = house.awayUntil.value !== null;
  const state = away ? "away" : (chosen?.state ?? "unknown");
  const label = html`<span class="health" data-state=${state} role="img" aria-label=${say("health", { state: say(`health.${state}`) })}></span>
    <span class="unseen">${say("model")}</span>
    <span class="name" dir="auto">${chosen?.id ?? "–"}</span>
    <${Icon} name="open" />`;
  return html`<${Menu} name=${say("model")} label=${label} kind="models">
    <${List} house=${house} />
  <//>`;
}

/** @param {{ house: import("./house.js").House }} properties */
function List({ house }) {
  const { models, choices } = house;
  const filter = useSignal("");
  const all = models.all.value;
  const words = filter.value.toLowerCase().split(/\s+/);
  const found = all.filter((each) => words.every((word) => each.id.toLowerCase().includes(word)));
  if (all.length === 0) return html`<p class="quiet">${say("model.none")}</p>`;
  return html`
    ${all.length > MANY &&
    html`<input
      type="search"
      aria-label=${say("model.filter")}
      placeholder=${say("model.filter")}
      value=${filter.value}
      onInput=${(/** @type {any} */ event) => (filter.value = event.currentTarget.value)}
    />`}
    <div role="radiogroup" aria-label=${say("model")}>
      ${found.map(
        (each) => html`<label class="choice" key=${each.id} data-model=${each.id}>
          <input
            type="radio"
            name="model"
            checked=${each.id === choices.model.value}
            onChange=${() => models.choose(each.id)}
          />
          <span class="health" data-state=${each.state}></span>
          <span class="name" dir="auto">${each.id}</span>
          <span class="state">${each.leftAlone ? say("health.leftAlone", { count: each.leftAlone }) : say(`health.${each.state}`)}</span>
          ${each.detail && html`<span class="why" dir="auto">${each.detail}</span>`}
        </label>`,
      )}
    </div>`;
}
