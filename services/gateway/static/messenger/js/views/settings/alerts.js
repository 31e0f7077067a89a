// The choices of this device: a sound and notifications for new messages.

import { canNotify, tone } from "../../alerts.js";
import { el } from "../../dom.js";
import { t } from "../../i18n.js";
import { getPreference, savePreference } from "../../preferences.js";

export function alertsCard() {
  const hint = el("p", { class: "soft", role: "status" });
  const box = (name, on, change) => el("label", { class: "check" }, el("input", { type: "checkbox", name, checked: on, onchange: ({ target }) => change(target) }), t(`alerts_${name}`));

  const text = box("notify_text", getPreference("notify_text") !== "off", ({ checked }) => savePreference("notify_text", checked ? "on" : "off"));
  const notify = box("notify", isNotifying(), async (input) => {
    let on = input.checked;
    if (on && Notification.permission !== "granted") on = await Notification.requestPermission() === "granted";
    savePreference("notify", on ? "on" : "off");
    input.checked = on;
    update();
  });
  const sound = box("sound", getPreference("sound") === "on", ({ checked }) => {
    savePreference("sound", checked ? "on" : "off");
    if (checked) tone();
  });

  function update() {
    const able = canNotify();
    notify.firstChild.disabled = !able;
    text.hidden = !isNotifying();
    hint.textContent = !able ? t("alerts_missing") : Notification.permission === "denied" ? t("alerts_denied") : "";
  }

  update();
  return el("div", { class: "card" }, el("h3", {}, t("alerts")), el("p", { class: "soft" }, t("alerts_hint")), sound, notify, text, hint);
}

function isNotifying() {
  return getPreference("notify") === "on" && canNotify() && Notification.permission === "granted";
}
