// A JSON value as text that can be read, its parts in colours of their own.

import { el } from "../dom.js";

const PARTS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function json(value, label) {
  const text = JSON.stringify(value, null, 2);
  const node = el("pre", { class: "json", tabindex: "0", role: "region", aria: { label } });
  let done = 0;
  for (const match of text.matchAll(PARTS)) {
    node.append(text.slice(done, match.index), el("span", { class: match[2] ? "property" : match[1] ? "text" : "value" }, match[0]));
    done = match.index + match[0].length;
  }
  node.append(text.slice(done));
  return node;
}
