// The presence of a friend in words: writing, online, or when last seen.

import { ago, t } from "../i18n.js";

/** The text; empty where nothing is known. */
export function presenceText(store, person) {
  if (store.profiles.isDeleted(person)) return "";
  const { presence } = store, { online, last_seen_at: seen } = presence.of(person) ?? {};
  if (presence.isTyping(person)) return t("typing");
  if (online) return t("online");
  return seen ? t("last_seen", { when: ago(seen) }) : "";
}
