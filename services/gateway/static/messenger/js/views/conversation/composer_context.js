// The bar above the composer: which message is edited, or answered.

import { el, fill, icon } from "../../dom.js";
import { t } from "../../i18n.js";
import { quoteParts } from "../messages/quote.js";

export class ComposerContext {
  /** `cancel()` is called by the bar's button. */
  constructor(store, cancel) {
    this.store = store;
    this.cancel = cancel;
    // The message that is edited: {text, target}.
    this.edited = null;
    // The message that is answered, as a quote: {message_id, sequence, sender_id, text, deleted?}.
    this.quoted = null;
    this.node = el("div", { class: "context", id: "composer-context", hidden: true });
  }

  get isSet() {
    return Boolean(this.edited || this.quoted);
  }

  setHidden(hidden) {
    this.node.hidden = hidden || !this.isSet;
  }

  setEdit({ text }, target) {
    this.edited = { text, target };
    this.quoted = null;
    this.#draw("edit", t("cancel_edit"), [el("strong", {}, t("editing")), el("span", { class: "excerpt", dir: "auto" }, text)]);
  }

  setReply({ message_id, sequence, sender_id, text, deleted }) {
    this.quoted = { message_id, sequence, sender_id, text, deleted };
    this.edited = null;
    this.#draw("reply", t("cancel_reply"), [el("span", { class: "hidden" }, `${t("reply")}: `), quoteParts(this.store, this.quoted)]);
  }

  /** Shows the answered message as it is now: it may have been edited or deleted. */
  update(peer) {
    if (!this.quoted) return;
    const { reply_to: now } = this.store.quotes.applyTo(peer, { reply_to: this.quoted });
    if (now.text === this.quoted.text && now.deleted === this.quoted.deleted) return;
    const { hidden } = this.node;
    this.setReply(now);
    this.node.hidden = hidden;
  }

  clear() {
    this.edited = this.quoted = null;
    this.node.hidden = true;
    fill(this.node);
  }

  #draw(sign, cancelLabel, parts) {
    this.node.hidden = false;
    fill(this.node, icon(sign), el("div", { class: "quoted" }, parts),
      el("button", { type: "button", class: "quiet round", aria: { label: cancelLabel }, onclick: this.cancel }, icon("close")));
  }
}
