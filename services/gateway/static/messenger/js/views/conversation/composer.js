// The field in which a message is written. Its text is kept as a draft until it is sent.

import { el, icon } from "../../dom.js";
import { t } from "../../i18n.js";

// Characters of a message, counted as the gateway counts them: by code points.
const MOST_CHARACTERS = 4000;
const MOST_HEIGHT_PX = 160;

export class Composer {
  /** `sent()` is called when a message was given to the outbox. */
  constructor(store, peer, { sent }) {
    this.store = store;
    this.peer = peer;
    this.sent = sent;
    this.field = el("textarea", { rows: 1, placeholder: t("write"), dir: "auto", aria: { label: t("write"), describedby: "too-long" }, enterkeyhint: "send",
      onkeydown: (event) => this.#key(event), oninput: () => this.#typed() });
    this.form = el("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); this.#send(); } },
      this.field, el("button", { class: "primary round", type: "submit", aria: { label: t("send") } }, icon("send")));
    this.tooLong = el("p", { class: "problem", id: "too-long", role: "status" });
    this.nodes = [this.tooLong, this.form];
  }

  shown() {
    this.#restoreDraft();
    this.store.drafts.opened.then(() => this.#restoreDraft());
  }

  setHidden(hidden) {
    for (const node of this.nodes) node.hidden = hidden;
  }

  focus() {
    this.field.focus();
  }

  /** What would be sent. */
  get #text() {
    return this.field.value.replace(/\s+$/, "");
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && matchMedia("(pointer: fine)").matches) {
      event.preventDefault();
      this.#send();
    }
  }

  #typed() {
    this.#fitHeight();
    this.#checkLength();
    this.store.drafts.keep(this.peer, this.field.value);
  }

  #fitHeight() {
    this.field.style.setProperty("height", "auto");
    this.field.style.setProperty("height", `${Math.min(this.field.scrollHeight, MOST_HEIGHT_PX)}px`);
  }

  /** Puts the draft into the field, unless there is a newer text. */
  #restoreDraft() {
    const draft = this.store.drafts.to(this.peer);
    if (!draft || this.field.value) return;
    this.field.value = draft;
    this.#fitHeight();
    this.#checkLength();
  }

  /** Says what is too long, and leaves it as it is; whether it can be sent. */
  #checkLength() {
    const n = [...this.#text].length, fits = n <= MOST_CHARACTERS;
    this.tooLong.textContent = fits ? "" : t("too_long", { n });
    this.field.setAttribute("aria-invalid", String(!fits));
    return fits;
  }

  #send() {
    const text = this.#text;
    if (!this.#checkLength()) return this.focus();
    if (!/[^\s\x1c-\x1f\x85]/.test(text)) return;
    this.field.value = "";
    this.#typed();
    this.store.outbox.add(this.peer, text);
    this.sent();
    this.focus();
  }
}
