// Who logged in or failed to, from where, and when and why each session ended; an operator can end one.

import { get, post } from "../api.js";
import { el, icon } from "../dom.js";
import { aggregateLink } from "./aggregate.js";
import { Period } from "./period.js";
import { moment, number, say, word } from "./i18n.js";

const PAGE = 100, LONGEST_REASON = 200;
const NO_FILTER = { user: "", address: "", device: "", reason: "", session: "", refreshes: false, failures: false };
const ENDS = ["expired", "logout", "not_me", "operator", "password_changed", "password_reset", "refresh_token_reused", "revoked_elsewhere"];
const FAILURES = ["code_required", "email_not_verified", "rate_limited", "unknown_login", "wrong_code", "wrong_password"];
const ENDED = new Set(["session.expired", "session.revoked"]);

export class Logins {
  static every = 4_000;

  constructor(tell, note) {
    this.tell = tell;
    this.note = note;
    this.filter = { ...NO_FILTER };
    this.period = new Period("login", 86_400, () => this.#again());
    this.state = "";
    this.rows = [];
    this.filters = el("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); this.#again(); } });
    this.place = el("div", {});
    this.node = el("div", {}, this.filters, this.place);
    this.#drawFilters();
  }

  /** `asked`: the filters in a link, such as one user; without any they stay as they are. */
  async open(asked) {
    if (asked.size) {
      history.replaceState(null, "", "#/logins");
      this.filter = { ...NO_FILTER };
      for (const name of Object.keys(NO_FILTER)) if (asked.has(name)) this.filter[name] = NO_FILTER[name] === false ? asked.get(name) === "true" : asked.get(name);
      this.state = "";
      this.rows = [];
      this.#drawFilters();
    }
    await this.tick();
  }

  /** The newest page again; older ones that are shown stay where they are. */
  async tick() {
    const asked = this.#asked;
    const page = await get(`/v1/ops/session-events?${this.#query()}`);
    const state = JSON.stringify(page);
    if (asked !== this.#asked || state === this.state) return;
    this.state = state;
    this.unreadable = page.unreadable;
    const known = new Set(page.items.map(key)), last = page.items.at(-1);
    const index = last ? this.rows.findIndex((row) => key(row) === key(last)) : -1;
    if (index < 0) this.older = page.older;
    this.rows = [...page.items, ...(index < 0 ? [] : this.rows.slice(index + 1).filter((row) => !known.has(key(row))))];
    this.#drawRows();
  }

  async #more() {
    const before = this.older;
    const page = await get(`/v1/ops/session-events?${this.#query({ before })}`);
    if (before !== this.older) return;
    this.older = page.older;
    const first = this.rows.length;
    this.rows.push(...page.items);
    this.#drawRows();
    this.place.querySelectorAll("tbody tr")[first]?.focus();
  }

  get #asked() {
    return JSON.stringify(this.filter) + this.period.chosen;
  }

  #query(more = {}) {
    const query = new URLSearchParams({ limit: PAGE, ...this.period.bounds(), ...more });
    for (const [name, value] of Object.entries(this.filter)) if (value) query.set(name, String(value));
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

  #choose(name, value) {
    this.filter[name] = value;
    this.#again();
  }

