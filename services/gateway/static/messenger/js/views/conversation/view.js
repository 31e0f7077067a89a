// A conversation with a friend: header, messages, composer; for others, who that is and what can be done about it.

import { announce } from "../../announce.js";
import { el } from "../../dom.js";
import { errorText, t } from "../../i18n.js";
import { MessageActions } from "./actions.js";
import { Composer } from "./composer.js";
import { Header } from "./header.js";
import { MessageList } from "../messages/message_list.js";
import { excerpt } from "../messages/quote.js";
import { StrangerView } from "./stranger.js";

export class ConversationView {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    this.problem = el("p", { class: "problem", role: "alert" });
    this.header = new Header(store, peer, { failed: (text) => { this.problem.textContent = text; } });
    this.actions = new MessageActions(this);
    this.messages = new MessageList(store, peer, { actions: this.actions, failed: (error) => { this.problem.textContent = errorText(error); } });
    // In place of the composer where the other account was deleted.
    this.gone = el("p", { class: "soft gone-account", hidden: true }, t("deleted_account_hint"));
    // In place of the messages where the two are no friends.
    this.stranger = new StrangerView(store, peer);
    this.composer = new Composer(store, peer, { sent: () => this.messages.showNewest(), editLast: () => this.actions.editLast() });
    this.node = el("section", { class: "thread", onkeydown: (event) => this.#key(event) },
      this.header.node, this.messages.node, this.stranger.node, this.problem, this.gone, this.composer.nodes);
  }

  onShown() {
    this.composer.onShown();
    this.#showRelationship();
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  /** Shows a message in the middle of the view. */
  jumpTo(sequence) {
    this.problem.textContent = "";
    return this.messages.jumpTo(sequence);
  }

  close() {
    this.actions.close();
    this.messages.close();
  }

  update(kind, detail) {
    if (["profile", "conversations", "presence"].includes(kind)) this.header.draw();
    if (["friends", "blocks", "conversations", "profile"].includes(kind)) this.#showRelationship();
    if (kind === "message_event") this.#announce(detail);
    if (kind === "drafts" && detail === this.peer) this.composer.draftChanged();
    if (kind === "messages" && detail !== this.peer) return;
    if (kind === "messages") this.composer.messagesChanged();
    this.messages.update(kind);
  }

  /** Shows the conversation to friends, and the other person to others. */
  #showRelationship() {
    const relationship = this.store.friends.relationship(this.peer), isOpen = relationship === "accepted";
    const isGone = isOpen && this.store.profiles.isDeleted(this.peer);
    if (!this.stranger.draw(relationship) && this.gone.hidden === !isGone) return;
    this.gone.hidden = !isGone;
    this.problem.textContent = "";
    // What is typed is kept as a draft; the messages are not shown any more.
    this.composer.setHidden(!isOpen || isGone);
    this.messages.setHidden(!isOpen);
  }

  /** Says to screen readers what the other person has done. */
  #announce({ peer, kind, by, text = "", emoji }) {
    if (peer === this.peer && by !== this.store.me.user_id && (kind !== "reacted" || emoji)) {
      announce(t(`announce_${kind}`, { name: this.store.profiles.nameOf(by), text: excerpt(text), emoji }));
    }
  }

  #key(event) {
    // Without one to cancel, Escape leaves the conversation.
    if (event.key !== "Escape" || event.isComposing || !this.composer.cancel()) return;
    event.preventDefault();
    event.stopPropagation();
  }
}
