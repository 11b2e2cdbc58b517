// The bar at the top: conversations, the model and how it is, the theme.
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { WORDS } from "./words.js";

/** States of an upstream in which there is nothing to tell. */
const WELL = new Set(["well", "unused"]);
const THEMES = ["system", "light", "dark"];

export function Top({ house }) {
  const theme = house.theme.value;
  return html`<header class="top">
    <button
      type="button"
      class="sign"
      aria-label=${WORDS.conversations}
      aria-expanded=${house.listShown.value ? "true" : "false"}
      onClick=${() => (house.listShown.value = !house.listShown.value)}
    >
      <${Icon} name="menu" />
    </button>
    <a class="brand" href="/chat">headrace</a>
    <${Models} house=${house} />
    <button
      type="button"
      class="sign"
      aria-label=${WORDS.theme[theme]}
      title=${WORDS.theme[theme]}
      onClick=${() => (house.theme.value = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])}
    >
      <${Icon} name=${theme} />
    </button>
    <button type="button" class="sign" aria-label=${WORDS.newConversation} title=${WORDS.newConversation} onClick=${() => house.begin()}>
      <${Icon} name="new" />
    </button>
  </header>`;
}

function Models({ house }) {
  const upstreams = new Map(house.upstreams.value.map((each) => [each.name, each]));
  const models = house.models.value;
  const chosen = models.find((each) => each.id === house.model.value);
  const upstream = chosen && upstreams.get(chosen.owned_by);
  const state = house.serverAway.value ? "away" : (upstream?.state ?? "unknown");
  const why = house.serverAway.value ? "The server cannot be reached" : (upstream?.detail ?? "");
  return html`<label class="models" title=${why || state}>
    <span class="unseen">${WORDS.model}</span>
    <span class="health" data-state=${state} role="img" aria-label=${`Health: ${state}. ${why}`}></span>
    <select onChange=${(event) => (house.model.value = event.currentTarget.value)} value=${house.model.value}>
      ${models.map(({ id, owned_by: owner }) => {
        const known = upstreams.get(owner);
        const unwell = known && !WELL.has(known.state) ? ` (${known.state})` : "";
        return html`<option key=${id} value=${id}>${id}${unwell}</option>`;
      })}
    </select>
  </label>`;
}
