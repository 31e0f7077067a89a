// What happened while one looked elsewhere; a request can be answered here.

import { avatar, el, fill, icon } from "../dom.js";
import { errorText, fullTime, t } from "../i18n.js";
import { asksForAnswer, isAboutAccount, isAboutPerson, notificationHash, notificationText } from "../store/notification_kinds.js";
import { actionButton, answerButtons } from "./friendship_buttons.js";

export function notificationsView(store) {
  const list = el("ul", { class: "persons" });
  const markAllButton = actionButton(t("mark_all_read"), () => store.notifications.readAll());
  // What went wrong with the button; and why the list could not be loaded.
  const problem = el("p", { class: "problem", role: "alert" }), loadProblem = el("p", { class: "problem", role: "alert" });
  const node = el("section", { class: "page" }, el("div", { class: "title" }, el("h2", {}, t("notifications")), markAllButton), problem, loadProblem, list);

  /** The buttons of a request that waits for an answer, else what became of it; only the newest of a person counts. */
  function answer(notification) {
    const newest = store.notifications.items.find((other) => asksForAnswer(other) && other.from_user_id === notification.from_user_id);
    const relationship = store.friends.relationship(notification.from_user_id);
    if (notification !== newest || !relationship) return null;
    const read = async () => { if (!notification.read) await store.notifications.read(notification.notification_id); };
    return el("div", { class: "actions" }, relationship === "incoming" ? answerButtons(store, notification.from_user_id, read)
      : el("span", { class: "soft" }, t(relationship === "accepted" ? "request_accepted" : "request_over")));
  }

  /** Of a conversation how many messages are new. */
  function badge({ kind, from_user_id: peer }) {
    const unread = kind === "message" ? store.conversations.get(peer)?.unread_count ?? 0 : 0;
    return el("span", { class: "badge" }, unread > 1 ? t("unread", { n: unread }) : t("new"));
  }

  function draw() {
    const { loaded, error } = store.notifications, why = error ? errorText(error) : "";
    if (loadProblem.textContent !== why) loadProblem.textContent = why;
    markAllButton.hidden = !store.notifications.items.some((notification) => !notification.read);
    fill(list, store.notifications.items.map((notification) => {
      const name = isAboutPerson(notification) ? store.profiles.nameOf(notification.from_user_id) : "";
      return el("li", { class: notification.read ? "person" : "person fresh" }, el("a", { href: notificationHash(notification), class: "row", onclick: () => { if (!notification.read) store.notifications.read(notification.notification_id).catch(() => {}); } },
        isAboutPerson(notification) ? avatar(store.profiles.get(notification.from_user_id) ?? { user_id: notification.from_user_id }) : el("span", { class: "avatar sign" }, icon(isAboutAccount(notification) ? "shield" : "bell")),
        el("div", {}, el("span", {}, notificationText(notification, name)), el("time", { class: "soft", datetime: notification.at }, fullTime(notification.at))),
        !notification.read && badge(notification)),
      asksForAnswer(notification) && answer(notification), el("p", { class: "problem", role: "alert" }));
    }), !store.notifications.items.length && (loaded || !error) && el("li", { class: "soft" }, t(loaded ? "no_notifications" : "loading")));
  }

  draw();
  // Its failure is drawn.
  store.notifications.load().catch(() => {});
  return { node, update: (kind) => ["notifications", "conversations", "profile", "friends"].includes(kind) && draw() };
}
