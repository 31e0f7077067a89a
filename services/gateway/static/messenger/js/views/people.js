// People: finding them, asking and being asked, friends.

import * as api from "../api.js";
import { avatar, el, fill, icon } from "../dom.js";
import { errorText, t } from "../i18n.js";
import { actionButton as button, answerButtons } from "./friendship_buttons.js";
import { confirmDialog } from "./confirm_dialog.js";

const PAUSE_MS = 250;

export function peopleView(store) {
  const results = el("div", { class: "found", role: "region", aria: { live: "polite", label: t("search_people") } });
  const lists = el("div");
  const problem = el("p", { class: "problem", role: "alert" });
  let timer = null, turns = 0, profiles = [];
  const search = el("input", { type: "search", class: "search", placeholder: t("search_people_hint"), aria: { label: t("search_people") }, maxlength: 64, oninput: () => {
    clearTimeout(timer);
    timer = setTimeout(find, PAUSE_MS);
  } });
  const node = el("section", { class: "page" }, el("h2", {}, t("people")), search, problem, results, lists);

  async function find() {
    const query = search.value.trim(), turn = ++turns;
    if (!query) {
      profiles = [];
      return fill(results);
    }
    try {
      const page = await api.get(`/v1/profiles?limit=20&query=${encodeURIComponent(query)}`);
      if (turn !== turns) return; // the query has changed since
      profiles = page.items.filter((profile) => profile.user_id !== store.me.user_id);
      store.profiles.remember(...profiles);
      problem.textContent = "";
      draw();
    } catch (error) {
      problem.textContent = errorText(error);
    }
  }

  const chat = (id) => el("a", { class: "button", href: `#/chat/${id}` }, t("open_chat"));

  function row(id, ...actions) {
    const profile = store.profiles.get(id);
    return el("li", { class: "person" }, avatar(profile ?? { user_id: id }),
      el("div", {}, el("span", { class: "who" }, store.profiles.nameOf(id)), profile && el("span", { class: "soft" }, store.profiles.handleOf(id))),
      el("div", { class: "actions" }, actions), el("p", { class: "problem", role: "alert" }));
  }

  function relationshipButton(id) {
    const state = store.friends.relationship(id);
    if (state === "accepted") return chat(id);
    if (state === "incoming") return button(t("accept"), () => store.friends.add(id), "primary");
    if (state === "blocked") return button(t("unblock"), () => store.blocks.remove(id));
    if (state === "outgoing") return el("span", { class: "soft" }, t("asked"));
    return button(t("add"), () => store.friends.add(id), "primary");
  }

  function removeButton(id) {
    const name = store.profiles.nameOf(id);
    return el("button", { class: "quiet", type: "button", aria: { label: `${t("remove")}: ${name}` }, onclick: () =>
      confirmDialog({ text: t("remove_sure", { name }), action: t("remove"), work: () => store.friends.remove(id) }) }, icon("close"));
  }

  function draw() {
    if (search.value.trim()) fill(results, profiles.length ? el("ul", { class: "persons" }, profiles.map((profile) => row(profile.user_id, relationshipButton(profile.user_id)))) : el("p", { class: "soft" }, t("found_none")));
    const { accepted, incoming, outgoing, known } = store.friends;
    const part = (title, ids, actions) => ids.length > 0 && [el("h3", {}, title), el("ul", { class: "persons" }, ids.map(({ user_id: id }) => row(id, actions(id))))];
    fill(lists,
      part(t("requests"), incoming, (id) => answerButtons(store, id)),
      part(t("sent_requests"), outgoing, (id) => [button(t("withdraw"), () => store.friends.remove(id))]),
      el("h3", {}, t("friends")),
      accepted.length ? el("ul", { class: "persons" }, accepted.map(({ user_id: id }) => row(id, chat(id), removeButton(id)))) : el("p", { class: "soft" }, t(known ? "none" : "loading")));
  }

  draw();
  return { node, onShown: () => search.focus(), update: (kind) => ["friends", "blocks", "profile"].includes(kind) && draw() };
}
