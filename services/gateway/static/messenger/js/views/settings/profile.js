// The card of the user's own profile: name and text, as others see them.

import { avatar, el, fill } from "../../dom.js";
import { form } from "../../forms.js";
import { t } from "../../i18n.js";

export function profileCard(store) {
  const node = el("div", { class: "card" });

  function draw(message = "") {
    const mine = store.profiles.get(store.me.user_id);
    if (!mine) return fill(node, el("p", { class: "soft" }, t("loading")));
    const card = form({
      title: t("profile"), level: "h3", action: t("save"),
      fields: [
        ["display_name", t("display_name"), { value: mine.display_name, required: true, dir: "auto", rule: "display_name", hint: t("display_name_hint") }],
        ["bio", t("bio"), { tag: "textarea", rows: 3, value: mine.bio ?? "", dir: "auto", rule: "bio", hint: t("bio_hint"), count: true }],
      ],
      async submit(values) {
        await store.profiles.changeOwn(values);
        draw(t("saved"));
        node.querySelector("button[type=submit]").focus();
      },
    });
    card.prepend(el("div", { class: "row" }, avatar(mine, "large"), el("div", {}, el("strong", {}, mine.display_name || mine.username), el("p", { class: "soft" }, `@${mine.username}${mine.verified ? ` · ${t("verified")}` : ""}`))));
    fill(node, card);
    card.say(message);
  }

  draw();
  return { node, draw };
}
