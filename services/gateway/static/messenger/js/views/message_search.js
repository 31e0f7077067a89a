// Search in one's messages: asks the server, and draws a message that was found with its hits marked.

import * as api from "../api.js";
import { avatar, el } from "../dom.js";
import { briefTime, t } from "../i18n.js";

const MOST = 20;
// Characters shown before the first hit, and altogether. An excerpt begins with a word, unless that is a long one.
const BEFORE = 30, SHOWN = 140, LONG_WORD = 15;

/** The newest messages with all words of the query, of all conversations or the one with `peer`. Throws `Refused`. */
export async function searchMessages(query, peer) {
  const filter = peer ? `&user_id=${peer}` : "";
  return (await api.get(`/v1/messages?limit=${MOST}&query=${encodeURIComponent(query)}${filter}`)).items;
}

/** The parts of a list's row for a message that was found. */
export function searchResultParts(store, { user_id: peer, message, highlights }) {
  const own = message.sender_id === store.me.user_id, name = store.profiles.nameOf(peer);
  return [
    avatar(store.profiles.get(peer) ?? { user_id: peer }),
    el("span", { class: "found-message" },
      el("span", { class: "row" }, el("span", { class: "who" }, name), el("time", { class: "when", datetime: message.sent_at }, briefTime(message.sent_at))),
      el("span", { class: "excerpt", dir: "auto" }, own && `${t("you")}: `, excerpt([...message.text], highlights))),
  ];
}

/** The part of a text around its first hit. `highlights`: [begin, end] of each hit, in characters. */
function excerpt(characters, highlights) {
  const begin = beginOfWord(characters, Math.max(0, (highlights[0]?.[0] ?? 0) - BEFORE)), end = Math.min(characters.length, begin + SHOWN);
  const text = (from, to) => characters.slice(Math.max(from, begin), Math.min(to, end)).join("");
  const parts = [begin > 0 && "…"];
  let done = begin;
  for (const [from, to] of highlights) {
    if (from >= end) break;
    parts.push(text(done, from), el("mark", {}, text(from, to)));
    done = to;
  }
  return [...parts, text(done, end), end < characters.length && "…"];
}

/** The index where the word at an index begins; that index itself if the word has many characters before it. */
function beginOfWord(characters, index) {
  for (let begin = index; begin >= Math.max(0, index - LONG_WORD); begin--) {
    if (begin === 0 || !characters[begin - 1].trim()) return begin;
  }
  return index;
}
