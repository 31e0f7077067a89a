// The message that another one answers, in short.

import { el } from "../../dom.js";
import { t } from "../../i18n.js";

const MOST_CHARACTERS = 200;

/** The beginning of a text. */
export function excerpt(text) {
  return [...text].slice(0, MOST_CHARACTERS).join("");
}

/** Its parts: who wrote it, and its text. */
export function quoteParts(store, { sender_id: sender, text, deleted }) {
  const name = sender === store.me.user_id ? t("you") : store.profiles.nameOf(sender);
  return [el("strong", {}, name), el("span", { class: deleted ? "excerpt gone" : "excerpt", dir: "auto" }, deleted ? t("message_deleted") : excerpt(text))];
}

/** A button that leads to the message. */
export function quoteButton(store, quote, jump) {
  return el("button", { type: "button", class: "quote", data: { part: "quote" }, title: t("to_quoted"), onclick: () => jump(quote.sequence) }, quoteParts(store, quote));
}
