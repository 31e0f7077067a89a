// The palette: finds chats, friends and other people by name, and opens the chat that is chosen.

import * as api from "../api.js";
import { avatar, el, fill, icon } from "../dom.js";
import { reason, t } from "../i18n.js";

const PAUSE_MS = 250;
const MOST_CHATS = 8, MOST_PEOPLE = 8;

/** Opens it; at most one is open. */
export function openPalette(store) {
  if (document.querySelector("dialog[open]")) return;
  const listening = new AbortController();
  let timer = null, asked = 0, found = [], chosen = 0, shown = [], problem = "";

  const list = el("ul", { role: "listbox", id: "palette-list", aria: { label: t("palette") } });
  const said = el("p", { class: "soft", role: "status" });
  const input = el("input", {
    type: "text", class: "search", role: "combobox", autocomplete: "off", autocapitalize: "none", spellcheck: "false", enterkeyhint: "go",
    maxlength: 64, placeholder: t("search_hint"),
    aria: { label: t("palette"), expanded: "true", controls: "palette-list", autocomplete: "list" }, oninput: typed, onkeydown: key,
  });
  const dialog = el("dialog", { class: "palette", aria: { label: t("palette") }, onclick: ({ target }) => target === dialog && dialog.close() },
    el("div", { class: "row" }, input, el("button", { type: "button", class: "quiet round", aria: { label: t("close") }, onclick: () => dialog.close() }, icon("close"))), list, said);
  dialog.addEventListener("close", () => {
    listening.abort();
    clearTimeout(timer);
    dialog.remove();
  });
  for (const kind of ["conversations", "friends", "profile"]) store.addEventListener(kind, draw, { signal: listening.signal });
  document.body.append(dialog);
  dialog.showModal();
  draw();

  function typed() {
    chosen = 0;
    clearTimeout(timer);
    const query = input.value.trim(), turn = ++asked;
    problem = "";
    if (!query) found = [];
    else timer = setTimeout(() => search(query, turn), PAUSE_MS);
    draw();
  }

  async function search(query, turn) {
    try {
      const { items } = await api.get(`/v1/profiles?limit=20&query=${encodeURIComponent(query)}`);
      if (turn !== asked || listening.signal.aborted) return;
      found = items.map((one) => one.user_id);
      store.profiles.remember(...items);
    } catch (error) {
      if (turn !== asked) return;
      problem = reason(error);
    }
    draw();
  }

  /** Whether a name or the username begins with what was typed, or a word of the name does. */
  function fits(id) {
    const wanted = input.value.trim().toLocaleLowerCase();
    if (!wanted) return true;
    const profile = store.profiles.get(id);
    const [name, username] = [profile?.display_name, profile?.username].map((one) => (one ?? "").toLocaleLowerCase());
    return [name, username, ...name.split(/\s+/)].some((one) => one.startsWith(wanted.replace(/^@/, "")));
  }

  function draw() {
    const chats = store.conversations.ordered.map((one) => one.user_id).filter(fits).slice(0, MOST_CHATS);
    const friends = store.friends.accepted.map((one) => one.user_id).filter(fits);
    const people = [...new Set([...friends, ...found])].filter((id) => !chats.includes(id) && id !== store.me.user_id).slice(0, MOST_PEOPLE);
    // What is chosen stays so where other rows come in before it.
    const before = shown[chosen];
    shown = [...chats, ...people];
    chosen = Math.max(0, chosen && shown.includes(before) ? shown.indexOf(before) : Math.min(chosen, shown.length - 1));
    fill(list, group("chats", chats), group("people", people));
    said.textContent = problem || (shown.length ? "" : t("found_none"));
    mark();
  }

  function group(name, ids) {
    return ids.length > 0 && el("li", { role: "presentation" }, el("h3", { id: `palette-${name}` }, t(name)),
      el("ul", { role: "group", aria: { labelledby: `palette-${name}` } }, ids.map(row)));
  }

  function row(id) {
    const profile = store.profiles.get(id), unread = store.conversations.get(id)?.unread_count ?? 0;
    return el("li", { role: "option", id: `palette-${id}`, class: "option", onclick: () => open(id) }, avatar(profile ?? { user_id: id }),
      el("span", { class: "who" }, store.profiles.nameOf(id)), profile && el("span", { class: "soft" }, `@${profile.username}`),
      unread > 0 && el("span", { class: "badge", role: "img", aria: { label: t("unread", { n: unread }) } }, unread > 99 ? "99+" : String(unread)));
  }

  function mark() {
    const id = shown[chosen];
    for (const option of list.querySelectorAll("[role=option]")) option.setAttribute("aria-selected", String(option.id === `palette-${id}`));
    if (id) input.setAttribute("aria-activedescendant", `palette-${id}`);
    else input.removeAttribute("aria-activedescendant");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  function key(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && shown.length) {
      event.preventDefault();
      chosen = (chosen + step + shown.length) % shown.length;
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (shown[chosen]) open(shown[chosen]);
    }
  }

  function open(id) {
    dialog.close();
    location.hash = `#/chat/${id}`;
  }
}
