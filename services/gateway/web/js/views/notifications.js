// What happened while one looked elsewhere.

import { avatar, el, fill } from "../dom.js";
import { full, t } from "../i18n.js";

export function notificationsView(store) {
  const list = el("ul", { class: "persons" });
  const all = el("button", { type: "button", onclick: () => store.readAllNotifications() }, t("mark_all_read"));
  const node = el("section", { class: "page" }, el("div", { class: "title" }, el("h2", {}, t("notifications")), all), list);

  function draw() {
    all.hidden = !store.notifications.some((one) => !one.read);
    fill(list, store.notifications.map((one) => {
      const to = one.kind === "friend_request" ? "#/people" : `#/chat/${one.from_user_id}`;
      return el("li", { class: one.read ? "person" : "person fresh" }, el("a", { href: to, class: "row", onclick: () => { if (!one.read) store.readNotification(one.notification_id); } },
        avatar(store.profile(one.from_user_id) ?? { user_id: one.from_user_id }),
        el("div", {}, el("span", {}, t(`notification_${one.kind}`, { name: store.nameOf(one.from_user_id) })), el("time", { class: "soft", datetime: one.at }, full(one.at))),
        !one.read && el("span", { class: "badge" }, t("new"))));
    }), !store.notifications.length && el("li", { class: "soft" }, t("no_notifications")));
  }

  draw();
  store.loadNotifications().catch(() => {});
  return { node, update: (kind) => ["notifications", "profile"].includes(kind) && draw() };
}
