// The button that leads to the newest message, with the number of unread ones.

import { el, fill, icon } from "../../dom.js";
import { t } from "../../i18n.js";

export class JumpButton {
  constructor(jump) {
    this.node = el("button", { class: "jump", type: "button", hidden: true, aria: { label: t("to_newest") }, onclick: jump }, icon("down"));
  }

  draw({ hidden, unread: n }) {
    const state = `${hidden} ${n}`;
    if (state === this.state) return;
    this.state = state;
    this.node.hidden = hidden;
    this.node.setAttribute("aria-label", n ? `${t("to_newest")}: ${t("unread", { n })}` : t("to_newest"));
    fill(this.node, icon("down"), n > 0 && el("span", { class: "badge", aria: { hidden: "true" } }, n > 99 ? "99+" : String(n)));
  }
}
