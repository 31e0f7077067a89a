// The card of the choices of language and colours.

import { changePreference, getPreference } from "../../preferences.js";
import { el } from "../../dom.js";
import { currentLanguage, LANGUAGES, t } from "../../i18n.js";
import { select } from "./select.js";

export function appearanceCard(store) {
  const chooseLanguage = (language) => {
    // Without a connection it is saved later.
    store.profiles.changeLanguage(language).catch(() => {});
  };
  return el("div", { class: "card" }, el("h3", {}, t("appearance")),
    select("language", t("language"), Object.entries(LANGUAGES), currentLanguage(), chooseLanguage),
    select("theme", t("theme"), [["system", t("theme_system")], ["light", t("theme_light")], ["dark", t("theme_dark")]], getPreference("theme") ?? "system", (theme) => changePreference("theme", theme)));
}
