// A JSON value as text that can be read, its parts in colours of their own.

import { el } from "../dom.js";

const PARTS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function json(value, label) {
  const text = JSON.stringify(value, null, 2);
  const node = el("pre", { class: "json", tabindex: "0", role: "region", aria: { label } });
  let done = 0;
  for (const found of text.matchAll(PARTS)) {
    node.append(text.slice(done, found.index), el("span", { class: found[2] ? "key" : found[1] ? "text" : "value" }, found[0]));
    done = found.index + found[0].length;
  }
  node.append(text.slice(done));
  return node;
}
