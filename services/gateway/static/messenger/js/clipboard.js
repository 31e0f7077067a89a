// Copies text.

import { el } from "./dom.js";

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https scripts have no other clipboard. What is outside of an open dialog cannot be selected.
    const field = el("textarea", { class: "hidden", value: text });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}
