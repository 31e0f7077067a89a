// The field in which a message is written, or the text of one is edited. What is written is kept as a draft until it is
// sent.

import { el, icon } from "../../dom.js";
import { t } from "../../i18n.js";
import { ComposerContext } from "./composer_context.js";

// Characters of a message, counted as the gateway counts them: by code points.
const MOST_CHARACTERS = 4000;
const MOST_HEIGHT_PX = 160;

export class Composer {
  /** `sent()` is called when a message was given to the outbox, `editLast()` where the last one is to be edited. */
  constructor(store, peer, { sent, editLast }) {
    this.store = store;
    this.peer = peer;
    this.sent = sent;
    this.editLast = editLast;
    this.context = new ComposerContext(store, () => this.cancel());
    this.field = el("textarea", { rows: 1, placeholder: t("write"), dir: "auto", aria: { label: t("write"), describedby: "too-long composer-context" }, enterkeyhint: "send",
      onkeydown: (event) => this.#key(event), oninput: () => this.#typed() });
    this.form = el("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); this.#submit(); } },
      this.field, el("button", { class: "primary round", type: "submit", aria: { label: t("send") } }, icon("send")));
    this.tooLong = el("p", { class: "problem", id: "too-long", role: "status" });
    this.nodes = [this.tooLong, this.context.node, this.form];
  }

  onShown() {
    const { edited, quoted, text } = this.store.compositions.get(this.peer) ?? {};
    if (quoted) this.context.setReply(quoted);
    if (edited) {
      this.context.setEdit(edited, edited.target);
      this.#setText(text);
    }
    this.messagesChanged();
    this.#restoreDraft();
    this.store.drafts.opened.then(() => this.#restoreDraft());
  }

  setHidden(hidden) {
    for (const node of [this.tooLong, this.form]) node.hidden = hidden;
    this.context.setHidden(hidden);
  }

  focus() {
    this.field.focus();
  }

  /** Begins an answer to a message. */
  reply(message) {
    this.cancel();
    this.context.setReply(message);
    this.#keepComposition();
    this.focus();
  }

  /** Begins to edit a message; `target` is how the outbox finds it. */
  edit(message, target) {
    this.context.setEdit(message, target);
    this.#setText(message.text);
    this.#keepComposition();
    this.focus();
  }

  /** Adds a text to what is written. */
  write(text) {
    this.cancel();
    this.#setText([this.#text, text].filter(Boolean).join("\n"));
    this.#typed();
    this.focus();
  }

  /** Ends an edit or an answer; the draft comes back. Whether there was one. */
  cancel() {
    if (!this.context.isSet) return false;
    if (this.context.edited) this.#setText(this.store.drafts.to(this.peer));
    this.context.clear();
    this.#keepComposition();
    this.focus();
    return true;
  }

  /** What would be sent. */
  get #text() {
    return this.field.value.replace(/\s+$/, "");
  }

  #setText(text) {
    this.field.value = text;
    this.#fitHeight();
    this.#checkLength();
  }

  #key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && matchMedia("(pointer: fine)").matches) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && !event.altKey && !event.isComposing && !this.field.value && !this.context.isSet && this.editLast()) {
      event.preventDefault();
    }
  }

  #typed() {
    this.#fitHeight();
    this.#checkLength();
    this.#keepComposition();
    if (this.context.edited) return;
    this.store.drafts.keep(this.peer, this.field.value);
    if (this.#text) this.store.presence.notifyTyping(this.peer);
  }

  #keepComposition() {
    const { edited, quoted, isSet } = this.context, { compositions } = this.store;
    if (isSet) compositions.set(this.peer, { edited, quoted, text: this.field.value });
    else compositions.delete(this.peer);
  }

  #fitHeight() {
    this.field.style.setProperty("height", "auto");
    this.field.style.setProperty("height", `${Math.min(this.field.scrollHeight, MOST_HEIGHT_PX)}px`);
  }

  /** Puts the draft into the field, unless there is a newer text. */
  #restoreDraft() {
    const draft = this.store.drafts.to(this.peer);
    if (draft && !this.field.value && !this.context.edited) this.#setText(draft);
  }

  /** Takes the draft of another device, unless a text is being written here. */
  draftChanged() {
    const draft = this.store.drafts.to(this.peer), own = this.field.value;
    const isWritten = this.context.edited || (own && document.hasFocus() && document.activeElement === this.field);
    if (!isWritten && (own.trim() ? own : "") !== draft) this.#setText(draft);
  }

  /** Says what is too long, and leaves it as it is; whether it can be sent. */
  #checkLength() {
    const n = [...this.#text].length, fits = n <= MOST_CHARACTERS;
    this.tooLong.textContent = fits ? "" : t("too_long", { n });
    this.field.setAttribute("aria-invalid", String(!fits));
    return fits;
  }

  /** A message that is answered may be another one now. */
  messagesChanged() {
    this.context.update(this.peer);
    this.#keepComposition();
  }

  #submit() {
    const text = this.#text, { edited, quoted } = this.context, { outbox } = this.store;
    if (!this.#checkLength()) return this.focus();
    if (!/[^\s\x1c-\x1f\x85]/.test(text)) return;
    if (edited) {
      if (text !== edited.text) outbox.edit(this.peer, edited.target, text);
      this.cancel();
    } else {
      this.#setText("");
      this.context.clear();
      this.#typed();
      outbox.send(this.peer, text, quoted);
      this.sent();
    }
    this.focus();
  }
}
