// Messages that wait in the outbox, below those that were sent.

import { el, icon, refill } from "../../dom.js";
import { clock, errorText, t } from "../../i18n.js";
import { linkify } from "../../links.js";
import { moreButton } from "./message.js";
import { quoteButton } from "./quote.js";

export class UnsentMessages {
  constructor(store, peer, actions) {
    this.store = store;
    this.peer = peer;
    this.actions = actions;
    // By the id of the entry.
    this.rows = new Map();
    this.node = el("ol", { class: "messages waiting" });
  }

  draw() {
    const { outbox, quotes } = this.store;
    const messages = outbox.to(this.peer).map((entry) => quotes.applyTo(this.peer, outbox.applyTo(entry))).filter((message) => !message.deleted);
    const ids = new Set(messages.map((message) => message.id));
    for (const [id, { node }] of this.rows) {
      if (ids.has(id)) continue;
      // The list keeps the focus: the arrow keys go on from there.
      if (node.contains(document.activeElement)) this.node.closest(".log").focus({ preventScroll: true });
      node.remove();
      this.rows.delete(id);
    }
    for (const [index, message] of messages.entries()) {
      const row = this.rows.get(message.id) ?? new UnsentRow(this.store, this.peer, this.actions);
      this.rows.set(message.id, row);
      row.draw(message);
      const next = this.node.children[index];
      if (next !== row.node) this.node.insertBefore(row.node, next ?? null);
    }
  }
}

class UnsentRow {
  constructor(store, peer, actions) {
    this.store = store;
    this.peer = peer;
    this.actions = actions;
    this.node = el("li", { class: "message mine", tabindex: "-1" });
    this.more = moreButton((button) => actions.openMenu(this.message, button));
  }

  /** Draws what has changed. */
  draw(message) {
    this.message = message;
    const state = JSON.stringify([this.store.profiles.nameOf(this.peer), message]);
    if (state === this.state) return;
    this.state = state;
    const { id, text, at, failed, reply_to: quote } = message, { outbox } = this.store;
    refill(this.node, el("div", { class: `bubble ${failed ? "failed" : "pending"}` },
      quote && quoteButton(this.store, quote, (sequence) => this.actions.jumpTo(sequence)),
      el("p", { class: "text", dir: "auto" }, linkify(text)),
      el("span", { class: "meta" }, clock(at), el("span", { class: "tick", title: t("waiting") }, icon(failed ? "warn" : "clock"), el("span", { class: "hidden" }, failed ? "" : t("waiting")))),
      failed && el("p", { class: "why" }, t("failed", { why: errorText(failed) }), " ",
        el("button", { class: "link", type: "button", onclick: () => outbox.retry(id) }, t("retry")), " ",
        el("button", { class: "link", type: "button", onclick: () => outbox.discard(id) }, t("discard"))),
      this.more));
  }
}
