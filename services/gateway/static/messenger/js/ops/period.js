// A choice of time: the last hours or days, or from one moment to another.

import { el } from "../dom.js";
import { say } from "./i18n.js";

// A view that is repeated with the same bounds is recorded once in ten minutes: the moving bound moves in steps of that length.
const STEP_MS = 600_000;
const SPANS = [["last_hour", 3_600], ["last_day", 86_400], ["last_week", 604_800], ["ever", 0]];

export class Period {
  /** `span`: seconds back from now, 0 for all of the past; `name`: distinguishes the fields of several on a page. */
  constructor(name, span, changed) {
    this.name = name;
    this.span = span;
    this.exact = false;
    this.from = "";
    this.to = "";
    this.changed = changed;
    this.node = el("div", { class: "period" });
    this.draw();
  }

  /** The interface's bounds, as far as there are any. */
  bounds() {
    if (!this.exact) return this.span ? { since: new Date(Math.floor((Date.now() - this.span * 1000) / STEP_MS) * STEP_MS).toISOString() } : {};
    return Object.fromEntries([["since", this.from], ["until", this.to]].filter(([, value]) => value).map(([key, value]) => [key, new Date(value).toISOString()]));
  }

  /** What was chosen, to see whether it still is. */
  get chosen() {
    return JSON.stringify([this.exact, this.exact ? [this.from, this.to] : this.span]);
  }

  draw() {
    const choice = (label, pressed, choose) => el("button", { type: "button", aria: { pressed: String(pressed) }, onclick: () => {
      choose();
      this.draw();
      this.node.querySelector("[aria-pressed=true]").focus();
      this.changed();
    } }, say(label));
    this.node.replaceChildren(
      el("div", { class: "choices", role: "group", aria: { label: say("time") } },
        SPANS.map(([label, seconds]) => choice(label, !this.exact && seconds === this.span, () => { this.exact = false; this.span = seconds; })),
        choice("exact", this.exact, () => { this.exact = true; })),
      this.exact ? el("div", { class: "bounds" }, this.#bound("from"), this.#bound("to")) : "");
  }

  #bound(edge) {
    const id = `${this.name}-${edge}`;
    return el("div", { class: "field" }, el("label", { for: id }, say(edge)),
      el("input", { id, type: "datetime-local", step: 1, value: this[edge], onchange: ({ target }) => { this[edge] = target.value; this.changed(); } }));
  }
}
