// Who logged in, from where, and when and why each session ended.

import { get } from "../api.js";
import { el, icon } from "../dom.js";
import { aggregateLink } from "./aggregate.js";
import { Period } from "./period.js";
import { moment, say, word } from "./i18n.js";

const PAGE = 100;

export class Logins {
  static every = 4_000;

  constructor(tell) {
    this.tell = tell;
    this.filter = { user: "", refreshes: false };
    this.period = new Period("login", 86_400, () => this.#again());
    this.state = "";
    this.rows = [];
    this.filters = el("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); this.#again(); } });
    this.place = el("div", {});
    this.node = el("div", {}, this.filters, this.place);
    this.#drawFilters();
  }

  /** `asked`: what a link asks for, such as one user; without it the filters stay as they are. */
  async open(asked) {
    if (asked.size) {
      history.replaceState(null, "", "#/logins");
      this.filter.user = asked.get("user") ?? "";
      this.state = "";
      this.rows = [];
      this.#drawFilters();
    }
    await this.tick();
  }

  /** The newest page again; older ones that are shown stay where they are. */
  async tick() {
    const asked = this.#asked;
    const found = await get(`/v1/ops/session-events?${this.#query()}`);
    const state = JSON.stringify(found);
    if (asked !== this.#asked || state === this.state) return;
    this.state = state;
    this.unreadable = found.unreadable;
    const known = new Set(found.items.map(key)), last = found.items.at(-1);
    const place = last ? this.rows.findIndex((one) => key(one) === key(last)) : -1;
    if (place < 0) this.older = found.older;
    this.rows = [...found.items, ...(place < 0 ? [] : this.rows.slice(place + 1).filter((one) => !known.has(key(one))))];
    this.#drawRows();
  }

  async #more() {
    const asked = this.older;
    const found = await get(`/v1/ops/session-events?${this.#query({ before: asked })}`);
    if (asked !== this.older) return;
    this.older = found.older;
    const first = this.rows.length;
    this.rows.push(...found.items);
    this.#drawRows();
    this.place.querySelectorAll("tbody tr")[first]?.focus();
  }

  get #asked() {
    return JSON.stringify(this.filter) + this.period.chosen;
  }

  #query(more = {}) {
    const { user, refreshes } = this.filter;
    const query = new URLSearchParams({ limit: PAGE, ...this.period.bounds(), ...more });
    if (user) query.set("user", user);
    if (refreshes) query.set("refreshes", "true");
    return query;
  }

  draw() {
    this.period.draw();
    this.#drawFilters();
    if (this.state) this.#drawRows();
  }

  #again() {
    this.state = "";
    this.rows = [];
    this.older = null;
    this.tick().catch((error) => this.tell(error));
  }

  #drawFilters() {
    const { user, refreshes } = this.filter;
    this.filters.replaceChildren(
      el("div", { class: "field wide" }, el("label", { for: "login-user" }, say("user")),
        el("input", { id: "login-user", type: "search", value: user, placeholder: say("user_hint"), maxlength: 64, spellcheck: "false", autocomplete: "off", autocapitalize: "none",
          onchange: ({ target }) => { this.filter.user = target.value.trim(); this.#again(); } })),
      this.period.node,
      el("label", { class: "check" }, el("input", { type: "checkbox", checked: refreshes, onchange: ({ target }) => { this.filter.refreshes = target.checked; this.#again(); } }), say("refreshes")));
  }

  #drawRows() {
    const heads = ["at", "event", "user", "device", "address", "session"];
    const table = el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, this.rows.map((one) => el("tr", { tabindex: "-1" },
        el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: one.at }, moment(one.at))),
        el("td", { data: { name: say("event") } }, what(one)),
        el("td", { data: { name: say("user") } }, el("span", { class: "name" }, one.username)),
        el("td", { data: { name: say("device") } }, one.device || "–"),
        el("td", { class: "mono", data: { name: say("address") } }, one.address || "–"),
        el("td", { class: "mono", data: { name: say("session") }, title: one.session_id }, aggregateLink("session", one.session_id, 0, `…${one.session_id.slice(-8)}`)))))));
    this.place.replaceChildren(
      this.unreadable ? el("p", { class: "alarm" }, icon("warn"), say("not_whole")) : "",
      this.rows.length ? table : el("div", { class: "blank panel-wide" }, icon("people"), el("strong", {}, say("no_logins"))),
      this.older ? el("div", { class: "more" }, el("button", { type: "button", onclick: () => this.#more().catch((error) => this.tell(error)) }, say("older"))) : "");
  }
}

/** What one row is; of a session nothing happens twice at a time. */
function key(one) {
  return `${one.at} ${one.event} ${one.session_id}`;
}

function what(one) {
  if (one.event === "session.created") return el("span", { class: "pill good" }, say("logged_in"));
  if (one.event === "session.refreshed") return el("span", { class: "pill" }, say("refreshed"));
  const suspicious = one.reason === "refresh_token_reused" || one.reason?.startsWith("operator");
  return el("span", { class: `pill ${suspicious ? "bad" : ""}` }, word("r", one.reason ?? "ended"));
}
