// One message of a conversation, as a row of its list.

import { el, fill, icon } from "../../dom.js";
import { clock, day, full, t } from "../../i18n.js";
import { linked } from "../../links.js";

// Messages of one person within this time are drawn close together.
const JOINED_MS = 300_000;

export class MessageRow {
  constructor(store, peer) {
    this.store = store;
    this.peer = peer;
    this.node = el("li");
  }

  /** Draws what has changed. `before` is the message before it; `isFirstUnread`: the line of new messages is above it. */
  draw(message, before, { isFirstUnread, peerSeen }) {
    const mine = message.sender_id === this.store.me.user_id;
    const newDay = !before || new Date(before.sent_at).toDateString() !== new Date(message.sent_at).toDateString();
    const joined = !newDay && before?.sender_id === message.sender_id && Date.parse(message.sent_at) - Date.parse(before.sent_at) < JOINED_MS;
    const seen = mine && message.sequence <= peerSeen;
    const state = `${newDay} ${joined} ${seen} ${isFirstUnread}`;
    if (state === this.state) return;
    this.state = state;
    this.node.className = `message ${mine ? "mine" : "theirs"} ${joined ? "joined" : ""}`;
    fill(this.node, newDay && el("p", { class: "day" }, el("span", {}, day(message.sent_at))),
      isFirstUnread && el("p", { class: "fresh-line" }, t("new_messages")),
      el("div", { class: "bubble" },
        el("span", { class: "hidden" }, `${mine ? t("you") : this.store.profiles.nameOf(this.peer)}: `),
        el("p", { class: "text", dir: "auto" }, linked(message.text)),
        el("span", { class: "meta" }, el("time", { datetime: message.sent_at, title: full(message.sent_at) }, clock(message.sent_at)),
          mine && tick(seen))));
  }
}

function tick(seen) {
  const meaning = t(seen ? "seen" : "sent");
  return el("span", { class: seen ? "tick seen" : "tick", title: meaning }, icon(seen ? "checks" : "check"), el("span", { class: "hidden" }, meaning));
}
