// Messages that wait in the outbox, below those that were sent.

import { el, fill, icon } from "../../dom.js";
import { clock, reason, t } from "../../i18n.js";
import { linked } from "../../links.js";

export class UnsentMessages {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    this.node = el("ol", { class: "messages waiting" });
  }

  draw() {
    const messages = this.store.outbox.to(this.peer);
    const state = JSON.stringify(messages.map(({ id, failed }) => [id, failed]));
    if (state === this.state) return;
    this.state = state;
    fill(this.node, messages.map((message) => this.#row(message)));
  }

  #row({ id, text, at, failed }) {
    const { outbox } = this.store;
    return el("li", { class: "message mine" }, el("div", { class: `bubble ${failed ? "failed" : "pending"}` },
      el("p", { class: "text", dir: "auto" }, linked(text)),
      el("span", { class: "meta" }, clock(at), el("span", { class: "tick", title: t("waiting") }, icon(failed ? "warn" : "clock"), el("span", { class: "hidden" }, failed ? "" : t("waiting")))),
      failed && el("p", { class: "why" }, t("failed", { why: reason(failed) }), " ",
        el("button", { class: "link", type: "button", onclick: () => outbox.retry(id) }, t("retry")), " ",
        el("button", { class: "link", type: "button", onclick: () => outbox.discard(id) }, t("discard")))));
  }
}
