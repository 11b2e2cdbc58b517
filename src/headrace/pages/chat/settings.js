// What a person can choose: light or dark, the language, whether thoughts are shown.
import { THEMES } from "./choices.js";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { Menu } from "./menu.js";
import { LANGUAGES, chooseLanguage, chosenLanguage, say } from "./words.js";

/** @param {{ house: import("./house.js").House }} properties */
export function Settings({ house }) {
  const { theme, rationale } = house.choices;
  return html`<${Menu} name=${say("settings")} icon="settings" kind="settings">
    <fieldset>
      <legend>${say("settings.theme")}</legend>
      <div class="segments">
        ${THEMES.map(
          (each) => html`<label key=${each}>
            <input type="radio" name="theme" value=${each} checked=${theme.value === each} onChange=${() => (theme.value = each)} />
            <${Icon} name=${each} />
            <span>${say(`settings.theme.${each}`)}</span>
          </label>`,
        )}
      </div>
    </fieldset>
    <label class="row">
      <span>${say("settings.language")}</span>
      <select value=${chosenLanguage.value ?? ""} onChange=${(/** @type {any} */ event) => chooseLanguage(event.currentTarget.value || null)}>
        <option value="">${say("settings.asBrowser")}</option>
        ${Object.entries(LANGUAGES).map(([code, name]) => html`<option key=${code} value=${code} lang=${code}>${name}</option>`)}
      </select>
    </label>
    <label class="row">
      <span>${say("settings.rationale")}</span>
      <input
        type="checkbox"
        role="switch"
        checked=${rationale.value}
        onChange=${(/** @type {any} */ event) => (rationale.value = event.currentTarget.checked)}
      />
    </label>
    <button type="button" data-closes onClick=${() => (house.sheet.value = "keys")}>
      <span>${say("keys.open")}</span><kbd>?</kbd>
    </button>
  <//>`;
}
