// A labelled choice among a few values.

import { el } from "../../dom.js";

/** `options` are pairs of a value and its text; `change(value)` is called when another one is chosen. */
export function select(id, label, options, value, change) {
  return el("div", { class: "field" }, el("label", { for: id }, label),
    el("select", { id, onchange: ({ target }) => change(target.value) }, options.map(([code, text]) => el("option", { value: code, ...(code === value ? { selected: true } : {}) }, text))));
}
