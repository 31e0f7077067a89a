// Messages that wait in the outbox, below those that were sent.

import { el, fill, icon } from "../../dom.js";
import { clock, reason, t } from "../../i18n.js";
import { linked } from "../../links.js";
import { quoteButton } from "./quote.js";

export class UnsentMessages {
  constructor(store, peer, actions) {
    this.store = store;
    this.peer = peer;
    this.actions = actions;
    this.node = el("ol", { class: "messages waiting" });
  }

  draw() {
    const { outbox, quotes } = this.store;
    const messages = outbox.to(this.peer).map((entry) => quotes.applyTo(this.peer, outbox.applyTo(entry)));
    const state = JSON.stringify(messages);
    if (state === this.state) return;
    this.state = state;
    fill(this.node, messages.filter((message) => !message.deleted).map((message) => this.#row(message)));
  }

  #row(message) {
    const { id, text, at, failed, reply_to: quote } = message, { outbox } = this.store, { actions } = this;
    return el("li", { class: "message mine", tabindex: "-1" }, el("div", { class: `bubble ${failed ? "failed" : "pending"}` },
      quote && quoteButton(this.store, quote, (sequence) => actions.jumpTo(sequence)),
      el("p", { class: "text", dir: "auto" }, linked(text)),
      el("span", { class: "meta" }, clock(at), el("span", { class: "tick", title: t("waiting") }, icon(failed ? "warn" : "clock"), el("span", { class: "hidden" }, failed ? "" : t("waiting")))),
      failed && el("p", { class: "why" }, t("failed", { why: reason(failed) }), " ",
        el("button", { class: "link", type: "button", onclick: () => outbox.retry(id) }, t("retry")), " ",
        el("button", { class: "link", type: "button", onclick: () => outbox.discard(id) }, t("discard"))),
      el("button", { class: "more", type: "button", tabindex: "-1", aria: { label: t("message_menu"), haspopup: "menu" },
        onclick: ({ currentTarget }) => actions.openMenu(message, currentTarget) }, icon("more"))));
  }
}
