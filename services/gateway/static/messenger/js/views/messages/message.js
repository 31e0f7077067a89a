// One message of a conversation, as a row of its list.

import { el, fill, icon } from "../../dom.js";
import { clock, day, full, t } from "../../i18n.js";
import { linked } from "../../links.js";
import { quoteButton } from "./quote.js";
import { reactionChips } from "./reactions.js";
import { refusedChange } from "./refused_change.js";

// Messages of one person within this time are drawn close together.
const JOINED_MS = 300_000;

export class MessageRow {
  constructor(store, peer, actions) {
    this.store = store;
    this.peer = peer;
    this.actions = actions;
    this.node = el("li", { tabindex: "-1" });
  }

  /** Draws what has changed. `before` is the message before it; `isFirstUnread`: the line of new messages is above it. */
  draw(message, before, { isFirstUnread, peerSeen }) {
    this.message = this.store.quotes.applyTo(this.peer, this.store.outbox.applyTo(message));
    const { sent_at, sender_id, sequence } = message;
    const mine = sender_id === this.store.me.user_id;
    const newDay = !before || new Date(before.sent_at).toDateString() !== new Date(sent_at).toDateString();
    const joined = !newDay && before?.sender_id === sender_id && Date.parse(sent_at) - Date.parse(before.sent_at) < JOINED_MS;
    const seen = mine && sequence <= peerSeen;
    const name = mine ? t("you") : this.store.profiles.nameOf(this.peer);
    const state = JSON.stringify([newDay, joined, seen, isFirstUnread, name, this.message]);
    if (state === this.state) return;
    this.state = state;
    this.node.className = `message ${mine ? "mine" : "theirs"} ${joined ? "joined" : ""}`;
    this.#fill(newDay && el("p", { class: "day" }, el("span", {}, day(sent_at))),
      isFirstUnread && el("p", { class: "fresh-line" }, t("new_messages")),
      this.#bubble(mine, seen, name),
      this.message.reactions?.length && reactionChips(this.store, this.message.reactions, (emoji) => this.actions.react(this.message, emoji)));
  }

  #bubble(mine, seen, name) {
    const { store, actions, message } = this;
    return el("div", { class: message.deleted ? "bubble gone" : "bubble" },
      el("span", { class: "hidden" }, `${name}: `),
      message.reply_to && quoteButton(store, message.reply_to, (sequence) => actions.jumpTo(sequence)),
      el("p", { class: "text", dir: "auto" }, message.deleted ? t("message_deleted") : linked(message.text)),
      el("span", { class: "meta" },
        message.edited_at && el("time", { class: "edited", datetime: message.edited_at, title: t("edited_at", { when: full(message.edited_at) }) }, t("edited")),
        el("time", { datetime: message.sent_at, title: full(message.sent_at) }, clock(message.sent_at)),
        mine && !message.deleted && tick(message.waiting ? "waiting" : seen ? "seen" : "sent")),
      message.refused?.map((change) => refusedChange(store, change, (text) => actions.useText(text))),
      !message.deleted && el("button", { class: "more", type: "button", tabindex: "-1", data: { part: "more" }, aria: { label: t("message_menu"), haspopup: "menu" },
        onclick: ({ currentTarget }) => actions.openMenu(message, currentTarget) }, icon("more")));
  }

  /** Fills the row; what has the focus keeps it. */
  #fill(...children) {
    const focused = this.node.contains(document.activeElement) && document.activeElement !== this.node ? document.activeElement.dataset.part ?? "" : undefined;
    fill(this.node, children);
    if (focused !== undefined) ([...this.node.querySelectorAll("[data-part]")].find((part) => part.dataset.part === focused) ?? this.node).focus({ preventScroll: true });
  }
}

const TICKS = { waiting: "clock", seen: "checks", sent: "check" };

function tick(state) {
  return el("span", { class: state === "seen" ? "tick seen" : "tick", title: t(state) }, icon(TICKS[state]), el("span", { class: "hidden" }, t(state)));
}
