// The card of the choice of who sees when the user is online.

import { el, fill } from "../../dom.js";
import { errorText, t } from "../../i18n.js";
import { select } from "./select.js";

export function presenceCard(store) {
  const problem = el("p", { class: "problem", role: "alert" }), field = el("div");
  const node = el("div", { class: "card" }, el("h3", {}, t("presence")), field, el("p", { class: "soft" }, t("presence_hint")), problem);

  function draw() {
    const mine = store.profiles.get(store.me.user_id);
    // Not loaded yet.
    node.hidden = !mine?.presence;
    if (node.hidden || field.contains(document.activeElement)) return;
    fill(field, select("presence", t("presence_label"), [["friends", t("friends")], ["nobody", t("nobody")]], mine.presence, change));
  }

  async function change(presence) {
    problem.textContent = "";
    try {
      await store.profiles.changeOwn({ presence });
      store.presence.refresh();
    } catch (error) {
      problem.textContent = errorText(error);
      field.querySelector("select").value = store.profiles.get(store.me.user_id).presence;
    }
  }

  draw();
  return { node, draw };
}
