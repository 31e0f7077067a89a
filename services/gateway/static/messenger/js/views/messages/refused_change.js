// A change of a message that the gateway did not accept: why, and what can be done with it.

import { el } from "../../dom.js";
import { errorText, t } from "../../i18n.js";

/** `use(text)` puts the text of a refused edit into the composer, so that it is not lost. */
export function refusedChange(store, { id, kind, text, failed }, use) {
  const button = (label, onclick) => [" ", el("button", { class: "link", type: "button", onclick }, t(label))];
  const discard = () => store.outbox.discard(id);
  return el("div", { class: "why", role: "status" },
    el("p", {}, t(`refused_${kind}`, { why: errorText(failed) })),
    text && el("p", { class: "refused-text", dir: "auto" }, text),
    el("p", {}, kind === "edit" && button("use_text", () => { use(text); discard(); }),
      button("retry", () => store.outbox.retry(id)), button("discard", discard)));
}
