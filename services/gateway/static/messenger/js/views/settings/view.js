// The settings: a card for each concept, each in a module of its own.

import { el } from "../../dom.js";
import { t } from "../../i18n.js";
import { deletionCard } from "../account/deletion.js";
import { emailCard } from "../account/email.js";
import { passwordCard } from "../account/password.js";
import { sessionsCard } from "../account/sessions.js";
import { twoStepCard } from "../account/two_step.js";
import { alertsCard } from "./alerts.js";
import { appearanceCard } from "./appearance.js";
import { blockedPeopleCard } from "./blocked_people.js";
import { dataCopiesCard } from "./data_copies.js";
import { presenceCard } from "./presence.js";
import { profileCard } from "./profile.js";

/** `part`: `password` or `data`, where the address leads to that card. */
export function settingsView(store, { logOut, deleteAccount }, part) {
  const profile = profileCard(store), presence = presenceCard(store), sessions = sessionsCard(), blocked = blockedPeopleCard(store), email = emailCard(store), twoStep = twoStepCard(store), data = dataCopiesCard(store);
  const node = el("section", { class: "page" }, el("div", { class: "title" }, el("h2", {}, t("settings")), el("button", { type: "button", onclick: logOut }, t("log_out"))),
    profile.node, appearanceCard(store), presence.node, alertsCard(), sessions.node, email.node, passwordCard(store, sessions.draw), twoStep.node, blocked.node, data.node, deletionCard(deleteAccount).node);
  sessions.node.append(el("p", { class: "further" }, el("a", { href: "#/settings/sessions" }, t("logins_all"))));
  store.account.load();

  function onShown() {
    if (part === "password") node.querySelector("#field-current_password").focus();
    if (part === "data") data.focus();
  }

  return { node, onShown, update: (kind) => {
    if (kind === "profile" && !profile.node.contains(document.activeElement)) profile.draw();
    if (kind === "profile") presence.draw();
    if (kind === "account") [email, twoStep].forEach((card) => card.draw());
    if (kind === "sessions") sessions.draw();
    if (kind === "blocks" || (kind === "profile" && !blocked.node.contains(document.activeElement))) blocked.draw();
  } };
}
