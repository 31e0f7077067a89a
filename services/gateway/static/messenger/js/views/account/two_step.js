// The card of two-step verification: whether it is on, and the way to change that.

import { el, fill, icon } from "../../dom.js";
import { errorText, t } from "../../i18n.js";
import { openTwoStepEnd, openTwoStepSetup } from "./two_step_dialogs.js";

export function twoStepCard(store) {
  const state = el("div", { class: "state" }), problem = el("p", { class: "problem", role: "alert" });
  const node = el("div", { class: "card" }, el("h3", {}, t("two_step")), el("p", { class: "soft" }, t("two_step_hint")), state, problem);

  function open(dialog) {
    // The button is another one once the state has changed.
    dialog.addEventListener("close", () => state.querySelector("button")?.focus());
  }

  function draw() {
    const { details, error } = store.account, focused = state.contains(document.activeElement);
    problem.textContent = error ? errorText(error) : "";
    if (!details) {
      fill(state, error ? el("button", { type: "button", onclick: () => store.account.load() }, t("retry")) : el("p", { class: "soft" }, t("loading")));
    } else if (details.totp) {
      fill(state, el("p", { class: "on" }, icon("check"), t("two_step_is_on")),
        el("button", { type: "button", class: "danger", onclick: () => open(openTwoStepEnd(store)) }, t("two_step_turn_off")));
    } else {
      fill(state, el("p", {}, t("two_step_is_off")),
        el("button", { type: "button", onclick: () => open(openTwoStepSetup(store)) }, t("two_step_set_up")));
    }
    if (focused) state.querySelector("button")?.focus();
  }

  draw();
  return { node, draw };
}
