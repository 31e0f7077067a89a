// Chooses the emoji of a reaction: a few that are used most, or any that the keyboard writes.

import { el, icon } from "../../dom.js";
import { t } from "../../i18n.js";
import { openPopover } from "../menu.js";

const EMOJI = ["👍", "❤️", "😂", "😮", "😢", "🙏", "🎉", "🔥"];
const MOST_CHARACTERS = 32;

/** Opens it; `choose(emoji)` gets the choice, null where the reaction that is there is taken back. */
export function openReactionPicker(chosen, anchor, choose) {
  const pick = (emoji) => { close(); choose(emoji === chosen ? null : emoji); };
  const buttons = EMOJI.map((emoji) => el("button", { type: "button", class: "emoji", aria: { pressed: String(emoji === chosen) }, onclick: () => pick(emoji) }, emoji));
  const input = el("input", { type: "text", maxlength: MOST_CHARACTERS, placeholder: t("any_emoji"), autocomplete: "off", aria: { label: t("any_emoji") } });
  const form = el("form", { class: "row", onsubmit: (event) => {
    event.preventDefault();
    if (input.value.trim()) pick(input.value.trim());
  } }, input, el("button", { type: "submit", class: "primary round", aria: { label: t("react") } }, icon("check")));
  const picker = el("div", { class: "picker", role: "dialog", aria: { label: t("react") } }, el("div", { class: "emojis" }, buttons), form);
  const close = openPopover(picker, anchor);
  (buttons.find((button) => button.getAttribute("aria-pressed") === "true") ?? buttons[0]).focus();
}
