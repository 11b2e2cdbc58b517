// The models that can be asked, and how the upstream of each is: what /health says, and nothing else.
import { computed, signal } from "@preact/signals";

/** States of an upstream in which there is nothing to tell. */
const WELL = new Set(["well", "unused"]);

/** @typedef {{ id: string, [field: string]: any }} Model */
/** @typedef {{ name: string, state: string, detail: string | null, left_alone_seconds?: number }} Upstream */
/** @typedef {{ id: string, owner: string, state: string, detail: string, well: boolean, leftAlone: number }} Known */

/** All models, and the one that is chosen. */
export class Models {
  /** @param {import("../client/client.js").Client} client @param {import("./choices.js").Choices} choices */
  constructor(client, choices) {
    this._client = client;
    this._choices = choices;
    /** @type {import("@preact/signals").Signal<Model[]>} */
    this._models = signal([]);
    /** @type {import("@preact/signals").Signal<Upstream[]>} */
    this._upstreams = signal([]);
    /** Every model, with the health of its upstream. @type {import("@preact/signals").ReadonlySignal<Known[]>} */
    this.all = computed(() => {
      const upstreams = new Map(this._upstreams.value.map((each) => [each.name, each]));
      return this._models.value.map(({ id, owned_by: owner }) => {
        const known = upstreams.get(owner);
        const state = known?.state ?? "unknown";
        const leftAlone = Math.ceil(known?.left_alone_seconds ?? 0);
        return { id, owner, state, detail: known?.detail ?? "", well: WELL.has(state) && !leftAlone, leftAlone };
      });
    });
    this.chosen = computed(() => this.all.value.find((each) => each.id === this._choices.model.value) ?? null);
    this.read = signal(false);
  }

  /** Reads both anew. */
  async look() {
    const [models] = await Promise.all([this._client.models(), this.lookAtHealth()]);
    this._models.value = models;
    this.read.value = true;
    if (!models.some((each) => each.id === this._choices.model.value)) {
      this._choices.model.value = models[0]?.id ?? null;
    }
  }

  async lookAtHealth() {
    this._upstreams.value = (await this._client.health()).upstreams ?? [];
  }

  /** @param {string} id */
  choose(id) {
    this._choices.model.value = id;
  }
}
