// What a person chose on this page, kept in this browser: light or dark, the model, whether thoughts are shown.
import { effect, signal } from "@preact/signals";
import { keep, kept } from "./kept.js";

export const THEMES = ["system", "light", "dark"];

/** The choices, each a signal that is kept whenever it changes. */
export class Choices {
  constructor() {
    this.theme = signal(kept("theme") ?? "system");
    /** @type {import("@preact/signals").Signal<string | null>} */
    this.model = signal(kept("model"));
    this.rationale = signal(kept("rationale") !== "off");
    /** Whether the list of conversations stands beside them, where there is room for it. */
    this.side = signal(kept("side") !== "off");
    effect(() => {
      const theme = this.theme.value;
      keep("theme", theme === "system" ? null : theme);
      if (theme === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme;
    });
    effect(() => keep("model", this.model.value));
    effect(() => keep("rationale", this.rationale.value ? null : "off"));
    effect(() => keep("side", this.side.value ? null : "off"));
  }
}
