// What happened while one looked elsewhere; a request can be answered here.

import { avatar, el, fill, icon } from "../dom.js";
import { full, reason, t } from "../i18n.js";
import { asksForAnswer, isAboutAccount, isAboutPerson, notificationHash, notificationText } from "../store/notification_kinds.js";
import { acting, answering } from "./befriending.js";

export function notificationsView(store) {
  const list = el("ul", { class: "persons" });
  const all = acting(t("mark_all_read"), () => store.notifications.readAll());
  // What went wrong with the button; and why the list could not be loaded.
  const problem = el("p", { class: "problem", role: "alert" }), missing = el("p", { class: "problem", role: "alert" });
  const node = el("section", { class: "page" }, el("div", { class: "title" }, el("h2", {}, t("notifications")), all), problem, missing, list);

  /** The buttons of a request that waits for an answer, else what became of it; only the newest of a person counts. */
  function answer(one) {
    const newest = store.notifications.items.find((other) => asksForAnswer(other) && other.from_user_id === one.from_user_id);
    const standing = store.friends.standing(one.from_user_id);
    if (one !== newest || !standing) return null;
    const read = async () => { if (!one.read) await store.notifications.read(one.notification_id); };
    return el("div", { class: "actions" }, standing === "incoming" ? answering(store, one.from_user_id, read)
      : el("span", { class: "soft" }, t(standing === "accepted" ? "request_accepted" : "request_over")));
  }

  /** Of a conversation how many messages are new. */
  function badge({ kind, from_user_id: peer }) {
    const unread = kind === "message" ? store.conversations.get(peer)?.unread_count ?? 0 : 0;
    return el("span", { class: "badge" }, unread > 1 ? t("unread", { n: unread }) : t("new"));
  }

  function draw() {
    const { loaded, error } = store.notifications, why = error ? reason(error) : "";
    if (missing.textContent !== why) missing.textContent = why;
    all.hidden = !store.notifications.items.some((one) => !one.read);
    fill(list, store.notifications.items.map((one) => {
      const name = isAboutPerson(one) ? store.profiles.nameOf(one.from_user_id) : "";
      return el("li", { class: one.read ? "person" : "person fresh" }, el("a", { href: notificationHash(one), class: "row", onclick: () => { if (!one.read) store.notifications.read(one.notification_id).catch(() => {}); } },
        isAboutPerson(one) ? avatar(store.profiles.get(one.from_user_id) ?? { user_id: one.from_user_id }) : el("span", { class: "avatar sign" }, icon(isAboutAccount(one) ? "shield" : "bell")),
        el("div", {}, el("span", {}, notificationText(one, name)), el("time", { class: "soft", datetime: one.at }, full(one.at))),
        !one.read && badge(one)),
      asksForAnswer(one) && answer(one), el("p", { class: "problem", role: "alert" }));
    }), !store.notifications.items.length && (loaded || !error) && el("li", { class: "soft" }, t(loaded ? "no_notifications" : "loading")));
  }

  draw();
  // Its failure is drawn.
  store.notifications.load().catch(() => {});
  return { node, update: (kind) => ["notifications", "conversations", "profile", "friends"].includes(kind) && draw() };
}
