// One message of a conversation, as a row of its list.

import { el, icon, refill } from "../../dom.js";
import { clock, day, fullTime, t } from "../../i18n.js";
import { linkify } from "../../links.js";
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
    // The same one as long as the row is there: an open menu belongs to it.
    this.more = moreButton((button) => actions.openMenu(this.message, button));
  }

  /** Draws what has changed. `before` is the message before it; `isFirstUnread`: the line of new messages is above it. */
  draw(message, before, { isFirstUnread, peerSeen }) {
    this.message = this.store.quotes.applyTo(this.peer, this.store.outbox.applyTo(message));
    const { sent_at, sender_id, sequence } = message;
    const mine = sender_id === this.store.me.user_id;
    const newDay = !before || new Date(before.sent_at).toDateString() !== new Date(sent_at).toDateString();
    const joined = !newDay && before?.sender_id === sender_id && Date.parse(sent_at) - Date.parse(before.sent_at) < JOINED_MS;
    const seen = mine && sequence <= peerSeen;
    const peerName = this.store.profiles.nameOf(this.peer);
    const state = JSON.stringify([newDay, joined, seen, isFirstUnread, peerName, this.message]);
    if (state === this.state) return;
    this.state = state;
    this.node.className = `message ${mine ? "mine" : "theirs"} ${joined ? "joined" : ""}`;
    refill(this.node, newDay && el("p", { class: "day" }, el("span", {}, day(sent_at))),
      isFirstUnread && el("p", { class: "fresh-line" }, t("new_messages")),
      this.#bubble(mine, seen, mine ? t("you") : peerName),
      this.message.reactions?.length && reactionChips(this.store, this.message.reactions, (emoji) => this.actions.react(this.message, emoji)));
  }

  #bubble(mine, seen, name) {
    const { store, actions, message } = this;
    return el("div", { class: message.deleted ? "bubble gone" : "bubble" },
      el("span", { class: "hidden" }, `${name}: `),
      message.reply_to && quoteButton(store, message.reply_to, (sequence) => actions.jumpTo(sequence)),
      el("p", { class: "text", dir: "auto" }, message.deleted ? t("message_deleted") : linkify(message.text)),
      el("span", { class: "meta" },
        message.edited_at && el("time", { class: "edited", datetime: message.edited_at, title: t("edited_at", { when: fullTime(message.edited_at) }) }, t("edited")),
        el("time", { datetime: message.sent_at, title: fullTime(message.sent_at) }, clock(message.sent_at)),
        mine && !message.deleted && tick(message.waiting ? "waiting" : seen ? "seen" : "sent")),
      message.refused?.map((change) => refusedChange(store, change, (text) => actions.useText(text))),
      !message.deleted && this.more);
  }
}

/** The button that opens a message's menu; `open` gets the button. */
export function moreButton(open) {
  return el("button", { class: "more", type: "button", tabindex: "-1", data: { part: "more" }, aria: { label: t("message_menu"), haspopup: "menu" },
    onclick: ({ currentTarget }) => open(currentTarget) }, icon("more"));
}

const TICKS = { waiting: "clock", seen: "checks", sent: "check" };

function tick(state) {
  return el("span", { class: state === "seen" ? "tick seen" : "tick", title: t(state) }, icon(TICKS[state]), el("span", { class: "hidden" }, t(state)));
}
