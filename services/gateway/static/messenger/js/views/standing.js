// How a friend is there: writing, online, or last seen at a time.

import { ago, t } from "../i18n.js";

/** In words; empty where nothing is known. */
export function standingOf(store, person) {
  if (store.profiles.isDeleted(person)) return "";
  const { presence } = store, { online, last_seen_at: seen } = presence.of(person) ?? {};
  if (presence.isTyping(person)) return t("typing");
  if (online) return t("online");
  return seen ? t("last_seen", { when: ago(seen) }) : "";
}
