// The palette: finds chats, friends and other people by name and messages by their words, and opens what is chosen.

import * as api from "../api.js";
import { avatar, el, fill, icon } from "../dom.js";
import { errorText, t } from "../i18n.js";
import { searchMessages, searchResultParts } from "./message_search.js";

const PAUSE_MS = 250;
const MOST_CHATS = 8, MOST_PEOPLE = 8;

/** Opens it; at most one is open. `peer`: finds only messages of the conversation with this person. */
export function openPalette(store, { peer } = {}) {
  if (document.querySelector("dialog[open]")) return;
  const listening = new AbortController();
  // `shown`: the entries of the list, {key, hash, parts}.
  let timer = null, turns = 0, peopleIds = [], messages = [], selectedIndex = 0, entries = [], problem = "";
  // Whether the answers to what was typed are not there yet: until then the list has those to the earlier text.
  let pending = false;
  const label = peer ? t("search_in_chat", { name: store.profiles.nameOf(peer) }) : t("palette");

  const list = el("ul", { role: "listbox", id: "palette-list", aria: { label } });
  const status = el("p", { class: "soft", role: "status" });
  const input = el("input", {
    type: "text", class: "search", role: "combobox", autocomplete: "off", autocapitalize: "none", spellcheck: "false", enterkeyhint: "go",
    maxlength: 200, placeholder: peer ? t("search_messages") : t("search_hint"),
    aria: { label, expanded: "true", controls: "palette-list", autocomplete: "list" }, oninput: onInput, onkeydown: onKeyDown,
  });
  const dialog = el("dialog", { class: "palette", aria: { label }, onclick: ({ target }) => target === dialog && dialog.close() },
    el("div", { class: "row" }, input, el("button", { type: "button", class: "quiet round", aria: { label: t("close") }, onclick: () => dialog.close() }, icon("close"))), list, status);
  dialog.addEventListener("close", () => {
    listening.abort();
    clearTimeout(timer);
    dialog.remove();
  });
  for (const kind of ["conversations", "friends", "messages", "profile"]) store.addEventListener(kind, draw, { signal: listening.signal });
  document.body.append(dialog);
  dialog.showModal();
  draw();

  function onInput() {
    selectedIndex = 0;
    clearTimeout(timer);
    const query = input.value.trim(), turn = ++turns;
    problem = "";
    pending = query !== "";
    if (!query) peopleIds = messages = [];
    else timer = setTimeout(() => search(query, turn), PAUSE_MS);
    draw();
  }

  async function search(query, turn) {
    const [people, texts] = await Promise.allSettled([peer ? [] : searchPeople(query), searchMessages(query, peer)]);
    if (turn !== turns || listening.signal.aborted) return;
    pending = false;
    peopleIds = people.value?.map((profile) => profile.user_id) ?? [];
    messages = texts.value ?? [];
    const failed = people.reason ?? texts.reason;
    problem = failed ? errorText(failed) : "";
    if (people.value) store.profiles.remember(...people.value);
    draw();
  }

  async function searchPeople(query) {
    // Longer than any name: the server refuses it.
    return query.length > 64 ? [] : (await api.get(`/v1/profiles?limit=20&query=${encodeURIComponent(query)}`)).items;
  }

  /** Whether a name or the username begins with what was typed, or a word of the name does. */
  function matches(id) {
    const wanted = input.value.trim().toLocaleLowerCase();
    if (!wanted) return true;
    const profile = store.profiles.get(id);
    const [name, username] = [profile?.display_name, profile?.username].map((text) => (text ?? "").toLocaleLowerCase());
    return [name, username, ...name.split(/\s+/)].some((word) => word.startsWith(wanted.replace(/^@/, "")));
  }

  function draw() {
    const chats = peer ? [] : store.conversations.ordered.map((conversation) => conversation.user_id).filter(matches).slice(0, MOST_CHATS);
    const friends = peer ? [] : store.friends.accepted.map((friend) => friend.user_id).filter(matches);
    const people = [...new Set([...friends, ...peopleIds])].filter((id) => !chats.includes(id) && id !== store.me.user_id).slice(0, MOST_PEOPLE);
    const remaining = messages.filter(({ message: { message_id: id } }) => !store.messageChanges.isDeleted(id));
    const groups = { chats: chats.map(person), people: people.map(person), messages: remaining.map(message) };
    // What is chosen stays so where other rows come in before it.
    const before = entries[selectedIndex]?.key;
    entries = Object.values(groups).flat();
    const index = entries.findIndex(({ key }) => key === before);
    selectedIndex = Math.max(0, selectedIndex && index >= 0 ? index : Math.min(selectedIndex, entries.length - 1));
    fill(list, Object.entries(groups).map(([name, entries]) => group(name, entries)));
    status.textContent = problem || (entries.length || pending || (peer && !input.value.trim()) ? "" : t(peer ? "found_nothing" : "found_none"));
    mark();
  }

  function group(name, entries) {
    return entries.length > 0 && el("li", { role: "presentation" }, el("h3", { id: `palette-${name}` }, t(name)),
      el("ul", { role: "group", aria: { labelledby: `palette-${name}` } }, entries.map((entry) =>
        el("li", { role: "option", id: `palette-${entry.key}`, class: "option", onclick: () => open(entry) }, entry.parts))));
  }

  function person(id) {
    const profile = store.profiles.get(id), unread = store.conversations.get(id)?.unread_count ?? 0;
    return { key: id, hash: `#/chat/${id}`, parts: [
      avatar(profile ?? { user_id: id }), el("span", { class: "who" }, store.profiles.nameOf(id)), profile && el("span", { class: "soft" }, store.profiles.handleOf(id)),
      unread > 0 && el("span", { class: "badge", role: "img", aria: { label: t("unread", { n: unread }) } }, unread > 99 ? "99+" : String(unread)),
    ] };
  }

  function message(item) {
    return { key: item.message.message_id, isMessage: true, hash: `#/chat/${item.user_id}/${item.message.sequence}`, parts: searchResultParts(store, item) };
  }

  function mark() {
    const id = entries[selectedIndex]?.key;
    for (const option of list.querySelectorAll("[role=option]")) option.setAttribute("aria-selected", String(option.id === `palette-${id}`));
    if (id) input.setAttribute("aria-activedescendant", `palette-${id}`);
    else input.removeAttribute("aria-activedescendant");
    list.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" });
  }

  function onKeyDown(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && entries.length) {
      event.preventDefault();
      selectedIndex = (selectedIndex + step + entries.length) % entries.length;
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      // What was found for an earlier text is not opened.
      if (entries[selectedIndex] && !(pending && entries[selectedIndex].isMessage)) open(entries[selectedIndex]);
    }
  }

  function open({ hash }) {
    dialog.close();
    // The same message once more: the view jumps to it again.
    if (location.hash === hash) dispatchEvent(new HashChangeEvent("hashchange"));
    else location.hash = hash;
  }
}
