// What has just happened to the user's account, above whichever view is shown until it is read or closed.

import { announce } from "../announce.js";
import { el, fill, icon } from "../dom.js";
import { t } from "../i18n.js";
import { notificationHash, notificationText } from "../store/notification_kinds.js";

const MOST = 3;

export class AccountNotices {
  constructor(store) {
    this.store = store;
    this.items = [];
    this.node = el("div", { class: "notices" });
  }

  add(notification) {
    this.items = [notification, ...this.items].slice(0, MOST);
    this.draw();
    announce(notificationText(notification));
  }

  /** Removes what was read, here or on another device. */
  update() {
    const unread = new Set(this.store.notifications.items.filter((item) => !item.read).map((item) => item.notification_id));
    const remaining = this.items.filter((item) => !item.notification_id || unread.has(item.notification_id));
    if (remaining.length === this.items.length) return;
    this.items = remaining;
    this.draw();
  }

  draw() {
    const focused = this.node.contains(document.activeElement);
    fill(this.node, this.items.map((item) => el("div", { class: "notice" }, icon("shield"),
      el("p", {}, notificationText(item), " ", el("a", { href: notificationHash(item), onclick: () => this.#read(item) }, t("look_at_logins"))),
      el("button", { class: "quiet round", type: "button", title: t("close"), aria: { label: t("close") }, onclick: () => this.#read(item) }, icon("close")))));
    if (focused) (this.node.querySelector("button") ?? document.getElementById("main")).focus();
    return this.node;
  }

  #read(notification) {
    this.items = this.items.filter((item) => item !== notification);
    this.draw();
    // What this page alone knows is no notification.
    if (notification.notification_id) this.store.notifications.read(notification.notification_id).catch(() => {});
  }
}
