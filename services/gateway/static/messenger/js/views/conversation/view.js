// A conversation with a friend: header, messages, composer; for others, who that is and what can be done about it.

import { el } from "../../dom.js";
import { reason } from "../../i18n.js";
import { Composer } from "./composer.js";
import { Header } from "./header.js";
import { MessageList } from "./message_list.js";
import { StrangerView } from "./stranger.js";

export class ConversationView {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    this.problem = el("p", { class: "problem", role: "alert" });
    this.header = new Header(store, peer);
    this.messages = new MessageList(store, peer, { failed: (error) => { this.problem.textContent = reason(error); } });
    // In place of the messages where the two are no friends.
    this.stranger = new StrangerView(store, peer);
    this.composer = new Composer(store, peer, { sent: () => this.messages.showNewest() });
    this.node = el("section", { class: "thread" }, this.header.node, this.messages.node, this.stranger.node, this.problem, this.composer.nodes);
  }

  shown() {
    this.composer.shown();
    this.#showStanding();
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  close() {
    this.messages.close();
  }

  update(kind, detail) {
    if (kind === "profile" || kind === "conversations") this.header.draw();
    if (["friends", "conversations", "profile"].includes(kind)) this.#showStanding();
    if (kind === "messages" && detail !== this.peer) return;
    this.messages.update(kind);
  }

  /** Shows the conversation to friends, and the other person to others. */
  #showStanding() {
    const standing = this.store.friends.standing(this.peer), isOpen = standing === "accepted";
    if (!this.stranger.draw(standing)) return;
    this.problem.textContent = "";
    // What is typed is kept as a draft; the messages are not shown any more.
    this.composer.setHidden(!isOpen);
    this.messages.setHidden(!isOpen);
  }
}