  #drawFilters() {
    const open = this.filters.querySelector("details")?.open || ["address", "device", "reason", "session"].some((name) => this.filter[name]);
    const field = (name, label, hint, longest, wide = "") => el("div", { class: `field ${wide}` }, el("label", { for: `login-${name}` }, say(label)),
      el("input", { id: `login-${name}`, type: "search", value: this.filter[name], placeholder: hint ? say(hint) : "", maxlength: longest, spellcheck: "false", autocomplete: "off", autocapitalize: "none",
        onchange: ({ target }) => this.#choose(name, target.value.trim()) }));
    const check = (name) => el("label", { class: "check" }, el("input", { type: "checkbox", checked: this.filter[name], onchange: ({ target }) => this.#choose(name, target.checked) }), say(name));
    const option = (reason) => el("option", { value: reason, selected: this.filter.reason === reason }, reason ? word("r", reason) : say("any_reason"));
    const reasons = el("div", { class: "field" }, el("label", { for: "login-reason" }, say("reason")),
      el("select", { id: "login-reason", onchange: ({ target }) => this.#chooseReason(target.value) }, ["", ...ENDS, ...FAILURES].map(option)));
    this.filters.replaceChildren(
      field("user", "user", "user_hint", 64, "wide"), this.period.node, check("failures"), check("refreshes"),
      el("details", { class: "more-filters", open }, el("summary", {}, say("more_filters")),
        el("div", { class: "filters" }, field("address", "address", "address_hint", 64), field("device", "device", "device_hint", 100), reasons, field("session", "session", "session_hint", 36))));
  }

  /** Reasons of failed logins are found only where failed logins are shown. */
  #chooseReason(reason) {
    if (FAILURES.includes(reason) && !this.filter.failures) {
      this.filter.failures = true;
      this.filter.reason = reason;
      this.#drawFilters();
      this.filters.querySelector("#login-reason").focus();
    }
    this.#choose("reason", reason);
  }

  #drawRows() {
    const ended = new Set(this.rows.filter((row) => ENDED.has(row.event)).map((row) => row.session_id));
    const heads = ["at", "event", "user", "device", "address", "session"];
    const table = el("div", { class: "panel-wide" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, heads.map((name) => el("th", { scope: "col" }, say(name))))),
      el("tbody", {}, this.rows.map((row) => el("tr", { tabindex: "-1", data: { key: key(row) } },
        el("td", { class: "num", data: { name: say("at") } }, el("time", { datetime: row.at }, moment(row.at))),
        el("td", { data: { name: say("event") } }, what(row)),
        el("td", { data: { name: say("user") } }, el("span", { class: "name" }, row.user_id ? row.username ?? row.user_id : say("no_account"))),
        el("td", { data: { name: say("device") } }, row.device || "–"),
        el("td", { class: "mono", data: { name: say("address") } }, row.address || "–"),
        el("td", { class: "acts", data: { name: say("session") } }, row.session_id ? this.#session(row, ended.has(row.session_id)) : "–"))))));
    const focused = document.activeElement?.closest?.("tr")?.dataset.key;
    this.place.replaceChildren(
      this.unreadable ? el("p", { class: "alarm" }, icon("warn"), say("not_whole")) : "",
      this.rows.length ? table : el("div", { class: "blank panel-wide" }, icon("people"), el("strong", {}, say("no_logins"))),
      this.older ? el("div", { class: "more" }, el("button", { type: "button", onclick: () => this.#more().catch((error) => this.tell(error)) }, say("older"))) : "");
    if (focused && !document.activeElement?.closest?.("tr")) this.place.querySelector(`tr[data-key="${CSS.escape(focused)}"] :is(button, a)`)?.focus();
  }

  #session(row, ended) {
    const link = el("span", { class: "mono", title: row.session_id }, aggregateLink("session", row.session_id, 0, `…${row.session_id.slice(-8)}`));
    return [link, ended || ENDED.has(row.event) ? "" : el("button", { type: "button", class: "quiet", aria: { label: say("end_session_of", { name: row.username, when: moment(row.at) }) }, onclick: () => this.#ask(row) }, say("end_session"))];
  }

  #ask(row) {
    const reason = el("input", { id: "end-reason", name: "reason", required: true, maxlength: LONGEST_REASON, autocomplete: "off" });
    const go = el("button", { type: "submit", class: "primary" }, say("end_session_now"));
    const dialog = el("dialog", { aria: { labelledby: "end-title" }, onclose: () => dialog.remove() },
      el("form", { onsubmit: (event) => {
        event.preventDefault();
        this.#end(go, dialog, { session_id: row.session_id, reason: reason.value });
      } },
      el("h2", { id: "end-title" }, say("end_session_title", { name: row.username })),
      el("p", {}, say("end_session_hint")),
      el("p", { class: "soft" }, [row.device, row.address, moment(row.at)].filter(Boolean).join(" · ")),
      el("div", { class: "field" }, el("label", { for: "end-reason" }, say("reason")), reason),
      el("div", { class: "actions" }, el("button", { type: "button", onclick: () => dialog.close() }, say("cancel")), go)));
    document.body.append(dialog);
    dialog.showModal();
  }

  async #end(button, dialog, end) {
    button.disabled = true;
    try {
      await post("/v1/ops/sessions/end", end);
      dialog.close();
      this.note(say("session_ended"));
    } catch (error) {
      if (error.code === "session_not_found") {
        dialog.close();
        this.note(say("already_ended"));
      } else this.tell(error);
    }
    button.disabled = false;
    await this.tick().catch((error) => this.tell(error));
  }
}

/** Identifies a row: of a session, or of an account's failed logins, nothing happens twice at a time in the same way. */
function key(row) {
  return [row.at, row.event, row.session_id ?? row.user_id, row.reason, row.count, row.address].join(" ");
}

function what(row) {
  if (row.event === "session.created") return [el("span", { class: "pill good" }, say("logged_in")), " ", row.new_device && el("span", { class: "pill wait" }, say("new_device")), " ", row.second_factor && el("span", { class: "pill" }, say("second_factor"))];
  if (row.event === "session.refreshed") return el("span", { class: "pill" }, say("refreshed"));
  if (row.event === "login.failed") return [el("span", { class: "pill bad" }, say("login_failed", { why: word("r", row.reason) })), row.count > 1 ? ` ×${number(row.count)}` : ""];
  const suspicious = row.reason === "refresh_token_reused" || row.reason?.startsWith("operator");
  return el("span", { class: `pill ${suspicious ? "bad" : ""}` }, word("r", row.reason ?? "ended"));
}
